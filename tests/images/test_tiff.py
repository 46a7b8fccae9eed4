"""TIFFs of every kind come out right or are refused; tifffile, Pillow, closed forms compare."""

import io
import shutil
import struct
import subprocess
import sys
import tempfile
import types

import numpy as np
import pytest
import pyvips
import tifffile
from PIL import Image, ImageCms
from skimage import color
from tiff_files import DEEP, GREY, RAMP, STRIPS, TILES, A, flipped, grey, read, refused, tiff

from colorjax.images import tiff_pixels
from colorjax.images.tiff import open_tiff


@pytest.mark.parametrize("layout", [STRIPS, TILES])
@pytest.mark.parametrize(
    "compression",
    ["none", "packbits", "lzw", "zlib", "deflate", "zstd", "lzma", "jpeg", "webp", "jpeg2000"],
)
@pytest.mark.parametrize("array", [A, GREY, DEEP], ids=["rgb", "grey", "deep"])
def test_compressions_in_strips_and_tiles(layout, compression, array):
    if (compression == "webp" and array is not A) or (compression == "jpeg" and array is DEEP):
        pytest.skip("stores 8-bit RGB only, or 12 bits")
    photometric = "minisblack" if array.ndim == 2 else "rgb"
    contents = tiff(array, photometric=photometric, compression=compression, **layout)
    witness = tifffile.imread(io.BytesIO(contents))
    witness = grey(witness) if array.ndim == 2 else witness
    found = read(contents)
    assert found.dtype == array.dtype
    assert abs(found.astype(int) - witness).max() <= (2 if compression == "jpeg" else 0)


@pytest.mark.parametrize("options", [{"byteorder": ">"}, {"bigtiff": True}])
@pytest.mark.parametrize("more", [{}, {"compression": "lzw", "predictor": True, **TILES}])
def test_byte_orders_and_bigtiff(options, more):
    np.testing.assert_array_equal(read(tiff(DEEP, file=options, **more)), DEEP)


@pytest.mark.parametrize("more", [{}, {"compression": "zlib", "predictor": True}, TILES])
def test_planes(more):
    planes = np.moveaxis(DEEP, -1, 0)
    np.testing.assert_array_equal(read(tiff(planes, planarconfig="separate", **more)), DEEP)
    for kind in (np.uint8, np.uint16):  # grey and alpha
        both = np.stack([GREY, RAMP]).astype(kind)
        options = {"photometric": "minisblack", "extrasamples": ["unassalpha"], **more}
        found = read(tiff(both, planarconfig="separate", **options))
        np.testing.assert_array_equal(found, np.dstack([both[[0, 0, 0, 1]][i] for i in range(4)]))


@pytest.mark.parametrize("bits", [1, 2, 4, 10, 12])
def test_depths_cover_the_whole_range(bits):
    values = (DEEP[..., 1] >> (16 - bits)).astype(np.uint8 if bits < 8 else np.uint16)
    found = read(tiff(values, photometric="minisblack", bitspersample=bits))
    most = 255 if bits < 8 else 65535
    np.testing.assert_array_equal(found[..., 0], np.round(values / (2**bits - 1) * most))


def test_white_is_zero_and_fax():
    for inverted in (255 - GREY, 65535 - DEEP[..., 1]):
        found = read(tiff(inverted, photometric="miniswhite"))
        np.testing.assert_array_equal(found[..., 0], np.iinfo(inverted.dtype).max - inverted)
    bilevel = Image.fromarray(GREY).convert("1")
    for compression in ("group3", "group4", "tiff_ccitt"):
        file = io.BytesIO()
        bilevel.save(file, "TIFF", compression=compression)
        np.testing.assert_array_equal(read(file.getvalue())[..., 0], np.asarray(bilevel) * 255)


@pytest.mark.parametrize("compression", ["group3", "group4"])
def test_corrupt_fax_strips_are_refused(compression):
    file = io.BytesIO()
    Image.fromarray(np.tile(GREY, (3, 3))).convert("1").save(file, "TIFF", compression=compression)
    rng = np.random.default_rng(0)
    for _ in range(20):
        refused(flipped(file.getvalue(), 0, rng), "corrupt|unable")


