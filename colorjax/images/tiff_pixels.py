"""The pixels of one directory of a TIFF, decoded right or not at all.

libvips decodes what it reads rightly, a few rows at a time. It is shown a directory of our own with
nothing in it but what describes the pixels: so any directory of the file can be read, corrupt tags
do no harm, and compressed tiles are read as strips (libvips paints a corrupt tile black and says
nothing; a corrupt strip is an error). tifffile, with imagecodecs where that is installed, and
Pillow decode the rest.
"""

import errno
import io
import math
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import pyvips
import tifffile
from PIL import Image

from colorjax.images.reasons import one_line
from colorjax.images.tiff_directory import (
    BLACK_IS_0,
    PALETTE,
    WHITE_IS_0,
    YCBCR,
    directory_alone,
    joined,
    named,
    segment_shape,
)

try:
    import imagecodecs
except ImportError:  # an extra
    imagecodecs = None  # type: ignore[assignment]

# Compressions: of libvips, and those whose corrupt data libtiff and libjpeg only warn of.
_NONE, _LZW, _OLD_JPEG, _JPEG, _PACKBITS, _WEBP = 1, 5, 6, 7, 32773, 50001
_DEFLATE, _ZSTD, _FAX = (8, 32946), (34926, 50000), (2, 3, 4)
_VIPS = (_NONE, _LZW, _JPEG, _PACKBITS, _WEBP, *_DEFLATE, *_FAX)
_WARNS = (_JPEG, _PACKBITS, *_FAX)
_FORMATS = {"uint8": "uchar", "uint16": "ushort", "float32": "float", "float64": "double"}
_CHUNK = 1 << 20
_MAPPED = 1 << 28  # bytes; larger pictures that tifffile decodes lie on the disk
_BITS = 258


def decode(page: tifffile.TiffPage, file: BinaryIO, sequential: bool) -> pyvips.Image:
    """The samples of a directory as they are stored, but palettes and JPEG's YCbCr as RGB.

    Args:
      page: the directory.
      file: the TIFF; it must stay open while the image is in use.
      sequential: whether the rows are read once, from the top.

    Returns:
      A lazy image of uchar or ushort samples over their full range, or of float or double ones.

    Raises:
      OSError: there is no space for them.
      ValueError: they are corrupt or cannot be decoded.
    """
    _check_segments(page, file.seek(0, io.SEEK_END))
    bits = page.bitspersample
    if not isinstance(bits, int):
        raise ValueError("has channels of different depths")
    kind = page.sampleformat
    if kind == 2 or (kind in (1, 4) and bits > 16):
        raise ValueError(f"has {'signed ' if kind == 2 else ''}samples of {bits} bits")
    if kind not in (1, 3, 4):
        raise ValueError("has samples that are not numbers")
    if page.compression == _OLD_JPEG:
        raise ValueError("has the old-style JPEG compression; save it with another one")
    _check_bits(page)
    _check_contents(page, file)
    plain = page.photometric in (WHITE_IS_0, BLACK_IS_0)
    alone = page.samplesperpixel == 1 and (plain or page.photometric == PALETTE)
    if (
        page.compression in _VIPS
        and kind in (1, 4)
        and (bits in (8, 16) or (bits in (1, 2, 4) and alone))
        and (page.photometric != YCBCR or page.compression == _JPEG)
        and (page.photometric != PALETTE or alone)
        # libvips takes the rows of grey planes to be half as long.
        and not (plain and page.planarconfig == 2 and page.samplesperpixel > 1)
    ):
        return _with_vips(page, file, sequential)
    if page.photometric == YCBCR and page.compression != _JPEG:
        return _with_pillow(page, file)
    return _with_tifffile(page, file)


def _check_segments(page: tifffile.TiffPage, size: int) -> None:
    """Libraries read strips that are missing, or lie outside of the file, as black."""
    number = segment_shape(page)[2]
    offsets, counts = page.dataoffsets[:number], page.databytecounts[:number]
    # tifffile hands on what a file holds.
    numbers = all(isinstance(place, int) and place > 0 for place in (*offsets, *counts))
    if not numbers or len(offsets) < number or len(counts) < number:
        raise ValueError("is corrupt (strips are missing)")
    if max(offset + count for offset, count in zip(offsets, counts, strict=True)) > size:
        raise ValueError("is truncated")


def _check_bits(page: tifffile.TiffPage) -> None:
    """Files without the bits of their samples are of one bit, or wrong."""
    if _BITS in page.tags or (page.compression in _FAX and page.samplesperpixel == 1):
        return
    needed = sum(needed for _, _, needed, _ in _segments(page))
    stored = sum(count for _, count, _, _ in _segments(page))
    if page.samplesperpixel > 1 or page.compression != _NONE or stored >= 2 * needed:
        raise ValueError("does not state the bits of its samples")


