"""Pillow images of all modes: what is coloured, and what is returned."""

import io
import struct

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageOps
from profiles import adobe, exchanged

from colorjax.colorize.colorizer import Colorizer
from colorjax.colorize.pictures import to_array, upright


@pytest.fixture(scope="module")
def grey():
    """Leaves every picture as it is, but for its colours."""
    return Colorizer(lambda _, l: jnp.zeros((*l.shape[:-1], 2)), {}, image_size=32)


RAMP = np.linspace(0, 255, 48 * 40, dtype=np.uint8).reshape(48, 40)


def of_mode(mode):
    """The ramp as far as the mode can hold it."""
    image = Image.fromarray(RAMP)
    if mode.startswith("I;16"):
        wide = RAMP.astype(">u2" if mode == "I;16B" else "<u2") * 257
        return Image.frombytes(mode, (40, 48), wide.tobytes())
    if mode == "La":
        return image.convert("LA").convert("La")
    if mode in ("P", "PA"):
        return image.convert(mode)
    return image.convert("RGBA" if mode == "RGBa" else "RGB").convert(mode)


@pytest.mark.parametrize("mode", Image.MODES)
def test_a_picture_of_any_mode_looks_as_pillow_shows_it(grey, mode):
    image = of_mode(mode)
    coloured = grey(image)
    assert coloured.mode == ("RGBA" if mode[-1] in "Aa" else "RGB")
    expected = np.asarray(image.convert("L")) if mode == "1" else RAMP
    found = np.asarray(coloured.convert("RGB")).astype(int)
    assert abs(found - expected[..., None]).max() <= (2 if mode == "LAB" else 1)


@pytest.mark.parametrize(("mode", "top"), [("I", 255), ("I", 65535), ("F", 1), ("F", 255.0)])
def test_the_range_of_wide_samples_follows_from_the_largest(mode, top):
    samples = np.linspace(0, top, 48 * 40).reshape(48, 40)
    image = Image.fromarray(samples.astype(np.int32 if mode == "I" else np.float32))
    found = to_array(image)[..., 0]
    assert found.dtype == np.uint16
    np.testing.assert_allclose(found, np.asarray(image) * (65535 / top), atol=1)


@pytest.mark.parametrize("value", [-1.0, 70_000.0, np.nan, np.inf])
def test_samples_that_can_mean_nothing_are_refused(grey, value):
    image = Image.fromarray(np.float32([[0.5, value]]))
    with pytest.raises(ValueError, match=r"mode F must be in \[0, 65535\]") as error:
        grey(image)
    assert "\n" not in str(error.value)


def test_transparency_outside_of_the_pixels_becomes_an_alpha_channel(grey):
    palette = Image.fromarray(RAMP).convert("P")
    palette.info["transparency"] = bytes(range(256))
    colour_key = Image.fromarray(RAMP)
    colour_key.info["transparency"] = 255
    for image in (palette, colour_key):
        coloured = grey(image)
        expected = np.asarray(image.convert("RGBA"))
        assert abs(np.asarray(coloured).astype(int) - expected).max() <= 1
        coloured.convert("RGB").save(io.BytesIO(), "png")


def _opened(format, exif):
    file = io.BytesIO()
    Image.fromarray(RAMP).convert("RGB").save(file, format, exif=exif)
    return Image.open(file)


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
def test_an_opened_file_is_turned_upright_once(grey, format, orientation):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "LG"
    coloured = grey(_opened(format, exif))
    expected = np.asarray(ImageOps.exif_transpose(_opened(format, exif)))
    assert abs(np.asarray(coloured).astype(int) - expected).max() <= 2
    assert coloured.getexif().get(0x0112, 1) == 1
    assert format == "tiff" or coloured.getexif()[0x010F] == "LG"


def test_exif_that_pillow_cannot_write_back_still_turns():
    # Big-endian: the orientation, and a resolution unit (a number) that is given as text.
    entries = b"\x01\x12\0\3\0\0\0\1\0\6\0\0" + b"\x01\x28\0\2\0\0\0\4abc\0"
    image = _opened("jpeg", b"Exif\0\0MM\0\x2a\0\0\0\x08\0\2" + entries + bytes(4))
    with pytest.raises((TypeError, ValueError, struct.error)):
        ImageOps.exif_transpose(image)
    assert upright(image).size == (48, 40)


def test_the_profile_of_a_grey_picture_is_applied_and_of_a_colour_picture_kept(grey):
    image = Image.fromarray(RAMP)
    rgb, to_srgb = adobe()
    image.info["icc_profile"] = rgb.replace(b"RGB ", b"GRAY").replace(b"rTRC", b"kTRC")
    found = np.asarray(grey(image)).astype(int)
    assert abs(found - to_srgb(RAMP[..., None].repeat(3, 2))).max() <= 1
    for profile in (rgb, b"no profile"):  # not for a grey picture
        image.info["icc_profile"] = profile
        assert abs(np.asarray(grey(image))[..., 0].astype(int) - RAMP).max() <= 1
    colour = image.convert("RGB")
    colour.info["icc_profile"] = exchanged()
    assert grey(colour).info["icc_profile"] == exchanged()


def test_big_endian_arrays(grey):
    wide = RAMP.astype(np.uint16) * 257
    np.testing.assert_array_equal(grey(wide.astype(">u2")), grey(wide))
