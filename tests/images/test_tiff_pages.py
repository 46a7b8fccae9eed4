"""Which pictures of a TIFF are opened, and what belongs to them."""

import contextlib
import io
import os
import struct
import tempfile
import tracemalloc
import weakref
from unittest import mock

import numpy as np
import pytest
import pyvips
import tifffile
from PIL import Image, ImageOps
from skimage import data
from tiff_files import DEEP, TILES, A, read, tiff

from colorjax.images import exif, photo_reader
from colorjax.images.tiff import open_tiff


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
        list(open_tiff(tiff(A), 70 * 96 - 1))


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
    read(tiff((A, {"subfiletype": 2}), (small, {"subfiletype": 2})), pages=2)
    for half in (A[::2, ::-2], 255 - A[::2, ::2], data.coffee()[:96:2, :70:2]):
        read(tiff(A, half), pages=2)  # another photograph of the same shape
    with pytest.raises(ValueError, match=r"page 2 .*samples"):
        list(open_tiff(tiff(A, A.astype(np.int16)), 10**6))


@pytest.mark.parametrize("order", ["<", ">"])
def test_large_tags_cost_nothing_and_metadata_are_read_once(order, monkeypatch):
    layers, iptc = bytes(20_000_000), b"\x1c\x02\x78\x00\x04text"
    resources = b"8BIM\4\4\0\0\0\0\0\x09" + iptc + b"\0" + b"8BIM\x04\x0a\0\0\0\0\0\1\1\0"
    tags = [(37724, 7, len(layers), layers, True), (34377, 1, len(resources), resources, True)]
    contents = tiff(A, file={"byteorder": order}, extratags=tags)
    parse = mock.Mock(wraps=exif.parse)
    monkeypatch.setattr(exif, "parse", parse)
    tracemalloc.start()
    (opened,) = open_tiff(contents, 10**6)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * len(layers)  # a number for each byte would take more
    assert opened.photo.notes == ("its layers are not kept",)
    assert (opened.photo.iptc, opened.photo.resources) == (iptc, resources[-14:])
    parse.assert_called_once()


def test_corrupt_exif_is_named_and_texts_in_utf8_stay():
    within = {
        0x920A: exif.Entry(5, 1, bytes(8)),
        0xA432: exif.Entry(5, 4, bytes(32)),
        0xA433: exif.Entry(129, 6, "Zeiß\0".encode()),
    }
    start = len(tiff(A, extratags=[(34664, 4, 1, 0, True)]))
    contents = tiff(A, extratags=[(34664, 4, 1, start, True)])  # tifffile writes no EXIF
    contents = contents.replace(struct.pack("<HH", 34664, 4), struct.pack("<HH", exif.EXIF, 4))
    contents += exif.serialise_at(within, start)
    for tag in (0x920A, 0xA432):  # counts that point behind the end
        at = contents.index(struct.pack("<HH", tag, 5))
        contents = contents[: at + 4] + struct.pack("<I", 10**6) + contents[at + 8 :]
    (opened,) = open_tiff(contents, 10**6)
    assert opened.photo.notes == ("corrupt EXIF tags are not kept (0x920A, 0xA432)",)
    kept = exif.parse(opened.photo.exif)[exif.EXIF].value
    assert kept == {0xA433: within[0xA433]}


def test_pages_are_decoded_one_by_one(tmp_path, monkeypatch):
    decoded = []
    pixels = tifffile.TiffPage.asarray

    def asarray(page, **options):
        assert all(array() is None for array in decoded)
        array = pixels(page, **options)
        decoded.append(weakref.ref(array))
        return array

    monkeypatch.setattr(tifffile.TiffPage, "asarray", asarray)
    floats = [(A / 255).astype("f4"), (A[:50] / 255).astype("f4"), (A[:40] / 255).astype("f4")]
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(*floats))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", "/nowhere")
    pages = photo_reader._read(path, tmp_path / "0", None)
    assert [page.shape for page in pages] == [page.shape for page in floats]
    assert len(decoded) == 3
    # What does not fit into memory goes where the pixels go.
    assert tempfile.tempdir == os.environ["TMPDIR"] == str(tmp_path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright(orientation):
    contents = tiff(A, extratags=[(274, 3, 1, orientation, True)], **TILES, compression="lzw")
    turned = Image.fromarray(A)
    turned.getexif()[274] = orientation
    np.testing.assert_array_equal(read(contents), np.asarray(ImageOps.exif_transpose(turned)))


def test_with_corrupt_directories_a_picture_is_right_or_refused():
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
                found = opened.image.numpy()
                rows = A[: len(found)]  # their number and "white is 0" are not to be known
                assert any(np.array_equal(found, right) for right in (rows, 255 - rows))