def test_what_defaults_would_make_wrong_is_refused():
    def without(contents, tag):
        with tifffile.TiffFile(io.BytesIO(contents)) as file:
            at = file.pages[0].tags[tag].offset
        return contents[:at] + struct.pack("<H", 65000) + contents[at + 2 :]

    for picture, name in ((A, "rgb"), (GREY, "minisblack")):
        for compression in ("none", "zlib"):
            contents = tiff(picture, photometric=name, compression=compression)
            refused(without(contents, 262), "does not state its colour space")
            refused(without(contents, 258), "does not state the bits")
    contents = tiff(GREY > 99, photometric="minisblack")  # tifffile does not state one bit
    np.testing.assert_array_equal(read(contents), grey((GREY > 99) * np.uint8(255)))


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_palettes(compression):
    colours = np.random.default_rng(0).integers(0, 256, (3, 256)).astype(np.uint16) * 257
    contents = tiff(GREY, photometric="palette", colormap=colours, compression=compression)
    np.testing.assert_array_equal(read(contents), np.moveaxis(colours[:, GREY] // 257, 0, -1))


def test_alpha_is_only_what_is_called_alpha():
    for kind in (np.uint8, np.uint16):
        scale = np.iinfo(kind).max // 255
        for base, name in ((GREY[..., None], "minisblack"), (A, "rgb")):
            array = np.dstack([base, RAMP]).astype(kind) * kind(scale)
            options = {"photometric": name, "planarconfig": "contig"}
            found = read(tiff(array, extrasamples=["unassalpha"], **options))
            np.testing.assert_array_equal(found[..., 3], array[..., -1])
            np.testing.assert_array_equal(found[..., :3], array[..., :-1] + 0 * found[..., :3])
            (opened,) = open_tiff(tiff(array, extrasamples=["unspecified"], **options), 10**6)
            np.testing.assert_array_equal(opened.image.numpy(), found[..., :3])
            assert opened.photo.notes == ("its extra channel is not kept",)


def test_associated_alpha_is_divided_out():
    array = np.dstack([np.round(A * (RAMP[..., None] / 255)), RAMP]).astype(np.uint8)
    found = read(tiff(array, extrasamples=["assocalpha"]))
    expected = np.minimum(np.round(array[..., :3] / np.maximum(RAMP[..., None], 1) * 255.0), 255)
    assert abs(found[..., :3].astype(int) - expected)[RAMP > 0].max() <= 1


@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
def test_floats_between_0_and_1_are_srgb(kind):
    values = (A / 255).astype(kind)
    found = read(tiff(values))
    assert found.dtype == np.uint16
    assert abs(found - values.astype(float) * 65535).max() < 0.51
    for wrong in (np.nan, 1.5, -0.1):
        values[5, 5, 1] = wrong
        refused(tiff(values), "not between 0 and 1")
    refused(tiff((A / 255).astype(kind), iccprofile=b"x" * 200), "float samples with a profile")


@pytest.mark.parametrize("kind", ["i1", "i2", "i4", "u4"])
def test_other_samples_are_refused(kind):
    refused(tiff(A.astype(kind)), "samples of")


@pytest.mark.parametrize("bits", [8, 16])
def test_lab_is_that_of_d50(bits):
    lab = color.rgb2lab(A, illuminant="D65")
    if bits == 8:
        values = np.dstack([lab[..., 0] * 2.55, lab[..., 1:]]).round().astype(int)
        contents = tiff((values & 255).astype(np.uint8), photometric="cielab")
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        stored = Image.frombytes("LAB", A.shape[1::-1], (values & 255).astype(np.uint8).tobytes())
        witness = np.asarray(ImageCms.profileToProfile(stored, *profiles, outputMode="RGB"))
        assert abs(read(contents).astype(int) - witness).mean() < 1
        shifted = (values + np.array([0, 128, 128])).astype(np.uint8)
        np.testing.assert_array_equal(read(tiff(shifted, photometric="icclab")), read(contents))
    else:
        values = np.dstack([lab[..., 0] * 655.35, lab[..., 1:] * 256]).round().astype(int)
        found = read(tiff((values & 65535).astype(np.uint16), photometric="cielab"))
        assert abs(found / 257 - A).mean() < 2
        refused(tiff(values.astype(np.uint16), photometric="icclab"), "ICC Lab samples")


def test_ycbcr():
    for options in ({"compression": "jpeg"}, {}):
        file = io.BytesIO()
        Image.fromarray(A).convert("YCbCr").save(file, "TIFF", **options)
        with Image.open(file) as image:
            witness = np.asarray(image.convert("RGB")).astype(int)
        assert abs(read(file.getvalue()) - witness).max() <= 3


def test_cmyk():
    inks = np.dstack([255 - A, np.zeros_like(GREY)])
    assert abs(read(tiff(inks, photometric="separated")).astype(int) - A).mean() < 40


@pytest.mark.parametrize("layout", [STRIPS, TILES])
@pytest.mark.parametrize("compression", ["zlib", "lzw", "lzma", "jpeg", "zstd"])
def test_a_corrupt_strip_or_tile_is_refused_and_never_black(layout, compression):
    rng, noise = np.random.default_rng(0), np.random.default_rng(1).integers(0, 9, A.shape)
    clean = (A // 2 + noise + 40).astype(np.uint8)
    contents = tiff(clean, compression=compression, **layout)
    whole = read(contents)
    found = 0
    for _ in range(20):
        try:
            pixels = read(flipped(contents, 1, rng)).astype(int)
        except (ValueError, pyvips.Error):
            found += 1
            continue
        # What has no checksum can hold other pixels; a whole tile is never blank.
        blank = (pixels[:32, 32:64] if layout is TILES else pixels[32:64]).std()
        assert blank > 0
        assert abs(pixels - whole)[:32, :32].max() == 0
    least = {"zlib": 20, "lzma": 20, "lzw": 17, "jpeg": 12, "zstd": 2}
    assert found >= least[compression]


@pytest.mark.parametrize("layout", [STRIPS, TILES])
def test_missing_strips_and_truncated_files_are_refused(layout):
    contents = tiff(A, **layout)
    with tifffile.TiffFile(io.BytesIO(contents)) as file:
        last = max(file.pages[0].dataoffsets)
        tag = file.pages[0].tags[325 if layout is TILES else 279]
    refused(contents[: last + 10], "truncated")
    missing = bytearray(contents)
    missing[tag.valueoffset : tag.valueoffset + tag.valuebytecount] = bytes(tag.valuebytecount)
    refused(bytes(missing), "missing|corrupt")


WITHOUT = """
import sys
sys.modules["imagecodecs"] = None
from colorjax.images.photo import read_photo
for path in sys.argv[1:]:
    try:
        print(read_photo(open(path, "rb").read()).rgb.sum())
    except ValueError as error:
        print(error)
"""


def test_without_imagecodecs_the_reason_names_the_extra(tmp_path):
    contents = [tiff(A, compression="zstd", **layout) for layout in (STRIPS, TILES)]  # by Pillow
    contents += [tiff(A, compression="jpeg2000"), tiff(DEEP, compression="zstd")]
    paths = [tmp_path / f"{number}.tif" for number in range(len(contents))]
    for path, data in zip(paths, contents, strict=True):
        path.write_bytes(data)
    command = [sys.executable, "-c", WITHOUT, *paths]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    assert found[:2] == [str(A.sum())] * 2
    words = "its compression ({}) needs imagecodecs: pip install 'colorjax[tiff]'"
    assert found[2] == words.format("JPEG2000")
    if sys.version_info < (3, 14):  # which has a decoder
        assert found[3] == words.format("ZSTD")


def test_large_pictures_lie_in_the_folder_for_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff_pixels, "_MAPPED", 1000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    contents = tiff((A / 255).astype("f4"))
    assert read(contents).shape == A.shape
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=1000))
    with pytest.raises(OSError, match="No space left") as caught:
        read(contents)
    assert caught.value.filename == str(tmp_path)


def test_the_name_of_a_compression_that_is_not_read_is_plain():
    at = (contents := tiff(A)).index(struct.pack("<HHI", 259, 3, 1)) + 8
    with pytest.raises(ValueError, match=r"CCIRLEW") as caught:
        read(contents[:at] + struct.pack("<H", 32771) + contents[at + 2 :])
    assert "COMPRESSION." not in str(caught.value)
