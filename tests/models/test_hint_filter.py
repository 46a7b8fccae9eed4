"""The filter that spreads hints, compared with loops over the places."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from colorjax.models.color_bins import Distribution, centers, mean_color
from colorjax.models.hint_filter import HintFilter
from colorjax.models.layers import Conv

CHANNELS = 6
FILTER = HintFilter(functools.partial(Conv, kernels="plain"))


def apply(params, *inputs):
    return jax.tree.map(np.asarray, jax.jit(FILTER.apply)(params, *inputs))


def drawn(height, width, seed=0):
    """Feature maps, hints, a prediction, and parameters that differ from their initial values."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, height, width, CHANNELS)).astype(np.float32)
    mask = rng.random((2, 4 * height, 4 * width, 1)) < 0.01
    colors = rng.uniform(-1, 1, (*mask.shape[:3], 2))
    hints = (mask * np.concatenate([colors, np.ones_like(mask)], -1)).astype(np.float32)
    ab = rng.uniform(-1, 1, (2, height, width, 2)).astype(np.float32)
    shapes = jax.eval_shape(FILTER.init, jax.random.key(0), x, hints, ab)
    params = jax.tree.map(lambda leaf: rng.normal(0, 0.2, leaf.shape).astype(np.float32), shapes)
    params["params"]["offset"] += 4  # a hint of one pixel counts
    return params, x, hints, ab


def expected(params, x, hints, ab):
    """The change and its weight [N, h, w, 3], place by place in float64."""
    batch, height, width, _ = ab.shape
    p = params["params"]
    features = x.astype(np.float64) @ p["features"]["kernel"][0, 0]
    rows, columns = np.indices((height, width)) / min(height, width)
    places = np.broadcast_to(np.stack([rows, columns], -1), (batch, height, width, 2))
    features = np.concatenate([features, p["sharpness"] * places], -1)
    found = np.zeros((batch, height, width, 3))
    for n in range(batch):
        cells = []
        for i in range(0, height, 2):
            for j in range(0, width, 2):
                four = [(r, c) for r in (i, i + 1) for c in (j, j + 1)]
                pixels = [hints[n, 4 * r : 4 * r + 4, 4 * c : 4 * c + 4] for r, c in four]
                # Places count by the number of hints within their 4×4 pixels.
                shares = np.array([of[..., 2].sum() for of in pixels])
                if shares.sum():
                    mean = functools.partial(np.average, axis=0, weights=shares)
                    colors = [of[..., :2].sum((0, 1)) / max(of[..., 2].sum(), 1) for of in pixels]
                    changes = [
                        color - ab[n, r, c] for color, (r, c) in zip(colors, four, strict=True)
                    ]
                    key = mean([features[n, r, c] for r, c in four])
                    cells.append((shares.sum() / 64, mean(changes), key))
        for r, c in np.ndindex(height, width):
            weights = [
                amount * np.exp(p["offset"] - np.sum((features[n, r, c] - key) ** 2))
                for amount, _, key in cells
            ]
            for weight, (_, change, _) in zip(weights, cells, strict=True):
                found[n, r, c] += weight / (1 + sum(weights)) * np.append(change, 1)
    return found


@pytest.mark.parametrize("size", [(8, 8), (8, 16), (20, 12)])
def test_each_place_is_changed_by_the_hints_that_look_alike(size):
    """Also where the rows are no multiple of those that are computed at once."""
    inputs = drawn(*size)
    with jax.default_matmul_precision("highest"):
        found = np.concatenate(apply(*inputs), axis=-1)
    np.testing.assert_allclose(found, expected(*inputs), rtol=0, atol=1e-5)


def test_images_without_hints_do_not_change():
    params, x, hints, ab = drawn(8, 8)
    hints[1] = 0
    change, weight = apply(params, x, hints, ab)
    np.testing.assert_array_equal(change[1], 0)
    np.testing.assert_array_equal(weight[1], 0)
    assert np.abs(change[0]).max() > 0.1


def test_gradients_are_finite_without_and_with_few_hints():
    params, x, hints, ab = drawn(8, 8)
    hints[1] = 0

    def loss(params, x, ab):
        return jnp.sum(FILTER.apply(params, x, hints, ab).change ** 2)

    leaves = jax.tree.leaves(jax.jit(jax.grad(loss, (0, 1, 2)))(params, x, ab))
    assert all(np.isfinite(leaf).all() and np.abs(leaf).max() > 0 for leaf in leaves)


def test_untrained_a_hint_holds_at_its_place_and_fades_with_distance():
    _, x, hints, ab = drawn(16, 16)
    hints[:] = 0
    hints[:, 12:20, 12:20] = [0.5, -0.25, 1]
    params = jax.jit(FILTER.init)(jax.random.key(0), 0 * x, hints, ab)
    change, weight = apply(params, 0 * x, hints, 0 * ab)
    np.testing.assert_allclose(change, weight * np.array([0.5, -0.25]), atol=1e-6)
    assert weight[0, 3:5, 3:5].min() > 0.9
    diagonal = weight[0, np.arange(4, 16), np.arange(4, 16), 0]
    assert (np.diff(diagonal) < 0).all()
    assert diagonal[-1] < 0.01


def test_likeness_decides_beside_distance():
    """Of stripes, those that look like the hint's place get its colour, the others do not."""
    params, x, hints, ab = drawn(16, 16)
    x[:] = 0
    x[:, :, ::2, 0] = 1
    hints[:] = 0
    hints[:, 32:36, 32:36] = [0.5, -0.25, 1]
    params = jax.tree.map(np.zeros_like, params)
    params["params"]["features"]["kernel"][0, 0, 0, 0] = 5
    params["params"]["offset"] = np.float32(8)
    _, weight = apply(params, x, hints, ab)
    assert weight[:, :, ::2].min() > 0.95
    assert weight[:, :, 1::2].max() < 0.01


def test_a_distribution_mixed_with_a_colour():
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.5, 2, len(centers())).astype(np.float32)
    logits = rng.normal(size=(1, 2, 3, len(weights))).astype(np.float32)
    before = Distribution(jnp.asarray(logits), jnp.asarray(weights))
    color, share = np.array([0.2, -0.1], np.float32), np.float32(0.75)
    ab = np.broadcast_to(color, (1, 2, 3, 2))
    after = before.mixed(ab, np.full((1, 2, 3, 1), share))
    means = [mean_color(jnp.exp(one.log_probabilities())) for one in (before, after)]
    np.testing.assert_allclose(means[1], 0.25 * np.asarray(means[0]) + 0.75 * color, atol=2e-3)
    unchanged = before.mixed(ab, np.zeros((1, 2, 3, 1)))
    np.testing.assert_allclose(unchanged.log_probabilities(), before.log_probabilities(), atol=1e-5)
