import cv2
import numpy as np
import pytest
from skimage import color

from colorjax.colorize.full_size import fit_coefficients, interpolate_rows
from colorjax.data.procedural.renderer import render_face


def upsampled(l, small_l, small_ab):
    lines = interpolate_rows(fit_coefficients(small_l, small_ab), l.shape, 0, len(l))
    return lines[..., :2] * l[..., None] + lines[..., 2:]


@pytest.mark.parametrize("factor", [4, 8])
def test_colour_stays_within_contours_better_than_by_interpolation(factor):
    errors, plain = [], []
    for person in range(3):
        lab = color.rgb2lab(render_face(0, person, 0, 256)).astype(np.float32)
        small = cv2.resize(lab, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
        ab = upsampled(lab[..., 0], small[..., 0].copy(), small[..., 1:].copy())
        bilinear = cv2.resize(small[..., 1:], (256, 256), interpolation=cv2.INTER_LINEAR)
        errors.append(np.square(ab - lab[..., 1:]).mean())
        plain.append(np.square(bilinear - lab[..., 1:]).mean())
    assert np.mean(errors) < 0.8 * np.mean(plain)


def test_one_colour_stays_whatever_the_lightness():
    l = np.random.default_rng(0).uniform(0, 100, (64, 48)).astype(np.float32)
    small_l = cv2.resize(l, (12, 16), interpolation=cv2.INTER_AREA)
    ab = np.full((16, 12, 2), (7.0, -30.0), np.float32)
    found = upsampled(l, small_l, ab)
    np.testing.assert_allclose(found, np.broadcast_to([7.0, -30.0], found.shape), atol=1e-3)


def test_colour_that_follows_lightness_follows_it_at_full_size():
    """Where a* is a line of L everywhere, and L varies, the line is found."""
    rng = np.random.default_rng(0)
    l = rng.uniform(0, 100, (64, 64)).astype(np.float32)
    ab = np.stack([0.3 * l - 10, 5 - 0.2 * l], axis=-1)
    found = upsampled(l, l, ab)  # the lines of the pixels themselves
    np.testing.assert_allclose(found, ab, atol=1e-3)
    small = cv2.resize(np.dstack([l, ab]), (16, 16), interpolation=cv2.INTER_AREA)
    found = upsampled(l, small[..., 0].copy(), small[..., 1:].copy())
    assert abs(found - ab).mean() < 0.35 * abs(ab - ab.mean((0, 1))).mean()


@pytest.mark.parametrize("shape", [(37, 53), (5, 200), (200, 1), (1, 1)])
def test_rows_are_those_of_the_whole_interpolated(shape):
    """As OpenCV's bilinear enlargement, however it is cut into bands."""
    maps = np.random.default_rng(0).normal(size=(4, 1 if shape[1] == 1 else 5, 4))
    maps = maps.astype(np.float32)[: shape[0]]
    whole = cv2.resize(maps, shape[::-1], interpolation=cv2.INTER_LINEAR)
    tops = range(0, shape[0], 7)
    bands = [interpolate_rows(maps, shape, top, min(top + 7, shape[0])) for top in tops]
    np.testing.assert_allclose(np.concatenate(bands), whole.reshape(*shape, 4), atol=1e-5)
