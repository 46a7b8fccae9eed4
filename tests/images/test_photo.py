"""Reading photographs, compared with Pillow, OpenCV and closed forms; what is refused."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from image_files import encoded
from PIL import Image, ImageCms, ImageOps
from profiles import adobe, exchanged, srgb
from skimage import data

from colorjax.images import exif as exif_blocks
from colorjax.images.photo import on_white, read_photo, to_bytes

ORIENTATION = 0x0112
LOSSLESS = {"webp": {"lossless": True, "exact": True}, "jpeg": {"quality": 95, "subsampling": 0}}


@pytest.fixture(scope="module")
def picture():
    """[90, 60, 3] uint8: smooth, so that JPEG changes little, and different everywhere."""
    return cv2.resize(data.astronaut()[:300, :200], (60, 90), interpolation=cv2.INTER_AREA)


def pillow(contents):
    return np.asarray(Image.open(io.BytesIO(contents)).convert("RGB"))


def difference(a, b):
    assert a.shape == b.shape
    return abs(a.astype(int) - b).max()


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_upright_as_exif_says(picture, format, orientation):
    image, exif = Image.fromarray(picture), Image.Exif()
    exif[ORIENTATION] = orientation
    contents = encoded(image, format, exif=exif, **LOSSLESS.get(format, {}))
    image.getexif()[ORIENTATION] = orientation
    photo = read_photo(contents)
    upright = np.asarray(ImageOps.exif_transpose(image))
    assert photo.rgb.shape == upright.shape
    assert abs(photo.rgb.astype(int) - upright).mean() < (3 if format == "jpeg" else 1e-9)
    assert photo.exif is None or exif_blocks.orientation(photo.exif) in (0, 1)


@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_lossy_formats_are_decoded_as_pillow_decodes_them(picture, format):
    contents = encoded(picture, format, quality=90)
    assert difference(read_photo(contents).rgb, pillow(contents)) <= 2


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("format", ["png", "bmp", "tiff", "webp"])
def test_every_mode_is_read_as_pillow_reads_it(picture, format, mode):
    image = Image.fromarray(picture).convert(mode)
    if (format, mode) == ("bmp", "LA"):
        pytest.skip("BMP has no grey with alpha")
    contents = encoded(image, format, **LOSSLESS.get(format, {}))
    assert difference(read_photo(contents).rgb, pillow(contents)) == 0


def test_cmyk_without_a_profile_is_a_convention(picture):
    """Pillow's is another one."""
    contents = encoded(Image.fromarray(picture).convert("CMYK"), "jpeg", quality=95)
    assert abs(read_photo(contents).rgb.astype(int) - pillow(contents)).mean() < 60


@pytest.mark.parametrize(
    "compression", ["raw", "packbits", "tiff_lzw", "tiff_deflate", "jpeg", "lzma", "zstd"]
)
def test_tiff_compressions_are_read(picture, compression):
    contents = encoded(picture, "tiff", compression=compression)
    assert difference(read_photo(contents).rgb, pillow(contents)) <= 1


@pytest.mark.parametrize("mode", ["YCbCr", "LAB"])
def test_tiffs_in_other_colour_spaces_are_read(picture, mode):
    image = Image.fromarray(picture)
    if mode == "LAB":
        profiles = (ImageCms.createProfile(name) for name in ("sRGB", "LAB"))
        image = ImageCms.profileToProfile(image, *profiles, outputMode="LAB")
    rgb = read_photo(encoded(image.convert(mode), "tiff")).rgb
    assert abs(rgb.astype(int) - picture).mean() < 2


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 3), (9, 7, 4)])
def test_sixteen_bits_are_kept_and_become_the_nearest_eight(suffix, shape):
    values = np.random.default_rng(0).integers(0, 65536, shape, dtype=np.uint16)
    photo = read_photo(cv2.imencode(suffix, values)[1].tobytes())  # BGR
    assert photo.rgb.dtype == np.uint16
    rgb = values[..., 2::-1] if len(shape) == 3 else np.repeat(values[..., None], 3, axis=-1)
    np.testing.assert_array_equal(photo.rgb, rgb)
    np.testing.assert_array_equal(to_bytes(photo.rgb), np.round(rgb / 257))
    if shape[-1] == 4 and suffix == ".png":  # OpenCV does not say that a TIFF's is alpha
        np.testing.assert_array_equal(photo.alpha, values[..., 3])


