"""People's formats, depths, palettes, transparency, orientation and profiles, against PIL's own."""

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from colorjax.data import pipeline
from colorjax.data.procedural.renderer import render_face
from colorjax.images import training
from colorjax.images.training import as_stored, decode_image


def _face():
    return render_face(0, 3, 2, 48)


def _smooth_face():
    """Without the camera's noise, of which a JPEG keeps little."""
    return cv2.GaussianBlur(_face(), (0, 0), 3)


def _save(image, suffix, **options):
    file = io.BytesIO()
    image.save(file, suffix, **options)
    return file.getvalue()


def _check(data, expected, tolerance=0):
    """What is decoded, and what training decodes of what is stored, are the expected picture."""
    for rgb in (decode_image(data).rgb, pipeline.decode(as_stored(data))):
        assert rgb.dtype == np.uint8
        assert rgb.shape == expected.shape
        assert abs(rgb.astype(int) - expected.astype(int)).max() <= tolerance


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "webp"])
def test_lossless_formats_lose_nothing(suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    _check(_save(Image.fromarray(_face()), suffix, **options), _face())


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "jpeg"])
def test_compressed_tiffs_are_read(compression):
    data = _save(Image.fromarray(_face()), "tiff", compression=compression)
    _check(data, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), 1)


@pytest.mark.parametrize("suffix", ["jpeg", "webp"])
def test_lossy_formats_are_what_pil_decodes(suffix):
    data = _save(Image.fromarray(_face()), suffix, quality=90)
    _check(data, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), 2)


@pytest.mark.parametrize("suffix", ["jpeg", "png"])
def test_plain_files_are_stored_as_they_are(suffix):
    data = _save(Image.fromarray(_face()), suffix)
    assert as_stored(data) is data


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_become_the_nearest_eight(suffix):
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    data = cv2.imencode(f".{suffix}", deep[..., ::-1])[1].tobytes()
    # PIL keeps the high byte of colours: within one of value / 257.
    _check(data, np.round(deep / 257).astype(np.uint8), 1)
    data = cv2.imencode(f".{suffix}", deep[..., 0])[1].tobytes()
    _check(data, np.round(deep[..., :1] / 257).astype(np.uint8).repeat(3, axis=2))


def test_palettes_are_looked_up():
    image = Image.fromarray(_face()).quantize(32)
    for suffix in ("png", "bmp", "tiff"):
        _check(_save(image, suffix), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("suffix", ["png", "webp", "tiff"])
def test_transparent_parts_are_seen_on_white(suffix):
    rgba = np.dstack([_face(), np.full((48, 48), 255, np.uint8)])
    rgba[:24, :, 3] = 0
    rgba[24:30, :, 3] = 100
    options = {"lossless": True, "exact": True} if suffix == "webp" else {}
    alpha = rgba[..., 3:] / 255
    expected = np.round(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    _check(_save(Image.fromarray(rgba), suffix, **options), expected, 1)


def test_a_palette_with_a_transparent_entry_is_seen_on_white():
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "P")
    image.putpalette([200, 10, 20, 0, 0, 0])
    expected = np.array([[[200, 10, 20], [255] * 3], [[255] * 3, [200, 10, 20]]], np.uint8)
    _check(_save(image, "png", transparency=1), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpeg", "png", "webp", "tiff"])
def test_every_format_is_turned_upright_as_exif_says(suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {
        "jpeg": {"quality": 95, "subsampling": 0, "exif": exif},
        "png": {"exif": exif},
        "webp": {"lossless": True, "exif": exif},
        "tiff": {"tiffinfo": {0x0112: orientation}},
    }[suffix]
    data = _save(Image.fromarray(_face()[:32]), suffix, **options)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)).convert("RGB"))
    if suffix == "tiff":
        turned = Image.fromarray(_face()[:32])
        turned.getexif()[0x0112] = orientation
        upright = ImageOps.exif_transpose(turned)
    _check(data, np.asarray(upright), 2)


def _s15(value):
    return struct.pack(">i", round(value * 65536))


