from functools import partial

import jax
import numpy as np
import pytest

from colorjax.training.augment import translate_and_cut

COUNT, SIZE = 64, 16
IMAGES = np.random.default_rng(0).uniform(1, 2, (COUNT, SIZE, SIZE, 3)).astype(np.float32)


def augmented(max_shift, cut, images=IMAGES, seed=0):
    return np.asarray(
        jax.jit(partial(translate_and_cut, max_shift=max_shift, cut=cut))(
            jax.random.split(jax.random.key(seed), len(images)), images
        )
    )


def shifted(image, down, right):
    """Each pixel at its new place, one after the other."""
    result = np.zeros_like(image)
    height, width, _ = image.shape
    for i, j in np.ndindex(height, width):
        if 0 <= i + down < height and 0 <= j + right < width:
            result[i + down, j + right] = image[i, j]
    return result


def found_shift(image, result, limit):
    """The one shift that gives the result, or None."""
    for down, right in np.ndindex(2 * limit + 1, 2 * limit + 1):
        if np.array_equal(shifted(image, down - limit, right - limit), result):
            return down - limit, right - limit
    return None


def test_without_shift_and_cut_it_is_the_identity():
    np.testing.assert_array_equal(augmented(0.0, 0.0), IMAGES)


def test_each_image_is_shifted_by_at_most_the_limit_and_zero_comes_in():
    limit = 2  # an eighth of 16
    results = augmented(0.125, 0.0)
    shifts = [found_shift(*pair, limit) for pair in zip(IMAGES, results, strict=True)]
    assert None not in shifts
    # 64 draws of 25 shifts: in both directions, both ends are reached.
    assert np.min(shifts, axis=0).tolist() == [-limit, -limit]
    assert np.max(shifts, axis=0).tolist() == [limit, limit]
    assert len(set(shifts)) > 10


@pytest.mark.parametrize("side", [4, 5])
def test_the_cut_is_a_square_whose_middle_lies_in_the_image(side):
    results = augmented(0.0, side / SIZE)
    middles = []
    for image, result in zip(IMAGES, results, strict=True):
        blank = np.all(result == 0, axis=-1)
        np.testing.assert_array_equal(result, np.where(blank[..., None], 0, image))
        rows, columns = (np.flatnonzero(blank.any(axis=axis)) for axis in (1, 0))
        # A rectangle, without holes; smaller only where the image ends.
        assert blank.sum() == len(rows) * len(columns) > 0
        for span in (rows, columns):
            assert np.array_equal(span, np.arange(span[0], span[0] + len(span)))
            inside = span[0] > 0 and span[-1] < SIZE - 1
            assert len(span) == side if inside else side // 2 <= len(span) <= side
            # At the image's first row the square begins side - len before it.
            start = span[0] if span[0] > 0 else span[-1] + 1 - side
            middles.append(start + side // 2)
    assert min(middles) == 0
    assert max(middles) == SIZE - 1


def test_shift_and_cut_blank_what_each_alone_would():
    """Both draw from their own keys: the two masks multiply."""
    ones = np.ones_like(IMAGES)
    both, shift, cut = (augmented(*s, ones) for s in ((0.125, 0.25), (0.125, 0.0), (0.0, 0.25)))
    np.testing.assert_array_equal(both, shift * cut)
    np.testing.assert_array_equal(augmented(0.125, 0.25), augmented(0.125, 0.0) * cut)


def test_the_gradient_is_the_cotangent_moved_back():
    """It is linear, so <A x, y> = <x, At y> for every y: where pixels were lost, it is zero."""
    rngs = jax.random.split(jax.random.key(0), COUNT)
    function = partial(translate_and_cut, rngs, max_shift=0.125, cut=0.25)
    cotangent = np.random.default_rng(1).normal(size=IMAGES.shape).astype(np.float32)
    result, vjp = jax.vjp(function, IMAGES)
    (back,) = vjp(cotangent)
    seen = np.asarray(result) != 0
    kept = seen.sum(axis=(1, 2, 3))
    np.testing.assert_array_equal((np.asarray(back) != 0).sum(axis=(1, 2, 3)), kept)
    for image, value, gradient, y in zip(IMAGES, result, back, cotangent, strict=True):
        np.testing.assert_allclose(np.vdot(value, y), np.vdot(image, gradient), rtol=1e-3)
    (moved_back,) = vjp(result)
    np.testing.assert_array_equal(moved_back, np.where(np.asarray(back) != 0, IMAGES, 0))


@pytest.mark.parametrize("shape", [(1, 8, 24, 3), (5, 24, 8, 1), (2, 7, 9, 4)])
def test_any_shape_is_kept_and_every_channel_of_a_pixel_shares_its_fate(shape):
    result = augmented(0.25, 0.5, np.ones(shape, np.float32))
    assert result.shape == shape
    np.testing.assert_array_equal(result, np.broadcast_to(result[..., :1], shape))