@pytest.mark.parametrize("format", ["png", "webp", "tiff"])
def test_alpha_is_kept_and_composites_on_white(picture, format):
    alpha = np.arange(90 * 60, dtype=np.uint8).reshape(90, 60)
    rgba = np.dstack([picture, alpha])
    photo = read_photo(encoded(Image.fromarray(rgba), format, **LOSSLESS.get(format, {})))
    np.testing.assert_array_equal(photo.alpha, alpha)
    opacity = alpha[..., None] / 255
    expected = np.round(picture * opacity + 255 * (1 - opacity))
    assert difference(on_white(photo.rgb, photo.alpha), expected.astype(int)) <= 1


def test_a_transparent_palette_entry_is_alpha():
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "P")
    image.putpalette([200, 10, 20, 0, 0, 0])
    photo = read_photo(encoded(image, "png", transparency=1))
    np.testing.assert_array_equal(photo.alpha, [[255, 0], [0, 255]])
    np.testing.assert_array_equal(photo.rgb[0, 0], [200, 10, 20])


@pytest.mark.parametrize("format", ["png", "tiff", "webp", "jpeg"])
def test_adobe_rgb_becomes_srgb_as_in_closed_form(picture, format):
    profile, to_srgb = adobe()
    rgb = np.clip(picture, 40, 215)
    options = LOSSLESS.get(format, {})
    photo = read_photo(encoded(Image.fromarray(rgb), format, icc_profile=profile, **options))
    expected = to_srgb(rgb)
    assert difference(expected, rgb) > 8  # the profile matters
    assert abs(photo.rgb.astype(int) - expected).mean() < (4 if format == "jpeg" else 0.5)
    assert photo.profile == profile


def test_a_profile_that_exchanges_channels_exchanges_them(picture):
    photo = read_photo(encoded(picture, "png", icc_profile=exchanged()))
    assert photo.profile == exchanged()
    assert difference(photo.rgb[..., [1, 0, 2]], picture) <= 2


@pytest.mark.parametrize("profile", [b"no profile", b""])
def test_a_corrupt_profile_counts_as_none(picture, profile):
    photo = read_photo(encoded(picture, "png", icc_profile=profile))
    assert photo.profile is None
    np.testing.assert_array_equal(photo.rgb, picture)


def test_a_grey_profile_is_not_kept_with_colours(picture):
    grey = Image.fromarray(picture).convert("L")
    raw = bytearray(srgb())
    raw[16:20] = b"GRAY"  # the colour space in the header
    photo = read_photo(encoded(grey, "png", icc_profile=bytes(raw)))
    assert photo.profile is None
    assert difference(photo.rgb[..., 0], np.asarray(grey)) <= 2


def claims(contents, width, height):
    """A PNG whose header claims another size."""
    header = struct.pack(">II", width, height) + contents[24:29]
    return contents[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + contents[33:]


def refused(picture):
    """Contents of files, and the words that they are refused with."""
    image = Image.fromarray(picture)
    frames = {"save_all": True, "append_images": [Image.fromarray(255 - picture)]}
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 60, 3), np.uint8))
    yield from ((contents, "not an image") for contents in (b"", b"hello", b"\x80\x04K\x01."))
    yield encoded(image, "gif"), "not an image"
    for format in ("jpeg", "png", "webp", "tiff", "bmp"):
        contents = encoded(noise, format)
        yield contents[: len(contents) // 2], "truncated|corrupt"
    jpeg = encoded(noise, "jpeg")
    yield jpeg[: len(jpeg) // 2] + b"\xff\xd9", "corrupt"
    yield from ((encoded(image, name, **frames), "2 pictures") for name in ("png", "webp"))
    yield claims(encoded(image, "png"), 50_000, 50_000), "50000 × 50000 pixels; at most 1000 mill"
    bmp = encoded(image, "bmp")
    yield bmp[:18] + b"\0\0\1\0\0\0\1\0" + bmp[26:], "65536 × 65536 pixels"


def test_what_is_not_a_photograph_is_refused(picture):
    for contents, words in refused(picture):
        with pytest.raises(ValueError, match=words):
            read_photo(contents)


def test_the_first_of_several_pictures_and_fewer_pixels_can_be_asked_for(picture):
    frames = {"save_all": True, "append_images": [Image.fromarray(255 - picture)]}
    for format in ("png", "tiff"):
        photo = read_photo(encoded(picture, format, **frames), first_picture=True)
        np.testing.assert_array_equal(photo.rgb, picture)
        assert not photo.pages
    pages = read_photo(encoded(picture, "tiff", **frames)).pages
    assert len(pages) == 1
    np.testing.assert_array_equal(pages[0].rgb, 255 - picture)
    with pytest.raises(ValueError, match="60 × 90 pixels; at most 0 million"):
        read_photo(encoded(picture, "png"), max_pixels=90 * 60 - 1)