def _matrix_profile(red, green, blue, gamma):
    """An ICC v2 display profile of three primaries (XYZ at D50) and one gamma."""

    def xyz(values):
        return b"XYZ \0\0\0\0" + b"".join(map(_s15, values))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"wide\0" + bytes(8 + 3 + 67)
    tags = {
        b"desc": description + b"\0" * (-len(description) % 4),
        b"wtpt": xyz((0.9642, 1.0, 0.8249)),
        b"rXYZ": xyz(red),
        b"gXYZ": xyz(green),
        b"bXYZ": xyz(blue),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
    }
    offset, table, body = 132 + 12 * len(tags), b"", b""
    for tag, data in tags.items():
        table += tag + struct.pack(">II", offset + len(body), len(data))
        body += data
    size = offset + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(24) + struct.pack(">I", 0)
    header += _s15(0.9642) + _s15(1.0) + _s15(0.8249)
    header += bytes(128 - len(header))
    return header + struct.pack(">I", len(tags)) + table + body


# Adobe RGB (1998), adapted to D50.
_ADOBE = (
    (0.60974, 0.31111, 0.01947),
    (0.20528, 0.62567, 0.06087),
    (0.14919, 0.06322, 0.74457),
)


def _adobe_to_srgb(rgb):
    """In closed form: gamma 2.2 and two matrices."""
    linear = (rgb / 255) ** (563 / 256)
    xyz = linear @ np.array(_ADOBE)
    srgb_to_xyz = np.array(
        [[0.43607, 0.22249, 0.01392], [0.38515, 0.71687, 0.09708], [0.14307, 0.06061, 0.71410]]
    )
    out = np.clip(xyz @ np.linalg.inv(srgb_to_xyz), 0, 1)
    out = np.where(out <= 0.0031308, 12.92 * out, 1.055 * out ** (1 / 2.4) - 0.055)
    return np.round(out * 255).astype(np.uint8)


@pytest.mark.parametrize(("suffix", "tolerance"), [("png", 2), ("tiff", 2), ("jpeg", 8)])
def test_embedded_profiles_are_converted_to_srgb(suffix, tolerance):
    profile = _matrix_profile(*_ADOBE, gamma=563 / 256)
    ImageCms.ImageCmsProfile(io.BytesIO(profile))  # littleCMS takes it
    options = {"quality": 95, "subsampling": 0} if suffix == "jpeg" else {}
    rgb = np.clip(_smooth_face(), 40, 215)
    data = _save(Image.fromarray(rgb), suffix, icc_profile=profile, **options)
    expected = _adobe_to_srgb(rgb)
    assert abs(expected.astype(int) - rgb).max() > 8  # the profile matters
    _check(data, expected, tolerance)
    stored = Image.open(io.BytesIO(as_stored(data)))
    assert "icc_profile" not in stored.info
    assert stored.format == ("JPEG" if suffix == "jpeg" else "PNG")


def test_a_profile_that_is_srgb_or_broken_leaves_the_file_as_it_is():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, b"no profile", b""):
        data = _save(Image.fromarray(_face()), "png", icc_profile=profile)
        assert as_stored(data) is data


def test_a_cmyk_jpeg_is_what_pil_makes_of_it():
    data = _save(Image.fromarray(_smooth_face()).convert("CMYK"), "jpeg", quality=95)
    _check(data, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), 8)


@pytest.mark.parametrize("suffix", ["png", "jpeg", "webp", "tiff", "bmp"])
def test_half_a_file_is_no_image(suffix):
    data = _save(Image.fromarray(_face()), suffix)
    with pytest.raises(training.READ_ERRORS):
        decode_image(data[: len(data) // 2])


def test_floats_and_other_formats_are_no_images():
    for data in (
        _save(Image.fromarray(np.zeros((4, 4), np.float32)), "tiff"),
        _save(Image.fromarray(_face()), "gif"),
        b"",
    ):
        with pytest.raises(training.READ_ERRORS):
            decode_image(data)


def test_the_share_in_colour_is_that_of_the_pixels_over_the_chroma():
    rgb = np.full((100, 100, 3), 128, np.uint8)
    assert training.colourful_share(rgb, 5.0) == 0
    rgb[:10] = (200, 40, 40)
    assert training.colourful_share(rgb, 5.0) == pytest.approx(0.1)
