"""sRGB and Lab: as scikit-image's, with finite gradients."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage import color

from colorjax import lab

# Colours outside sRGB, dark and light, b* beyond the point where f(Z) is 0, both knees, grey.
OUT_OF_GAMUT = np.array(
    np.meshgrid([0.0, 1e-6, 7.9996, 8.0, 30.0, 100.0, 130.0], *2 * [[-150.0, -20.0, 0.0, 110.0]])
).reshape(3, -1).T  # fmt: skip


def rgb_grid(levels) -> np.ndarray:
    """[n³, 3] float64, every combination of 8-bit levels in [0, 1]."""
    grid = np.meshgrid(*3 * [np.asarray(levels, np.float64) / 255.0], indexing="ij")
    return np.stack(grid, axis=-1).reshape(-1, 3)


def assert_equals_scikit_image_and_returns(rgb: np.ndarray) -> None:
    converted = jax.jit(lab.rgb_to_lab)(np.asarray(rgb, np.float32))
    np.testing.assert_allclose(converted, color.rgb2lab(rgb), rtol=0, atol=1e-3)
    back = jax.jit(lab.lab_to_rgb)(converted)
    np.testing.assert_array_equal(np.round(np.asarray(back) * 255), np.round(rgb * 255))


def test_every_third_colour_equals_scikit_image_and_returns_exactly():
    assert_equals_scikit_image_and_returns(rgb_grid(range(0, 256, 3)))


@pytest.mark.slow
def test_every_colour_equals_scikit_image_and_returns_exactly():
    plane = rgb_grid(range(256))[: 256**2]
    for red in range(0, 256, 8):
        slab = np.tile(plane, (8, 1))
        slab[:, 0] = np.repeat(np.arange(red, red + 8), 256**2) / 255.0
        assert_equals_scikit_image_and_returns(slab)


def test_inverse_equals_scikit_image_within_srgb():
    rgb = np.random.default_rng(0).uniform(size=(20_000, 3))
    reference = color.rgb2lab(rgb)
    result = lab.lab_to_rgb(reference.astype(np.float32))
    np.testing.assert_allclose(result, color.lab2rgb(reference), rtol=0, atol=2e-5)


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")
def test_clipped_inverse_equals_scikit_image_outside_srgb():
    result = np.clip(lab.lab_to_rgb(OUT_OF_GAMUT.astype(np.float32)), 0, 1)
    np.testing.assert_allclose(result, color.lab2rgb(OUT_OF_GAMUT), rtol=0, atol=2e-5)


def test_inverse_leaves_colours_outside_srgb_unclipped():
    rgb = np.array([[-0.2, 0.5, 1.3], [1.1, 1.2, -0.001]], np.float32)
    np.testing.assert_allclose(lab.lab_to_rgb(lab.rgb_to_lab(rgb)), rgb, atol=1e-5)


def test_float64_equals_scikit_image_to_its_own_precision():
    rgb = rgb_grid(range(0, 256, 15))
    with jax.enable_x64(True):
        converted = lab.rgb_to_lab(rgb)
        assert converted.dtype == jnp.float64
        np.testing.assert_allclose(converted, color.rgb2lab(rgb), rtol=0, atol=1e-11)
        np.testing.assert_allclose(lab.lab_to_rgb(converted), rgb, rtol=0, atol=5e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_gradients_are_finite_at_black_white_and_on_every_face_of_the_cube(dtype):
    # Levels 10 and 11 are on both sides of sRGB's knee; 0 and 255 are the faces of the cube.
    rgb = rgb_grid([0, 1, 2, 5, 10, 11, 100, 128, 254, 255])
    with jax.enable_x64(dtype == jnp.float64):
        rgb = jnp.asarray(rgb, dtype)
        edges = jnp.full((1, 3), 0.04045, dtype)
        assert_finite_jacobian(lab.rgb_to_lab, jnp.concatenate([rgb, edges, -rgb, 2.0 * rgb]))
        assert_finite_jacobian(lab.lab_to_rgb, lab.rgb_to_lab(rgb))
        assert_finite_jacobian(lab.lab_to_rgb, jnp.asarray(OUT_OF_GAMUT, dtype))
        assert_finite_jacobian(lab.lab_to_rgb, jnp.asarray([[1e10, -1e10, 1e10]], dtype))


def assert_finite_jacobian(function, points) -> None:
    value, jacobian = jax.jit(lambda x: (function(x), jax.vmap(jax.jacrev(function))(x)))(points)
    chex.assert_tree_all_finite((value, jacobian))
    # Zero would be finite too.
    assert np.all(np.abs(jacobian).max(axis=2) > 0)


def test_gradient_at_black_is_that_of_the_lines_below_the_knees():
    lightness = jax.grad(lambda rgb: lab.rgb_to_lab(rgb)[0])(jnp.zeros(3))
    luminance = np.array([0.212671, 0.715160, 0.072169])
    np.testing.assert_allclose(lightness, 116 * 7.787 / 12.92 * luminance, rtol=1e-6)


@pytest.mark.parametrize("direction", ["rgb_to_lab", "lab_to_rgb"])
def test_gradients_equal_central_differences(direction):
    # Random points, some dark or outside sRGB, none within a step of a knee.
    function = getattr(lab, direction)
    rng = np.random.default_rng(1)
    points = {
        "rgb_to_lab": rng.uniform(-0.1, 1.1, (500, 3)) * rng.choice([1.0, 0.05], (500, 1)),
        "lab_to_rgb": rng.uniform([0, -128, -128], [100, 128, 128], (500, 3)),
    }[direction]
    step = 1e-6
    with jax.enable_x64(True):
        jacobian = jax.jit(jax.vmap(jax.jacrev(function)))(points)
        # [500, input, 3] -> [500, output, input]
        ahead = function(points[:, None] + step * np.eye(3)[None])
        behind = function(points[:, None] - step * np.eye(3)[None])
        differences = np.swapaxes(np.asarray(ahead - behind), 1, 2) / (2 * step)
    np.testing.assert_allclose(jacobian, differences, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_lightness_of_a_table_is_that_of_the_formula(dtype, channels):
    levels = np.iinfo(dtype).max
    pixels = np.random.default_rng(0).integers(0, levels, (50, 40, channels), dtype, endpoint=True)
    pixels[0, 0], pixels[0, 1] = 0, levels
    expected = color.rgb2lab(np.broadcast_to(pixels, (50, 40, 3)) / levels)[..., :1]
    found = lab.lightness(pixels)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("pixels", "words"),
    [(np.zeros((2, 3), np.float32), "uint8"), (np.zeros((4, 2), np.uint8), "shape")],
)
def test_lightness_of_other_pixels_is_refused(pixels, words):
    with pytest.raises(AssertionError, match=words):
        lab.lightness(pixels)


@pytest.mark.parametrize("function", [lab.rgb_to_lab, lab.lab_to_rgb, lab.normalize])
def test_another_last_axis_or_dtype_is_refused(function):
    for shape in ((), (4,), (3, 4), (3, 1)):
        with pytest.raises(AssertionError, match="shape"):
            function(jnp.zeros(shape))
    if function is not lab.normalize:
        with pytest.raises(AssertionError, match="type"):
            function(np.zeros((2, 3), np.uint8))


def test_grey_has_almost_no_chroma_and_white_is_100():
    grey = np.repeat(np.linspace(0, 1, 256, dtype=np.float32)[:, None], 3, axis=1)
    converted = np.asarray(lab.rgb_to_lab(grey))
    # Not 0, because the rows of the standard's rounded matrix do not sum to its white.
    assert np.abs(converted[:, 1:]).max() < 0.01
    np.testing.assert_allclose(converted[[0, -1], 0], [0, 100], atol=1e-4)
    assert np.all(np.diff(converted[:, 0]) > 0)


def test_normalize_fits_srgb_into_the_unit_range():
    converted = lab.rgb_to_lab(rgb_grid([0, 51, 102, 153, 204, 255]).astype(np.float32))
    l, ab = lab.normalize(converted)
    np.testing.assert_allclose([l.min(), l.max()], [-1, 1], atol=1e-5)
    assert 0.97 < np.abs(ab).max() < 1
    restored = np.concatenate([50 * (l + 1), 110 * ab], axis=-1)
    np.testing.assert_allclose(restored, converted, rtol=0, atol=2e-5)


def unclipped_srgb(colours):
    """[..., 3] Lab to sRGB in float64 without clipping, by scikit-image up to XYZ."""
    matrix = np.linalg.inv(color.colorconv.xyz_from_rgb)
    linear = color.lab2xyz(colours) @ matrix.T
    curve = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(linear > 0.0031308, curve, 12.92 * linear)


def shown_in_8_bits(colours, slack=0.0):
    rgb = 255 * unclipped_srgb(colours)
    return np.all((rgb > -0.5 - slack) & (rgb < 255.5 + slack), axis=-1, keepdims=True)


@pytest.fixture
def vivid():
    """[7, 24, 9, 3]: lightness by hue by chroma, most of it outside sRGB."""
    lightness, hue, chroma = np.meshgrid(
        [0, 1, 20, 50, 75, 97, 100],
        np.linspace(0, 2 * np.pi, 24, endpoint=False),
        [0, 1, 5, 15, 30, 60, 90, 130, 180],
        indexing="ij",
    )
    colours = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=-1)
    return colours.astype(np.float32)


def test_clip_chroma_keeps_lightness_and_hue_and_adds_no_chroma(vivid):
    clipped = np.asarray(lab.clip_chroma(vivid))
    np.testing.assert_array_equal(clipped[..., 0], vivid[..., 0])
    before, after = vivid[..., 1:], clipped[..., 1:]
    chroma, chroma_after = (np.linalg.norm(ab, axis=-1) for ab in (before, after))
    assert np.all(chroma_after <= chroma)
    # The same direction: the dot product is the product of the lengths.
    np.testing.assert_allclose(
        np.sum(before * after, axis=-1), chroma * chroma_after, rtol=1e-5, atol=1e-6
    )


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")
def test_clip_chroma_brings_every_colour_within_half_an_8_bit_step_of_srgb(vivid):
    assert np.mean(shown_in_8_bits(vivid)) < 0.5
    clipped = np.asarray(lab.clip_chroma(vivid))
    assert np.all(np.isfinite(clipped))
    assert np.all(shown_in_8_bits(clipped, slack=0.01))


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")
def test_clip_chroma_equals_a_bisection_in_float64(vivid):
    colours = vivid.astype(np.float64)
    low, high = np.zeros_like(colours[..., :1]), np.ones_like(colours[..., :1])
    for _ in range(40):
        middle = 0.5 * (low + high)
        inside = shown_in_8_bits(colours * np.concatenate([middle**0, middle, middle], axis=-1))
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    expected = np.where(shown_in_8_bits(colours), 1, low) * colours[..., 1:]
    clipped = np.asarray(lab.clip_chroma(vivid))[..., 1:]
    # After twelve halvings the factor is at most 2^-12 too low.
    short = np.linalg.norm(expected, axis=-1) - np.linalg.norm(clipped, axis=-1)
    chroma = np.linalg.norm(vivid[..., 1:], axis=-1)
    assert np.all(short >= -1e-2)
    assert np.all(short <= 2.0**-12 * chroma + 1e-2)
