"""Random hints: their colours, their number, and how they reach a model."""

import jax
import numpy as np
import pytest

from colorjax.training.hints import draw_hints


def image(seed=0, side=64):
    return np.random.default_rng(seed).normal(size=(side, side, 2)).astype(np.float32)


def drawn(count, share=1.0, seed=0, ab=None):
    ab = image() if ab is None else ab
    rngs = jax.random.split(jax.random.key(seed), count)
    return np.asarray(jax.jit(draw_hints, static_argnums=2)(rngs, np.stack(count * [ab]), share))


def squares(mask):
    """The pieces of a mask that are connected, as (rows, columns) of slices."""
    from scipy import ndimage

    return ndimage.find_objects(ndimage.label(mask)[0])


def test_a_hint_is_the_mean_colour_of_a_square():
    ab, sides = image(), []
    for hints in drawn(300):
        mask = hints[..., 2] > 0
        np.testing.assert_array_equal(hints[..., 2], mask)
        np.testing.assert_array_equal(hints[~mask], 0)
        ((rows, columns), *others) = squares(mask)
        colors = np.unique(hints[rows, columns].reshape(-1, 3), axis=0)
        if not others and len(colors) == 1:  # of several squares over each other, colours differ
            height, width = mask[rows, columns].shape
            assert height == width <= 9
            np.testing.assert_allclose(colors[0, :2], ab[rows, columns].mean((0, 1)), atol=1e-4)
            sides.append(height)
    assert len(sides) > 20
    assert {1, 9} < set(sides)


def test_the_number_of_squares_is_geometric():
    """Few of them meet in a large image. One image in 100 shows all its colours."""
    masks = drawn(400, ab=np.zeros((512, 512, 2), np.float32))[..., 2] > 0
    everything = masks.all((1, 2))
    assert 0 < everything.mean() < 0.03
    counts = [len(squares(mask)) for mask in masks[~everything]]
    assert min(counts) == 1
    assert np.mean(counts) == pytest.approx(8, abs=1)
    assert np.mean(np.array(counts) == 1) == pytest.approx(1 / 8, abs=0.05)


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_a_share_of_the_images_has_hints(share):
    has_hints = drawn(500, share)[..., 2].any((1, 2))
    assert has_hints.mean() == pytest.approx(share, abs=0.07)


def test_hints_are_more_often_around_the_centre():
    density = (drawn(400)[..., 2] > 0).mean(0)
    assert density[24:40, 24:40].mean() > 2 * density[:8, :8].mean() > 0


def test_an_image_has_the_same_hints_in_any_batch():
    rngs = jax.random.split(jax.random.key(3), 4)
    images = np.stack([image(seed) for seed in range(4)])
    whole = draw_hints(rngs, images, 0.5)
    parts = [draw_hints(rngs[i : i + 2], images[i : i + 2], 0.5) for i in (0, 2)]
    np.testing.assert_allclose(whole, np.concatenate(parts), atol=1e-6)
