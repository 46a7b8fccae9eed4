"""Decoding and resizing, compared with Pillow and closed forms."""

import numpy as np
import pytest
from image_files import encoded
from PIL import Image

from colorjax.images.decode import decode, resize


def test_shrinking_averages_the_pixels_as_pillow_does():
    rgb = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    ours = resize(rgb, 16).astype(int)
    means = rgb.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    pillow = np.asarray(Image.fromarray(rgb).resize((16, 16), Image.Resampling.BOX), int)
    assert abs(ours - means).max() <= 0.5 + 1e-6
    assert abs(ours - pillow).max() <= 1


def test_enlarging_a_ramp_gives_a_ramp():
    ramp = np.repeat(np.repeat(np.arange(0, 160, 10, dtype=np.uint8)[None, :, None], 16, 0), 3, 2)
    expected = (np.arange(32) + 0.5) / 2 * 10 - 5
    inner = slice(6, -6)  # beyond the influence of the borders
    assert abs(resize(ramp, 32)[:, inner] - expected[None, inner, None]).max() <= 1


@pytest.mark.parametrize("size", [7, 32, 100])
def test_a_flat_colour_stays_exactly_that_colour(size):
    rgb = np.tile(np.array([200, 30, 77], np.uint8), (32, 32, 1))
    assert (resize(rgb, size) == rgb[0, 0]).all()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "I;16"])
def test_other_png_modes_become_three_channels(mode):
    pixels = np.arange(64, dtype=np.uint16).reshape(8, 8)
    image = Image.fromarray(pixels * 257)
    if mode != "I;16":
        image = Image.fromarray(pixels.astype(np.uint8)).convert(mode)
    np.testing.assert_array_equal(decode(encoded(image)), pixels[..., None].repeat(3, axis=2))
