"""What belongs to a photograph survives; Pillow, OpenCV and tifffile are the other readers."""

import contextlib
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from profiles import exchanged, srgb
from skimage import color, data

from colorjax.images import exif as exif_blocks
from colorjax.images import write_photo as writing
from colorjax.images import xmp
from colorjax.images.kinds import Photo, Text
from colorjax.images.photo import FORMATS, SUFFIXES, read_photo
from colorjax.images.write_photo import not_kept, write_photo

ORIENTATION, DATE, MAKE, EXIF, TAKEN, GPS = 0x0112, 0x0132, 0x010F, 0x8769, 0x9003, 0x8825


@pytest.fixture(scope="module")
def picture():
    """[90, 60, 3] uint8: smooth, so that JPEG changes little, and different everywhere."""
    return cv2.resize(data.astronaut()[:300, :200], (60, 90), interpolation=cv2.INTER_AREA)


def exif(orientation=1):
    exif = Image.Exif()
    exif[ORIENTATION], exif[DATE], exif[MAKE] = orientation, "2001:02:03 04:05:06", "Leica"
    exif.get_ifd(EXIF)[TAKEN] = "1934:05:06 07:08:09"
    exif.get_ifd(GPS).update({1: "N", 2: (48.0, 12.0, 3.5)})
    return exif


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_metadata_survive_and_orientation_is_applied_once(tmp_path, picture, format, orientation):
    source, target = tmp_path / f"a{SUFFIXES[format]}", tmp_path / f"b{SUFFIXES[format]}"
    Image.fromarray(picture).save(
        source, exif=exif(orientation), dpi=(300, 300), icc_profile=srgb()
    )
    photo = read_photo(source)
    write_photo(target, photo)
    with Image.open(target) as image:
        assert image.size == (photo.rgb.shape[1], photo.rgb.shape[0])
        found = image.getexif()
        assert found.get(ORIENTATION, 1) == 1
        assert (found[DATE], found[MAKE]) == ("2001:02:03 04:05:06", "Leica")
        if format != "tiff":  # Pillow writes no such directory into the source
            assert found.get_ifd(EXIF)[TAKEN] == "1934:05:06 07:08:09"
            assert found.get_ifd(GPS)[2] == (48.0, 12.0, 3.5)
        assert image.info["icc_profile"] == srgb()
        if format != "webp":  # it cannot store a resolution
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)


@pytest.mark.parametrize("deep", [False, True])
def test_a_tiff_has_the_exif_of_a_jpeg(tmp_path, picture, deep):
    Image.fromarray(picture).save(tmp_path / "a.jpg", exif=exif())
    photo = read_photo(tmp_path / "a.jpg")
    rgb = photo.rgb.astype(np.uint16) * 257 if deep else photo.rgb
    for name in ("b.tif", "c.tif"):  # the second from the first
        write_photo(tmp_path / name, photo._replace(rgb=rgb, format="tiff"))
        with Image.open(tmp_path / name) as image:
            assert image.getexif()[DATE] == "2001:02:03 04:05:06"
            assert image.getexif().get_ifd(EXIF)[TAKEN] == "1934:05:06 07:08:09"
            assert image.getexif().get_ifd(GPS)[2] == (48.0, 12.0, 3.5)
        with tifffile.TiffFile(tmp_path / name) as tiff:
            np.testing.assert_array_equal(tiff.asarray(), rgb)
            assert tiff.pages[0].tags["GPSTag"].value["GPSLatitude"]
        photo = read_photo(tmp_path / name)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("alpha", [False, True])
