"""Images for display: grey, coloured, of the same lightness."""

import chex
import jax.numpy as jnp
import numpy as np
import pytest
from skimage import color

from colorjax import display, lab
from colorjax.display import displayed
from colorjax.lab import clip_chroma

# Half an 8-bit step in each channel, and as much again for a colour just outside sRGB.
LIGHTNESS_ROUNDING = 0.5


def vivid(variables, l):
    """Colours whose hue depends on L; dark and light ones are far outside sRGB."""
    angle = 0.05 * l
    return 120 * variables["factor"] * jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=-1)


def colorized(images, factor=1.0, predict=vivid):
    ab = predict({"factor": jnp.float32(factor)}, lab.lightness(images))
    grey, coloured = display.colorized(jnp.asarray(images), ab)
    assert grey.dtype == coloured.dtype == jnp.uint8
    assert grey.shape == coloured.shape == images.shape
    return np.asarray(grey), np.asarray(coloured)


@pytest.fixture(scope="module")
def images():
    """[2, 128, 128, 3] uint8, any colour, with black and white."""
    images = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
    images[0, 0, 0], images[0, 0, 1] = 0, 255
    return images


def lightness(images):
    return color.rgb2lab(images)[..., 0]


@pytest.mark.parametrize("factor", [0.0, 0.2, 1.0])
def test_lightness_is_unchanged(images, factor):
    for result in colorized(images, factor):
        np.testing.assert_allclose(
            lightness(result), lightness(images), rtol=0, atol=LIGHTNESS_ROUNDING
        )


def test_colours_are_the_predicted_ones_with_their_chroma_clipped(images):
    _, coloured = colorized(images)
    l = color.rgb2lab(images)[..., :1].astype(np.float32)
    expected = clip_chroma(jnp.concatenate([l, vivid({"factor": 1.0}, l)], axis=-1))
    # Rounding to 8 bits moves a dark colour by several units of a*b*.
    light = l[..., 0] > 20
    error = np.linalg.norm(color.rgb2lab(coloured) - expected, axis=-1)[light]
    assert error.mean() < 0.5
    assert error.max() < 4


def test_nothing_but_lightness_is_used(images):
    """A coloured image and its grey version give the same, up to the rounding of the grey."""
    grey, coloured = colorized(images, 0.2)
    from_grey = colorized(grey, 0.2)[1]
    assert np.abs(images.astype(int) - grey).mean() > 20
    assert np.abs(coloured.astype(int) - from_grey).max() <= 3


SHAPE = (3, 8, 6)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_displayed_equals_scikit_image_through_a_uint8_image(rng):
    l = rng.uniform(20, 80, (*SHAPE, 1))
    ab = rng.uniform(-15, 15, (*SHAPE, 2))
    expected = np.round(255 * color.lab2rgb(np.concatenate([l, ab], axis=-1))).astype(np.uint8)
    rgb, shown = displayed(l.astype(np.float32), ab.astype(np.float32))
    np.testing.assert_array_equal(np.round(255 * np.asarray(rgb)).astype(np.uint8), expected)
    np.testing.assert_allclose(shown, color.rgb2lab(expected), rtol=0, atol=1e-3)


def test_displayed_stays_in_srgb_and_is_idempotent(rng):
    l = rng.uniform(0, 100, (*SHAPE, 1)).astype(np.float32)
    ab = rng.uniform(-200, 200, (*SHAPE, 2)).astype(np.float32)
    rgb, shown = displayed(l, ab)
    assert np.min(rgb) == 0
    assert np.max(rgb) == 1
    again = displayed(shown[..., :1], shown[..., 1:])
    chex.assert_trees_all_equal(again, (rgb, shown))
