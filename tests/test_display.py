"""Images for display: grey, coloured, of the same lightness."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage import color

from colorjax.lab import clip_chroma
from colorjax.report.grids import colorize

# Half an 8-bit step in each channel, and as much again for a colour just outside sRGB.
LIGHTNESS_ROUNDING = 0.5


def vivid(variables, l):
    """Colours whose hue depends on L; dark and light ones are far outside sRGB."""
    angle = 0.05 * l
    return 120 * variables["factor"] * jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=-1)


def colorized(images, factor=1.0, predict=vivid):
    grey, coloured = colorize(predict, {"factor": jnp.float32(factor)}, jnp.asarray(images))
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


def test_grey_has_equal_channels(images):
    grey, _ = colorized(images)
    np.testing.assert_array_equal(grey, np.broadcast_to(grey[..., :1], grey.shape))


def test_grey_images_are_unchanged():
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1), (1, 16, 16, 3))
    grey, coloured = colorized(ramp, factor=0.0)
    np.testing.assert_array_equal(grey, ramp)
    np.testing.assert_array_equal(coloured, ramp)


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
    # The predictor gets nothing else.
    shapes = []
    jax.eval_shape(
        lambda x: colorize(lambda v, l: shapes.append(l.shape) or vivid(v, l), {"factor": 1.0}, x),
        images,
    )
    assert shapes == [(2, 128, 128, 1)]


def test_an_image_does_not_depend_on_the_batch(images):
    _, together = colorized(images)
    for i in range(2):
        np.testing.assert_array_equal(colorized(images[i : i + 1])[1][0], together[i])