def test_sixteen_bits_and_alpha_are_written(tmp_path, suffix, alpha):
    values = np.random.default_rng(0).integers(0, 65536, (9, 7, 4), dtype=np.uint16)
    photo = Photo(values[..., :3], values[..., 3] if alpha else None, FORMATS[suffix])
    write_photo(tmp_path / f"a{suffix}", photo)
    written = cv2.imread(str(tmp_path / f"a{suffix}"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(written[..., 2::-1], photo.rgb)
    if alpha:
        np.testing.assert_array_equal(written[..., 3], photo.alpha)


@pytest.mark.parametrize("suffix", [".jpg", ".bmp"])
def test_formats_without_alpha_composite_on_white(tmp_path, picture, suffix):
    photo = Photo(picture, np.zeros((90, 60), np.uint8), format=FORMATS[suffix])
    write_photo(tmp_path / f"a{suffix}", photo)
    assert read_photo(tmp_path / f"a{suffix}").rgb.min() == 255


@pytest.mark.parametrize("deep", [False, True])
def test_colours_are_written_in_the_profile_of_the_photograph(tmp_path, picture, deep):
    rgb = picture.astype(np.uint16) * 257 + 100 if deep else picture
    write_photo(tmp_path / "a.tif", Photo(rgb, format="tiff", profile=exchanged()))
    written = tifffile.imread(tmp_path / "a.tif")
    read = read_photo(tmp_path / "a.tif")
    assert read.profile == exchanged()
    assert (len(np.unique(read.rgb)) > 256) == deep
    for found in (written[..., [1, 0, 2]], read.rgb):
        assert abs(found.astype(int) - rgb).max() < (300 if deep else 4)


@pytest.mark.parametrize("suffix", sorted(k for k, format in FORMATS.items() if format in SUFFIXES))
def test_what_is_written_can_be_read(tmp_path, picture, suffix):
    path = tmp_path / f"a{suffix}"
    write_photo(path, Photo(picture, format=FORMATS[suffix]))
    photo = read_photo(path)
    assert photo.format == FORMATS[suffix]
    lightness = [color.rgb2lab(rgb)[..., 0] for rgb in (photo.rgb, picture)]
    assert abs(lightness[0] - lightness[1]).mean() < 1.6
    if FORMATS[suffix] in ("png", "tiff", "bmp"):
        np.testing.assert_array_equal(photo.rgb, picture)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_is_an_error(tmp_path, picture, monkeypatch):
    full = contextlib.nullcontext(Path("/dev/full"))
    monkeypatch.setattr(writing, "replaced", lambda _: full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_photo(tmp_path / "a.png", Photo(picture))
    assert caught.value.errno == 28


@pytest.mark.parametrize("number", [28, None])
def test_nothing_is_left_when_writing_fails(tmp_path, picture, monkeypatch, number):
    words = os.strerror(number) if number else "too large"

    def fail(*_):
        raise writing.pyvips.Error(f"unable to call pngsave_target\n  write error: {words}")

    monkeypatch.setattr("pyvips.Target.new_to_descriptor", fail)
    with pytest.raises(OSError, match=words) as caught:
        write_photo(tmp_path / "a.png", Photo(picture))
    assert caught.value.errno == number
    assert not list(tmp_path.iterdir())


def test_what_a_format_cannot_hold_is_named(tmp_path, picture):
    """What is not named comes back."""
    texts = (Text("Title", "Großmutter"), Text("", "a comment"))
    fields = {"iptc": b"\x1c\2\x78\0\4text", "resources": b"8BIM\4\x0a\0\0\0\0\0\1\1\0"}
    camera = exif_blocks.serialise({0x010F: exif_blocks.Entry(2, 3, b"LG\0")})
    photo = Photo(picture, exif=camera, xmp=xmp.marked(None, "a", "b"), texts=texts, **fields)
    lost = {
        "png": (),
        "jpeg": (),
        "tiff": ("not kept: texts (not in a TIFF)",),
        "webp": ("not kept: IPTC, Photoshop's data, texts (not in a WebP)",),
        "bmp": ("not kept: EXIF, XMP, IPTC, Photoshop's data, texts (not in a BMP)",),
    }
    for format, notes in lost.items():
        assert not_kept(photo, format) == notes
        assert not_kept(Photo(picture), format) == ()
        write_photo(tmp_path / "a", photo._replace(format=format))
        found = read_photo(tmp_path / "a")
        named = str(notes)
        for name in ("exif", "xmp", "iptc", "resources", "texts"):
            words = {"resources": "Photoshop", "texts": "texts"}.get(name, name.upper())
            assert bool(getattr(found, name)) != (words in named), (format, name)


def test_blocks_that_are_too_long_for_a_jpeg_are_named(tmp_path, picture):
    note = exif_blocks.Entry(7, 70_000, bytes(70_000))
    block = exif_blocks.serialise({exif_blocks.EXIF: exif_blocks.Entry(4, 1, {0x927C: note})})
    packet = xmp.marked(None, "a", "m" * 70_000)
    photo = Photo(picture, exif=block, xmp=packet, texts=(Text("Title", "x" * 70_000),))
    assert not_kept(photo, "jpeg") == ("not kept: EXIF, XMP, texts (too long for a JPEG)",)
    write_photo(tmp_path / "a", photo._replace(format="jpeg"))
    found = read_photo(tmp_path / "a")
    assert (found.exif, found.xmp, found.texts) == (None, None, ())


def test_corrupt_tags_that_a_tiff_does_not_keep_are_named(picture):
    camera = {0x920A: exif_blocks.Entry(5, 1, bytes(8)), 0xA432: exif_blocks.Entry(2, 1, b"\0")}
    block = exif_blocks.serialise({exif_blocks.EXIF: exif_blocks.Entry(4, 1, camera)})
    photo = Photo(picture, exif=block.replace(b"\x0a\x92\5", b"\x0a\x92\x63"))
    assert not_kept(photo, "tiff") == ("corrupt EXIF tags are not kept (0x920A)",)
    assert not_kept(photo, "jpeg") == ()  # byte for byte


def test_a_bmp_is_written_in_srgb(tmp_path, picture):
    write_photo(tmp_path / "a.bmp", Photo(picture, format="bmp", profile=exchanged()))
    np.testing.assert_array_equal(read_photo(tmp_path / "a.bmp").rgb, picture)


@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_a_picture_that_is_too_wide_for_its_format_is_named(tmp_path, format):
    wide = np.zeros((1, 70_000, 3), np.uint8)
    with pytest.raises(OSError, match="cannot be written") as caught:
        write_photo(tmp_path / "a", Photo(wide, format=format))
    assert "unable to call" not in str(caught.value)
    assert "Vips" not in str(caught.value)
