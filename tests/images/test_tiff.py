"""TIFFs of every kind come out right or are refused; tifffile, Pillow, closed forms compare."""

import contextlib
import io
import struct

import numpy as np
import pytest
import pyvips
import tifffile
from PIL import Image, ImageCms, ImageOps
from skimage import color, data

from colorjax.images import tiff_pixels
from colorjax.images.tiff import open_tiff

A = data.astronaut()[40:232:2, 40:180:2]  # [96, 70, 3]
GREY = A[..., 1]
DEEP = A.astype(np.uint16) * 257 + 1 - (A > 200)
RAMP = np.linspace(0, 255, GREY.size).reshape(GREY.shape).astype(np.uint8)
STRIPS, TILES = {"rowsperstrip": 32}, {"tile": (32, 32)}


def tiff(*pictures, **options):
    """A TIFF of one page for each picture or pair of picture and options."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file, **options.pop("file", {})) as writer:
        for picture in pictures:
            array, more = picture if isinstance(picture, tuple) else (picture, {})
            given = {"photometric": "rgb", "metadata": None, "contiguous": False, **options, **more}
            writer.write(array, **given)
    return file.getvalue()


def read(contents, pages=1):
    found = open_tiff(contents, 10**6)
    assert len(found) == pages
    return found[0].image.numpy()


def refused(contents, words):
    """Refused when it is opened or when its pixels are read."""
    with pytest.raises((ValueError, pyvips.Error), match=words):
        read(contents)


def grey(channel):
    return np.repeat(channel[..., None], 3, axis=-1)


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


def flipped(contents, segment, rng):
    with tifffile.TiffFile(io.BytesIO(contents)) as file:
        page = file.pages[0]
        start, count = page.dataoffsets[segment], page.databytecounts[segment]
    changed = bytearray(contents)
    for at in rng.integers(start + 4, start + count - 8, 3):
        changed[at : at + 6] = bytes(rng.integers(0, 256, 6, dtype=np.uint8))
    return bytes(changed)


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
    least = {"zlib": 20, "lzma": 20, "lzw": 17, "jpeg": 8, "zstd": 0}
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


def test_without_imagecodecs_the_reason_names_the_extra(monkeypatch):
    contents = tiff(A, compression="jpeg2000")
    error = ValueError("<COMPRESSION.JPEG2000: 34712> requires the 'imagecodecs' package")

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(tiff_pixels, "imagecodecs", None)
    monkeypatch.setattr(tifffile.TiffPage, "asarray", fail)
    refused(contents, "JPEG2000.*colorjax.tiff")
    error = ModuleNotFoundError("No module named 'compression'")
    refused(tiff(DEEP, compression="zstd"), "ZSTD.*colorjax.tiff")
    for layout in (STRIPS, TILES):  # by Pillow
        np.testing.assert_array_equal(read(tiff(A, compression="zstd", **layout)), A)


def test_one_strip_of_more_than_40_mib_from_a_file(tmp_path):
    array = np.tile(DEEP, (40, 30, 1))
    path = tmp_path / "a [1].tif"
    for compression in ("none", "lzw"):
        contents = tiff(array, rowsperstrip=len(array), compression=compression)
        path.write_bytes(contents)
        (opened,) = open_tiff(path, 10**9)
        np.testing.assert_array_equal(opened.image.numpy(), array)


def test_the_limit_of_pixels_names_the_size():
    with pytest.raises(ValueError, match="has 70 × 96 pixels; at most"):
        open_tiff(tiff(A), 70 * 96 - 1)


def test_next_directories_that_are_missing_or_bad():
    contents = tiff(A, rowsperstrip=96)
    with tifffile.TiffFile(io.BytesIO(contents)) as file:
        tags = file.pages[0].tags
        at = file.pages[0].offset + 2 + 12 * len(tags)
    start = struct.unpack_from("<I", contents, 4)[0]
    for offset in (start, 3, len(contents) - 1, len(contents) + 100, 0xFFFFFFFF):
        bad = contents[:at] + struct.pack("<I", offset) + contents[at + 4 :]
        np.testing.assert_array_equal(read(bad), A)


def test_previews_and_pyramids_are_not_pages():
    small, other = A[::4, ::4], np.ascontiguousarray(255 - A[:60])
    for pictures in (
        [A, (small, {"subfiletype": 1})],
        [(small, {"subfiletype": 1}), A],
        [small, A],
        [A, A[::2, ::2], small],
        [(small, {"subifds": 1}), (A, {"subfiletype": 0})],
        [(A, {"subifds": 2}), (A[::2, ::2], {"subfiletype": 1}), (small, {"subfiletype": 1})],
    ):
        np.testing.assert_array_equal(read(tiff(*pictures)), A)
    pages = open_tiff(tiff(A, other, A[:90]), 10**6)
    for opened, expected in zip(pages, (A, other, A[:90]), strict=True):
        np.testing.assert_array_equal(opened.image.numpy(), expected)
    assert len(open_tiff(tiff((A, {"subfiletype": 2}), (small, {"subfiletype": 2})), 10**6)) == 2
    with pytest.raises(ValueError, match=r"page 2 .*samples"):
        open_tiff(tiff(A, A.astype(np.int16)), 10**6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright(orientation):
    contents = tiff(A, extratags=[(274, 3, 1, orientation, True)], **TILES, compression="lzw")
    turned = Image.fromarray(A)
    turned.getexif()[274] = orientation
    np.testing.assert_array_equal(read(contents), np.asarray(ImageOps.exif_transpose(turned)))


def test_corrupt_directories_cause_no_other_errors():
    rng = np.random.default_rng(0)
    contents = tiff(A, A[:50], compression="zlib", description="words", resolution=(300, 300))
    with tifffile.TiffFile(io.BytesIO(contents)) as file:
        spans = [(page.offset, page.offset + 2 + 12 * len(page.tags) + 4) for page in file.pages]
    for _ in range(300):
        changed = bytearray(contents)
        start, end = spans[rng.integers(2)]
        for at in rng.integers(start, end, rng.integers(1, 4)):
            changed[at] = rng.choice([0, 1, 255, rng.integers(256)])
        with contextlib.suppress(ValueError, pyvips.Error):
            for opened in open_tiff(bytes(changed), 10**7):
                opened.image.numpy()
