import cv2
import jax
import numpy as np
import pytest
from skimage import color

from colorjax.colorize import full_size
from colorjax.colorize.full_size import (
    apply_coefficients,
    area_mean,
    fit_coefficients,
    interpolate_rows,
)
from colorjax.data.procedural.renderer import render_face


def upsampled(l, small_lab):
    coefficients = interpolate_rows(fit_coefficients(small_lab), l.shape, 0, len(l))
    return coefficients[..., :2] * l[..., None] + coefficients[..., 2:]


@pytest.mark.parametrize("factor", [4, 8])
def test_guided_upsampling_errs_less_than_bilinear_interpolation(factor):
    errors, bilinear = [], []
    for person in range(3):
        lab = color.rgb2lab(render_face(0, person, 0, 256)).astype(np.float32)
        small = cv2.resize(lab, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
        plain = cv2.resize(small[..., 1:], (256, 256), interpolation=cv2.INTER_LINEAR)
        errors.append(np.square(upsampled(lab[..., 0], small) - lab[..., 1:]).mean())
        bilinear.append(np.square(plain - lab[..., 1:]).mean())
    assert np.mean(errors) < 0.8 * np.mean(bilinear)


def test_a_colour_linear_in_lightness_is_recovered():
    """Exactly at the same size or with a slope of zero, and mostly from a quarter of the size."""
    l = np.random.default_rng(0).uniform(0, 100, (64, 64)).astype(np.float32)
    lab = np.dstack([l, 0.3 * l - 10, 0 * l - 30])
    np.testing.assert_allclose(upsampled(l, lab), lab[..., 1:], atol=1e-3)
    found = upsampled(l, cv2.resize(lab, (16, 16), interpolation=cv2.INTER_AREA))
    np.testing.assert_allclose(found[..., 1], -30, atol=1e-3)
    a = lab[..., 1]
    assert abs(found[..., 0] - a).mean() < 0.35 * abs(a - a.mean()).mean()


@pytest.mark.parametrize("shape", [(37, 53), (5, 200), (200, 1), (1, 1)])
def test_rows_are_those_of_opencv_s_bilinear_resize(shape):
    maps = np.random.default_rng(0).normal(size=(4, 1 if shape[1] == 1 else 5, 4))
    maps = maps.astype(np.float32)[: shape[0]]
    expected = cv2.resize(maps, shape[::-1], interpolation=cv2.INTER_LINEAR)
    tops = range(0, shape[0], 7)
    bands = [interpolate_rows(maps, shape, top, min(top + 7, shape[0])) for top in tops]
    np.testing.assert_allclose(np.concatenate(bands), expected.reshape(*shape, 4), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("shape", "size"), [((200, 300), (40, 30)), ((97, 61), (60, 19))])
def test_the_area_mean_is_opencv_s_to_within_a_level(monkeypatch, dtype, shape, size):
    monkeypatch.setattr(full_size, "CHUNK", 2000)  # several bands
    levels = np.iinfo(dtype).max
    rgba = np.random.default_rng(0).integers(0, levels, (*shape, 4), dtype, endpoint=True)
    picture = rgba[..., :3]  # not contiguous
    expected = cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_AREA)
    found = area_mean(picture, size)
    assert found.dtype == dtype
    np.testing.assert_allclose(found.astype(int), expected.astype(int), atol=1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_black_and_white_remain_exact_whatever_the_colours_and_in_place(dtype):
    top = np.iinfo(dtype).max
    rng = np.random.default_rng(0)
    levels = rng.choice(np.array([0, 1, top // 2, top - 1, top], dtype), (40, 40, 1))
    for channels in (1, 3):
        picture = np.repeat(levels, channels, axis=2)
        coefficients = rng.normal(0, 60, (5, 5, 4)).astype(np.float32)
        found = apply_coefficients(picture, coefficients, jax.devices()[0])
        extreme = np.isin(levels[..., 0], [0, top])
        np.testing.assert_array_equal(found[extreme], np.repeat(levels, 3, axis=2)[extreme])
        assert (np.ptp(found[levels[..., 0] == top // 2], axis=1) > 0).all()
    rgba = np.dstack([picture, picture[..., :1]])
    view = rgba[..., :3]
    assert apply_coefficients(view, coefficients, jax.devices()[0], out=view) is view
    np.testing.assert_array_equal(rgba, np.dstack([found, levels]))