def _segments(page: tifffile.TiffPage) -> Iterator[tuple[int, int, int, int]]:
    """Where each strip or tile begins, its bytes, and those it unpacks to, at least and at most."""
    width, height, number = segment_shape(page)
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    row = (width * page.samplesperpixel // planes * page.bitspersample + 7) // 8
    if page.photometric == YCBCR and page.is_subsampled:
        row = 0  # fewer samples than pixels
    down = math.ceil(page.imagelength / height)
    last = height if page.is_tiled else page.imagelength - (down - 1) * height
    for index in range(number):
        is_last = not page.is_tiled and index % down == down - 1
        needed = row * (last if is_last else height)
        yield page.dataoffsets[index], page.databytecounts[index], needed, row * height


def _check_contents(page: tifffile.TiffPage, file: BinaryIO) -> None:
    """Libtiff reads strips that are too short, deflate without its checksums, LZW without end."""
    if page.compression not in (*_DEFLATE, _LZW, _NONE):
        return
    for offset, count, needed, most in _segments(page):
        file.seek(offset)
        if page.compression == _NONE:
            right = count >= needed
        elif page.compression in _DEFLATE:
            right = _inflates(file, count, needed)
        elif imagecodecs and 0 < needed <= 1 << 26:
            right = _lzw_length(file.read(count), 2 * most) in (needed, most)
        else:
            continue
        if not right:
            raise ValueError("is corrupt (strips are too short or have errors)")


def _inflates(file: BinaryIO, count: int, needed: int) -> bool:
    """Whether a deflated strip of `count` bytes is whole, with the right checksum if it has one."""
    stream, length = zlib.decompressobj(), 0
    while count > 0 and not stream.eof:
        data = file.read(min(count, _CHUNK))
        count -= _CHUNK
        try:
            while data and not stream.eof:
                length += len(stream.decompress(data, 4 * _CHUNK))
                data = stream.unconsumed_tail
            if count <= 0 and not stream.eof:
                length += len(stream.flush())
        except zlib.error:
            return False
    return length >= needed if stream.eof else length == needed


def _lzw_length(data: bytes, most: int) -> int:
    try:
        return len(imagecodecs.lzw_decode(data, out=bytearray(most)))
    except Exception:  # of imagecodecs' own kinds
        return -1


def _with_vips(page: tifffile.TiffPage, file: BinaryIO, sequential: bool) -> pyvips.Image:
    width, height = page.imagewidth, page.imagelength
    as_strips = page.is_tiled and (page.compression != _NONE or page.planarconfig == 2)
    across, down = 1, 1
    if as_strips:
        across = math.ceil(width / page.tilewidth)
        down = math.ceil(height / page.tilelength)
    head = directory_alone(page, across * down if as_strips else 0)
    source = joined(head, file)
    image = pyvips.Image.new_from_source(
        source,
        "",
        access="sequential" if sequential else "random",
        fail_on="warning" if page.compression in _WARNS else "error",
        # Strips of more than 40 MiB.
        unlimited=True,
    )
    if as_strips:
        image = image.grid(page.tilelength, across, down)
        if sequential:  # whole rows of tiles, so that these are read in their order
            image = image.sequential(tile_height=page.tilelength)
        image = image.crop(0, 0, width, height)
    return image


def _with_tifffile(page: tifffile.TiffPage, file: BinaryIO) -> pyvips.Image:
    if page.nbytes > _MAPPED and shutil.disk_usage(tempfile.gettempdir()).free < page.nbytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), tempfile.gettempdir())
    try:
        array = page.asarray(out="memmap" if page.nbytes > _MAPPED else None, squeeze=False)
    except Exception as error:  # a library's, of untrusted bytes
        missing = isinstance(error, ImportError) or "imagecodecs" in str(error)
        if imagecodecs or not missing:
            raise ValueError(f"is corrupt or not supported ({one_line(error)})") from error
        if page.bitspersample == 8 and page.compression in _ZSTD:
            return _with_pillow(page, file)
        compression = f"compression ({named(page.compression)}) needs"
        part = "samples need" if page.compression == _NONE else compression
        raise ValueError(f"its {part} imagecodecs: pip install 'colorjax[tiff]'") from error
    if array.dtype.kind == "f" and array.dtype.itemsize == 2:
        array = array.astype(np.float32)
    array = array.astype(np.uint8) if array.dtype == bool else array
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    name = array.dtype.name
    if name not in _FORMATS or array.ndim != 5:
        raise ValueError(f"has samples that are not supported ({name})")
    # [planes, 1, height, width, channels]
    planes = [
        pyvips.Image.new_from_memory(
            np.ascontiguousarray(plane[0]).data,
            plane.shape[2],
            plane.shape[1],
            plane.shape[3],
            _FORMATS[name],
        )
        for plane in array
    ]
    image = planes[0].bandjoin(planes[1:]) if len(planes) > 1 else planes[0]
    bits = page.bitspersample
    if array.dtype.kind == "f":
        _check_floats(array)
    elif page.photometric != PALETTE and bits not in (8, 16):
        most = 255 if bits < 8 else 65535
        image = image.linear(most / (2**bits - 1), 0.5).cast("uchar" if bits < 8 else "ushort")
    elif page.photometric == PALETTE:
        image = _coloured(image, np.array(page.colormap))
    return image


def _check_floats(array: np.ndarray) -> None:
    """Only samples between 0 and 1 say what they mean."""
    for plane in array:
        for start in range(0, plane.shape[1], 256):
            rows = plane[:, start : start + 256]
            if not (rows.min() >= 0 and rows.max() <= 1):  # NaN is neither
                raise ValueError("has float samples that are not between 0 and 1")


def _coloured(image: pyvips.Image, colours: np.ndarray) -> pyvips.Image:
    """Palette indices, by a [3, N] uint16 colour map, as RGB."""
    table = (colours.T / (257 if colours.max() > 255 else 1)).round().astype(np.uint8)
    return image.maplut(pyvips.Image.new_from_array(np.ascontiguousarray(table[None])))


def _with_pillow(page: tifffile.TiffPage, file: BinaryIO) -> pyvips.Image:
    """8-bit samples that libtiff decodes for Pillow."""
    head = directory_alone(page, 0)
    file.seek(0)
    contents = io.BytesIO(head + file.read())
    try:
        with Image.open(contents, formats=["TIFF"]) as image:
            found = image.convert("RGB") if page.photometric in (YCBCR, PALETTE) else image
            return pyvips.Image.new_from_array(np.asarray(found))
    except Exception as error:  # a library's, of untrusted bytes
        raise ValueError(f"is corrupt or not supported ({one_line(error)})") from error
