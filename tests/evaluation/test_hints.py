"""Hints in evaluation: where they are, the guided filter, and models that are given them."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
import support
from skimage.color import rgb2lab

from colorjax.data.procedural.renderer import render_face
from colorjax.evaluation import evaluate, hints, scores
from colorjax.evaluation.evaluate import Candidate
from colorjax.evaluation.hints import COUNTS
from colorjax.parallel import devices

SIZE, COUNT = 48, 5


@pytest.fixture(autouse=True, scope="module")
def _quick_compilation():
    with support.quick_compilation():
        yield


@pytest.fixture(scope="module")
def images():
    return np.stack([render_face(1, i, 0, SIZE) for i in range(COUNT)])


@pytest.fixture(scope="module")
def placed(images):
    return [np.asarray(x) for x in hints.place(images, np.arange(COUNT))]


def batches(images):
    pad = -len(images) % 8
    yield {
        "image": np.concatenate([images, np.zeros((pad, *images.shape[1:]), np.uint8)]),
        "mask": np.arange(len(images) + pad) < len(images),
        "index": np.arange(len(images) + pad, dtype=np.int32),
    }


def test_hints_are_mean_colours_of_squares_and_more_contain_fewer(images, placed):
    l, found = placed
    lab, side = rgb2lab(images / 255), 3
    np.testing.assert_allclose(l, lab[..., :1], atol=1e-3)
    for i in range(COUNT):
        none, one, *more = found[i]
        assert not none.any()
        rows, columns = (np.flatnonzero(one[..., 2].any(axis)) for axis in (1, 0))
        assert len(rows) == len(columns) == side
        square = np.ix_(rows, columns)
        expected = np.append(lab[i][square][..., 1:].mean((0, 1)), 1)
        assert (one[square] == one[square][0, 0]).all()
        np.testing.assert_allclose(one[square][0, 0], expected, rtol=1e-3, atol=1e-3)
        assert one[..., 2].sum() == side**2
        masks = [of[..., 2] for of in (none, one, *more)]
        for fewer, many in itertools.pairwise(masks):
            assert set(np.unique(many)) <= {0, 1}
            assert (many >= fewer).all()
            assert many.sum() > fewer.sum()
        assert masks[2].sum() <= 3 * side**2


def test_places_depend_on_the_image_index_only(images, placed):
    _, again = hints.place(images[2:4], np.arange(2, 4))
    np.testing.assert_allclose(again, placed[1][2:4], atol=1e-4)
    _, other = hints.place(images[2:4], np.arange(7, 9))
    assert (np.asarray(other)[:, 1] != placed[1][2:4, 1]).any()


def test_places_are_uniform_over_the_image():
    image = np.zeros((400, 16, 16, 3), np.uint8)
    mask = np.asarray(hints.place(image, np.arange(400))[1])[:, -1, ..., 2]
    share = mask.mean(0).reshape(4, 4, 4, 4).mean((1, 3))
    np.testing.assert_allclose(share, share.mean(), rtol=0.1)


def dense_guided_filter(guide, x, radius, epsilon):
    """From the definition: a linear fit in every window, and the mean of those over a pixel."""
    height, width = guide.shape
    windows = [
        np.ix_(*(np.arange(max(0, c - radius), min(n, c + radius + 1))
                 for c, n in ((row, height), (column, width))))
        for row in range(height) for column in range(width)
    ]  # fmt: skip
    total, count = np.zeros_like(x), np.zeros((height, width, 1))
    for window in windows:
        i, p = guide[window].ravel(), x[window].reshape(-1, x.shape[-1])
        # Ridge regression: Σ (a i + b - p)² + ε a² over the window.
        size = len(i)
        normal = np.array([[(i**2).sum() + epsilon * size, i.sum()], [i.sum(), size]])
        a, b = np.linalg.solve(normal, np.stack([i @ p, p.sum(0)]))
        total[window] += a * guide[window][..., None] + b
        count[window] += 1
    return total / count


@pytest.mark.parametrize("radius", [1, 3, 20])
def test_the_guided_filter_equals_a_fit_in_every_window(radius):
    rng = np.random.default_rng(0)
    guide, x = rng.random((12, 15)), rng.normal(size=(12, 15, 3))
    found = hints.guided_filter(guide, x, radius, 0.01)
    np.testing.assert_allclose(found, dense_guided_filter(guide, x, radius, 0.01), atol=1e-9)


def test_one_hint_colours_everything_and_two_stay_on_their_sides_of_an_edge():
    l = np.where(np.arange(64) < 32, 30.0, 80.0)[None].repeat(64, 0)
    given = np.zeros((64, 64, 3))
    np.testing.assert_array_equal(hints.spread(l, given), 0)
    given[10:12, 10:12] = 20, -30, 1
    np.testing.assert_allclose(
        hints.spread(l, given), np.broadcast_to([20, -30], (64, 64, 2)), rtol=1e-6
    )
    given[40:42, 50:52] = -40, 10, 1
    found = hints.spread(l, given)
    np.testing.assert_allclose(found[8:14, 8:14], [[[20, -30]] * 6] * 6, atol=3)
    np.testing.assert_allclose(found[38:44, 48:54], [[[-40, 10]] * 6] * 6, atol=3)
    assert found[..., 0].min() >= -40
    assert found[..., 0].max() <= 20


def paint(variables, l, given=None):
    """One colour, and the hints where they are."""
    ab = jnp.zeros((*l.shape[:-1], 2)) + variables.reshape(1, 1, 1, 2)
    return ab if given is None else jnp.where(given[..., 2:] > 0, given[..., :2], ab)


def test_no_hints_give_the_metrics_without_hints_and_more_hints_help(images):
    variables = devices.replicate(jnp.float32([15.0, 20.0]))
    candidate = Candidate("paint", paint, variables, SIZE)
    found = hints.judge({"paint": (paint, variables)}, batches(images))
    grey = Candidate("grey", paint, devices.replicate(jnp.zeros(2)), SIZE)
    plain = scores.metrics_of(evaluate.score([candidate, grey], lambda size: batches(images)))
    for key in ("delta_e", "psnr"):
        assert found["paint"][key][0] == pytest.approx(plain["paint"][key], rel=1e-5)
        # The baseline has nothing to spread.
        assert found[hints.BASELINE][key][0] == pytest.approx(plain["grey"][key], rel=1e-5)
    for name in ("paint", hints.BASELINE):
        assert len(found[name]["delta_e"]) == len(COUNTS)
        assert found[name]["delta_e"] == sorted(found[name]["delta_e"], reverse=True)
    assert found[hints.BASELINE]["psnr"][-1] > found[hints.BASELINE]["psnr"][0] + 3
