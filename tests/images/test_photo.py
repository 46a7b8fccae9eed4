"""What belongs to a photograph survives; Pillow, OpenCV and tifffile are the other readers."""

import errno
import functools
import os
import shutil
import zlib

import cv2
import numpy as np
import pytest
import pyvips
import tifffile
from PIL import Image, ImageCms, ImageOps
from skimage import color, data

from colorjax.images import photo
from colorjax.images.photo import FORMATS, SUFFIXES, Photo, read_photo, write_photo

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


@functools.cache  # it holds the time at which it was made
def profile():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exchanged():
    """A profile under another name, whose first channel is sRGB's green and its second red."""
    other = profile().replace(b"s\0R\0G\0B", b"t\0e\0s\0t").replace(b"sRGB", b"test")
    return other.replace(b"rXYZ", b"----").replace(b"gXYZ", b"rXYZ").replace(b"----", b"gXYZ")


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", [1, 2, 3, 6, 8])
def test_dates_places_and_resolution_stay_and_orientation_is_applied_once(
    tmp_path, picture, format, orientation
):
    source, target = tmp_path / f"a{SUFFIXES[format]}", tmp_path / f"b{SUFFIXES[format]}"
    image = Image.fromarray(picture)
    image.save(source, exif=exif(orientation), dpi=(300, 300), icc_profile=profile())
    photo = read_photo(source)
    with Image.open(source) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert photo.rgb.shape == upright.shape
    assert abs(photo.rgb.astype(int) - upright).max() <= (2 if format in ("jpeg", "webp") else 0)
    write_photo(target, photo)
    with Image.open(target) as image:
        assert image.size == (photo.rgb.shape[1], photo.rgb.shape[0])
        found = image.getexif()
        assert found.get(ORIENTATION, 1) == 1
        assert (found[DATE], found[MAKE]) == ("2001:02:03 04:05:06", "Leica")
        if format != "tiff":  # Pillow writes no such directory into the source
            assert found.get_ifd(EXIF)[TAKEN] == "1934:05:06 07:08:09"
            assert found.get_ifd(GPS)[2] == (48.0, 12.0, 3.5)
        assert image.info["icc_profile"] == profile()
        if format != "webp":  # which has no place for it
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)


@pytest.mark.parametrize("deep", [False, True])
def test_a_tiff_has_the_exif_of_a_jpeg(tmp_path, picture, deep):
    Image.fromarray(picture).save(tmp_path / "a.jpg", exif=exif())
    photo = read_photo(tmp_path / "a.jpg")
    rgb = photo.rgb.astype(np.uint16) * 257 if deep else photo.rgb
    for name in ("b.tif", "c.tif"):  # the second from the first
        write_photo(tmp_path / name, photo._replace(rgb=rgb, format="tiff"))
        with Image.open(tmp_path / "b.tif") as image:
            assert image.getexif()[DATE] == "2001:02:03 04:05:06"
            assert image.getexif().get_ifd(EXIF)[TAKEN] == "1934:05:06 07:08:09"
            assert image.getexif().get_ifd(GPS)[2] == (48.0, 12.0, 3.5)
        with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
            np.testing.assert_array_equal(tiff.asarray(), rgb)
            assert tiff.pages[0].tags["GPSTag"].value["GPSLatitude"]
        photo = read_photo(tmp_path / "b.tif")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 3), (9, 7, 4)])
