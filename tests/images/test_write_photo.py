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

from colorjax.images import write_photo as writing
from colorjax.images.photo import FORMATS, SUFFIXES, Photo, read_photo
from colorjax.images.write_photo import write_photo

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
