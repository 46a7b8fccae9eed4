"""ICC profiles, with Pillow's ImageCms as the other implementation."""

import io
import zlib

import numpy as np
import pytest
from image_files import encoded
from PIL import Image, ImageCms
from profiles import adobe, exchanged, linear, one_way, srgb

from colorjax.images import profiles
from colorjax.images.photo import read_photo
from colorjax.images.write_photo import write_photo

BOTH_WAYS = {"sRGB": srgb(), "Adobe RGB": adobe()[0], "exchanged": exchanged(), "linear": linear()}


@pytest.fixture(scope="module")
def picture():
    rgb = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    rgb[0] = np.linspace(0, 255, 16, dtype=np.uint8)[:, None]
    return rgb


def as_pillow(rgb, profile, back=False):
    ends = io.BytesIO(profile), ImageCms.createProfile("sRGB")
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    source, target = reversed(ends) if back else ends
    image = ImageCms.profileToProfile(Image.fromarray(rgb), source, target, intent)
    return np.asarray(image).astype(int)


def test_srgb_is_known_by_its_curves_and_not_by_its_name():
    renamed = srgb().replace(b"s\0R\0G\0B", b"t\0e\0s\0t").replace(b"sRGB", b"test")
    assert profiles.is_srgb(srgb())
    assert profiles.is_srgb(renamed)
    assert not any(map(profiles.is_srgb, (linear(), adobe()[0], exchanged(), one_way(), b"sRGB")))


@pytest.mark.parametrize("name", BOTH_WAYS)
def test_both_ways_are_as_pillows(picture, name):
    profile = BOTH_WAYS[name]
    assert profiles.works_both_ways(profile)
    photo = read_photo(encoded(picture, "png", icc_profile=profile))
    assert (photo.profile, photo.notes) == (profile, ())
    assert abs(photo.rgb - as_pillow(picture, profile)).max() <= 2
    found = profiles.from_srgb(picture, profile)
    assert abs(found - as_pillow(picture, profile, back=True)).max() <= 2
    for level in (0, 255):  # black and white stay black and white
        grey = np.full((1, 1, 3), level, np.uint8)
        np.testing.assert_array_equal(profiles.from_srgb(grey, profile), grey)


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "tiff"])
def test_a_profile_of_one_way_is_read_and_srgb_is_written(tmp_path, picture, format):
    options = {"webp": {"lossless": True}, "jpeg": {"quality": 100, "subsampling": 0}}
    contents = encoded(picture, format, icc_profile=one_way(), **options.get(format, {}))
    photo = read_photo(contents)
    assert photo.notes == ("its colour profile works one way only; written in sRGB",)
    stored = np.asarray(Image.open(io.BytesIO(contents)).convert("RGB"))
    assert abs(photo.rgb - as_pillow(stored, one_way())).max() <= 3
    write_photo(tmp_path / "a", photo)
    assert read_photo(tmp_path / "a").profile is None


@pytest.mark.parametrize("length", [4, 100, 128, 140, 300, 500])
def test_a_truncated_profile_counts_as_none(picture, length):
    for profile in (srgb()[:length], adobe()[0][:length], one_way()[:length]):
        photo = read_photo(encoded(picture, "png", icc_profile=profile))
        if photo.profile is None:
            assert photo.notes == ("its colour profile is corrupt; written in sRGB",)
            np.testing.assert_array_equal(photo.rgb, picture)
        else:  # only a text is missing
            assert profiles.works_both_ways(profile)


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "tiff"])
def test_padding_behind_a_profile_is_left_out(tmp_path, picture, format):
    profile = adobe()[0]
    photo = read_photo(encoded(picture, format, icc_profile=profile + bytes(512)))
    assert (photo.profile, photo.notes) == (profile, ())
    write_photo(tmp_path / "a", photo)
    with Image.open(tmp_path / "a") as image:
        assert image.info["icc_profile"] == profile


def test_a_profile_that_does_not_inflate_is_named(picture):
    contents = encoded(picture, "png", icc_profile=adobe()[0])
    at = contents.index(b"iCCP")
    length = int.from_bytes(contents[at - 4 : at], "big")
    chunk = contents[at : at + 4 + length - 20] + bytes(20)
    crc = zlib.crc32(chunk).to_bytes(4, "big")
    photo = read_photo(contents[:at] + chunk + crc + contents[at + 8 + length :])
    assert photo.notes == ("its colour profile is corrupt; written in sRGB",)
    np.testing.assert_array_equal(photo.rgb, picture)