def test_sixteen_bits_stay(tmp_path, suffix, shape):
    values = np.random.default_rng(0).integers(0, 65536, shape, dtype=np.uint16)
    cv2.imwrite(str(tmp_path / f"a{suffix}"), values)  # BGR
    photo = read_photo(tmp_path / f"a{suffix}")
    assert photo.rgb.dtype == np.uint16
    rgb = values[..., 2::-1] if len(shape) == 3 else np.repeat(values[..., None], 3, axis=-1)
    np.testing.assert_array_equal(photo.rgb, rgb)
    write_photo(tmp_path / f"b{suffix}", photo)
    written = cv2.imread(str(tmp_path / f"b{suffix}"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(written[..., 2::-1], rgb)
    if shape[-1] == 4:
        np.testing.assert_array_equal(photo.alpha, values[..., 3])
        np.testing.assert_array_equal(written[..., 3], values[..., 3])


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_alpha_stays(tmp_path, picture, suffix):
    alpha = np.arange(90 * 60, dtype=np.uint8).reshape(90, 60)
    image = Image.fromarray(np.dstack([picture, alpha]))
    image.save(tmp_path / f"a{suffix}", **({"lossless": True} if suffix == ".webp" else {}))
    photo = read_photo(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(photo.alpha, alpha)
    write_photo(tmp_path / f"b{suffix}", photo)
    with Image.open(tmp_path / f"b{suffix}") as written:
        np.testing.assert_array_equal(np.asarray(written)[..., 3], alpha)


def test_where_a_format_has_no_alpha_it_is_laid_on_white(tmp_path, picture):
    photo = Photo(picture, np.zeros((90, 60), np.uint8), format="bmp")
    write_photo(tmp_path / "a.bmp", photo)
    assert read_photo(tmp_path / "a.bmp").rgb.min() == 255


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_mode_is_read_as_pillow_reads_it(tmp_path, picture, mode):
    image = Image.fromarray(picture).convert(mode)
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    image.save(path, **({"quality": 95} if mode == "CMYK" else {}))
    rgb = read_photo(path).rgb
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB"))
    # Without a profile CMYK is a convention: Pillow's is another one.
    assert abs(rgb.astype(int) - expected).mean() < (60 if mode == "CMYK" else 1e-9)


def test_a_profile_is_converted_from_and_back_to(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / "a.png", icc_profile=exchanged())
    photo = read_photo(tmp_path / "a.png")
    assert photo.profile == exchanged()
    assert abs(photo.rgb[..., [1, 0, 2]].astype(int) - picture).max() <= 2
    write_photo(tmp_path / "b.png", photo)
    with Image.open(tmp_path / "b.png") as image:
        assert image.info["icc_profile"] == exchanged()
        assert abs(np.asarray(image).astype(int) - picture).max() <= 3


def test_a_profile_of_sixteen_bits_is_converted_in_sixteen(tmp_path, picture):
    deep = picture.astype(np.uint16) * 257 + 100
    photo = Photo(deep, profile=exchanged())
    write_photo(tmp_path / "a.tif", photo._replace(format="tiff"))
    read = read_photo(tmp_path / "a.tif")
    assert len(np.unique(read.rgb)) > 256
    assert abs(read.rgb.astype(int) - deep).max() < 300
    written = tifffile.imread(tmp_path / "a.tif")
    assert abs(written[..., [1, 0, 2]].astype(int) - deep).max() < 300


def test_a_grey_profile_does_not_stay_with_colours(tmp_path, picture):
    grey = Image.fromarray(picture).convert("L")
    # sRGB's name for its colour space is at byte 16 of the header.
    raw = bytearray(profile())
    raw[16:20] = b"GRAY"
    grey.save(tmp_path / "a.png", icc_profile=bytes(raw))
    photo = read_photo(tmp_path / "a.png")
    assert photo.profile is None
    assert abs(photo.rgb[..., 0].astype(int) - np.asarray(grey)).max() <= 2


@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_what_is_written_is_read_again(tmp_path, picture, suffix):
    path = tmp_path / f"a{suffix}"
    write_photo(path, Photo(picture, format=FORMATS[suffix]))
    photo = read_photo(path)
    assert photo.format == FORMATS[suffix]
    lightness = [color.rgb2lab(rgb)[..., 0] for rgb in (photo.rgb, picture)]
    assert abs(lightness[0] - lightness[1]).mean() < (1.5 if suffix in (".jpg", ".webp") else 1.6)
    if FORMATS[suffix] in ("png", "tiff", "bmp"):
        np.testing.assert_array_equal(photo.rgb, picture)


def _animation(path, picture):
    frames = [Image.fromarray(picture), Image.fromarray(255 - picture)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("text.jpg", "no image"),
        ("empty.png", "no image"),
        ("half.jpg", "cut short"),
        ("half.png", "cut short"),
        ("half.tif", "cut short"),
        ("pickle.png", "no image"),
        ("moving.png", "2 pictures"),
        ("moving.webp", "2 pictures"),
        ("pages.tif", "2 pictures"),
        ("moving.gif", "no image"),
        ("bomb.png", "179 million"),
    ],
)
def test_what_is_no_photograph_is_refused(tmp_path, picture, name, words):
    path = tmp_path / name
    kind = path.stem
    if kind == "half":
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 60, 3), np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind in ("moving", "pages"):
        _animation(path, picture)
    elif kind == "bomb":
        header = b"\x00\x00\xc3\x50\x00\x00\xc3\x50\x08\x02\x00\x00\x00"  # 50,000 × 50,000
        Image.fromarray(picture).save(path)
        raw = path.read_bytes()
        check = zlib.crc32(b"IHDR" + header).to_bytes(4, "big")
        path.write_bytes(raw[:16] + header + check + raw[33:])
    else:
        path.write_bytes({"text": b"hello", "empty": b"", "pickle": b"\x80\x04K\x01."}[kind])
    with pytest.raises(ValueError, match=words):
        read_photo(path)


def test_a_name_that_is_no_utf_8_is_read_and_written(tmp_path, picture):
    path = tmp_path / os.fsdecode(b"gr\xfcn.png")
    write_photo(path, Photo(picture))
    np.testing.assert_array_equal(read_photo(path).rgb, picture)


def test_nothing_is_left_where_writing_fails(tmp_path, picture, monkeypatch):
    class Full:
        def __init__(self, *_):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyvips.Target.new_to_descriptor", Full)
    with pytest.raises(OSError, match="No space"):
        write_photo(tmp_path / "a.png", Photo(picture))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_what_does_not_fit_on_a_disk_is_an_error_and_no_short_file(picture):
    with open("/dev/full", "w+b") as file, pytest.raises(pyvips.Error) as caught:
        photo._encode(file, Photo(picture))
    assert photo._write_error(str(caught.value)).errno == errno.ENOSPC


def test_a_full_disk_is_told_from_other_faults():
    text = "unable to call pngsave_target\n  target: write error\nwrite error: " + os.strerror(28)
    assert photo._write_error(text).errno == 28
    other = photo._write_error("unable to write\n  too large")
    assert (other.errno, str(other)) == (None, "cannot be written (unable to write too large)")


def test_copies_are_equal(tmp_path, picture):
    """Reading does not depend on the file's name."""
    write_photo(tmp_path / "a.png", Photo(picture))
    shutil.copy(tmp_path / "a.png", tmp_path / "b.dat")
    assert read_photo(tmp_path / "b.dat").format == "png"
