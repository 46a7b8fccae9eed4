"""The pixels of one directory of a TIFF, decoded right or not at all.

libvips decodes what it reads rightly, a few rows at a time. It is shown a directory of our own with
nothing in it but what describes the pixels: so any directory of the file can be read, corrupt tags
do no harm, and compressed tiles are read as strips (libvips paints a corrupt tile black and says
nothing; a corrupt strip is an error). tifffile, with imagecodecs where that is installed, and
Pillow decode the rest.
"""

import io
import math
import struct
import zlib
from typing import Any, BinaryIO

import numpy as np
import pyvips
import tifffile
from PIL import Image

try:
    import imagecodecs
except ImportError:  # an extra
    imagecodecs = None

# Compressions: of libvips, and those whose corrupt data libtiff and libjpeg only warn of.
_NONE, _LZW, _OLD_JPEG, _JPEG, _PACKBITS, _WEBP = 1, 5, 6, 7, 32773, 50001
_DEFLATE, _FAX = (8, 32946), (2, 3, 4)
_VIPS = (_NONE, _LZW, _JPEG, _PACKBITS, _WEBP, *_DEFLATE, *_FAX)
_WARNS = (_JPEG, _PACKBITS)
# Photometric interpretations with the number of their colour channels.
WHITE_IS_0, BLACK_IS_0, RGB, PALETTE, CMYK, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9
COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3, 9: 3}
# Tags that are copied as they are: bit order, fax options, predictor, colour map, JPEG tables, YCbCr.
_COPIED = (266, 292, 293, 317, 320, 347, 529, 530, 531, 532)
_SHORT, _LONG8 = 3, 16
_FORMATS = {"uint8": "uchar", "uint16": "ushort", "float32": "float", "float64": "double"}
_CHUNK = 1 << 20


def raw_value(page: tifffile.TiffPage, tag: int) -> bytes:
    """The bytes of a tag's value as they stand in the file; empty without such a tag."""
    found: Any = page.tags.get(tag)
    if found is None:
        return b""
    handle = page.parent.filehandle
    handle.seek(found.valueoffset)
    return bytes(handle.read(found.valuebytecount))


def decode(page: tifffile.TiffPage, file: BinaryIO, size: int, sequential: bool) -> pyvips.Image:
    """The samples of a directory as they are stored, but palettes and JPEG's YCbCr as RGB.

    Args:
      page: the directory.
      file: the TIFF; it must stay open while the image is in use.
      size: the length of the file, in bytes.
      sequential: whether the rows are read once, from the top.

    Returns:
      A lazy image of uchar or ushort samples over their full range, or of float or double ones.

    Raises:
      ValueError: they are corrupt or cannot be decoded.
    """
    _check_segments(page, size)
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
    plain = page.photometric in (WHITE_IS_0, BLACK_IS_0)
    alone = page.samplesperpixel == 1 and (plain or page.photometric == PALETTE)
    if (
        page.compression in _VIPS
        and kind in (1, 4)
        and (bits in (8, 16) or (bits in (1, 2, 4) and alone))
        and (page.photometric != YCBCR or page.compression == _JPEG)
        and (page.photometric != PALETTE or alone)
    ):
        _check_sums(page, file)
        return _with_vips(page, file, sequential)
    if page.photometric == YCBCR and page.compression != _JPEG:
        _check_sums(page, file)
        return _with_pillow(page, file)
    return _with_tifffile(page, file)


def _segment_shape(page: tifffile.TiffPage) -> tuple[int, int, int]:
    """The width and height of a strip or tile, and their number."""
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    if page.is_tiled:
        width, height = page.tilewidth, page.tilelength
    else:
        width, height = page.imagewidth, min(page.rowsperstrip, page.imagelength)
    if not 0 < width < 1 << 31 or not 0 < height < 1 << 31:
        raise ValueError("is corrupt (its strips have no size)")
    across, down = math.ceil(page.imagewidth / width), math.ceil(page.imagelength / height)
    return width, height, planes * across * down


def _check_segments(page: tifffile.TiffPage, size: int) -> None:
    """Libraries read strips that are missing, or lie outside of the file, as black."""
    number = _segment_shape(page)[2]
    offsets, counts = page.dataoffsets[:number], page.databytecounts[:number]
    if len(offsets) < number or len(counts) < number or not all(counts) or not all(offsets):
        raise ValueError("is corrupt (strips are missing)")
    if max(offset + count for offset, count in zip(offsets, counts, strict=True)) > size:
        raise ValueError("is truncated")


def _check_sums(page: tifffile.TiffPage, file: BinaryIO) -> None:
    """Libtiff reads deflate without its checksums, and LZW without its end."""
    if page.compression not in (*_DEFLATE, _LZW, _PACKBITS, _NONE):
        return
    width, height, number = _segment_shape(page)
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    samples = page.samplesperpixel // planes
    row = (width * samples * page.bitspersample + 7) // 8
    if page.photometric == YCBCR and page.is_subsampled:
        row = 0  # fewer samples than pixels
    down = math.ceil(page.imagelength / height)
    last = height if page.is_tiled else page.imagelength - (down - 1) * height
    segments = zip(page.dataoffsets[:number], page.databytecounts[:number], strict=True)
    for index, (offset, count) in enumerate(segments):
        is_last = not page.is_tiled and index % down == down - 1
        needed = row * (last if is_last else height)
        file.seek(offset)
        if page.compression == _NONE:
            right = count >= needed
        elif page.compression in _DEFLATE:
            right = _inflated(file, count) >= needed
        elif page.compression == _LZW and imagecodecs and row and needed <= 1 << 26:
            right = _lzw_length(file.read(count), 2 * row * height) in (needed, row * height)
        else:
            continue
        if not right:
            raise ValueError("is corrupt (strips are too short or have errors)")


def _inflated(file: BinaryIO, count: int) -> int:
    """The length of a deflated strip; -1 if its checksum is wrong."""
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
            return -1
    return length


def _lzw_length(data: bytes, most: int) -> int:
    try:
        return len(imagecodecs.lzw_decode(data, out=bytearray(most)))
    except Exception:  # of imagecodecs' own kinds
        return -1


def _with_vips(page: tifffile.TiffPage, file: BinaryIO, sequential: bool) -> pyvips.Image:
    width, height = page.imagewidth, page.imagelength
    as_strips = page.is_tiled and page.compression != _NONE
    across, down = 1, 1
    if as_strips:
        across = math.ceil(width / page.tilewidth)
        down = math.ceil(height / page.tilelength)
    head = _directory(page, across * down if as_strips else 0)
    source = _joined(head, file)
    image = pyvips.Image.new_from_source(
        source,
        "",
        access="sequential" if sequential and not as_strips else "random",
        fail_on="warning" if page.compression in _WARNS else "error",
        # Strips of more than 40 MiB.
        unlimited=True,
    )
    if as_strips:
        image = image.grid(page.tilelength, across, down).crop(0, 0, width, height)
    return image


def _directory(page: tifffile.TiffPage, tiles: int) -> bytes:
    """The start of a BigTIFF: a directory for the segments of a file that follows it.

    Args:
      page: the directory in that file.
      tiles: their number, if they are to be read as the strips of an image that is as wide as one.
    """
    order = page.parent.byteorder
    width, height, number = _segment_shape(page)
    samples, photometric = page.samplesperpixel, page.photometric
    if photometric in (WHITE_IS_0, CIELAB, ICCLAB):
        photometric = BLACK_IS_0 if photometric == WHITE_IS_0 else RGB
    extra = samples - (3 if photometric in (RGB, YCBCR) else COLOURS[photometric])
    size = (width, height * tiles) if tiles else (page.imagewidth, page.imagelength)
    numbers: dict[int, list[int]] = {
        256: [size[0]],
        257: [size[1]],
        258: [page.bitspersample] * samples,
        259: [page.compression],
        262: [photometric],
        277: [samples],
        284: [page.planarconfig or 1],
        339: [1] * samples,
    }
    if extra > 0:
        numbers[338] = [0] * extra
    if page.is_tiled and not tiles:
        numbers |= {322: [width], 323: [height]}
        offsets, counts = 324, 325
    else:
        numbers |= {278: [height]}
        offsets, counts = 273, 279
    values = {
        tag: (_LONG8, len(value), struct.pack(f"{order}{len(value)}Q", *value))
        for tag, value in numbers.items()
        if tag not in (258, 338, 339)
    }
    for tag in (258, 338, 339):
        if tag in numbers:
            value = numbers[tag]
            values[tag] = (_SHORT, len(value), struct.pack(f"{order}{len(value)}H", *value))
    for tag in _COPIED:
        if found := raw_value(page, tag):
            entry: Any = page.tags[tag]
            values[tag] = (int(entry.dtype), entry.count, found)
    values[counts] = (
        _LONG8,
        number,
        struct.pack(f"{order}{number}Q", *page.databytecounts[:number]),
    )
    values[offsets] = (_LONG8, number, bytes(8 * number))
    long = [tag for tag, value in values.items() if len(value[2]) > 8]
    behind = 16 + 8 + 20 * len(values) + 8
    length = behind + sum(-(-len(values[tag][2]) // 8) * 8 for tag in long)
    moved = [offset + length for offset in page.dataoffsets[:number]]
    values[offsets] = (_LONG8, number, struct.pack(f"{order}{number}Q", *moved))
    table, data = b"", b""
    for tag, (kind, count, value) in sorted(values.items()):
        inline = value
        if len(value) > 8:
            inline = struct.pack(order + "Q", behind + len(data))
            data += value + bytes(-len(value) % 8)
        table += struct.pack(order + "HHQ", tag, kind, count) + inline.ljust(8, b"\0")
    mark = b"II" if order == "<" else b"MM"
    header = mark + struct.pack(order + "HHHQ", 43, 8, 0, 16)
    return header + struct.pack(order + "Q", len(values)) + table + bytes(8) + data


def _joined(head: bytes, file: BinaryIO) -> pyvips.SourceCustom:
    """What libvips reads: `head`, and the file behind it."""
    position = 0

    def read(size: int) -> bytes:
        nonlocal position
        if position < len(head):
            data = head[position : position + size]
        else:
            file.seek(position - len(head))
            data = file.read(size)
        position += len(data)
        return data

    def seek(offset: int, whence: int) -> int:
        nonlocal position
        if whence == io.SEEK_END:
            position = len(head) + file.seek(0, io.SEEK_END) + offset
        else:
            position = offset + (position if whence == io.SEEK_CUR else 0)
        return position

    source = pyvips.SourceCustom()
    source.on_read(read)
    source.on_seek(seek)
    return source


def _with_tifffile(page: tifffile.TiffPage, file: BinaryIO) -> pyvips.Image:
    try:
        array = page.asarray(out="memmap" if page.nbytes > 1 << 28 else None, squeeze=False)
    except Exception as error:  # a library's, of untrusted bytes
        if "imagecodecs" not in str(error) or imagecodecs:
            raise ValueError(f"is corrupt or not supported ({_line(error)})") from error
        if page.bitspersample == 8 and page.compression in (50000, 34926):  # ZSTD
            return _with_pillow(page, file)
        name = getattr(page.compression, "name", page.compression)
        needed = "its samples need" if page.compression == _NONE else f"its compression ({name}) needs"
        raise ValueError(f"{needed} imagecodecs: pip install 'colorjax[tiff]'") from error
    if array.dtype.kind == "f" and array.dtype.itemsize == 2:
        array = array.astype(np.float32)
    array = array.astype(np.uint8) if array.dtype == bool else array
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    name = array.dtype.name
    if name not in _FORMATS or array.shape[1] != 1:
        raise ValueError(f"has samples that are not supported ({name})")
    # [planes, 1, height, width, channels]
    planes = [
        pyvips.Image.new_from_memory(
            np.ascontiguousarray(plane[0]).data, plane.shape[2], plane.shape[1], plane.shape[3],
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
    file.seek(0)
    contents = io.BytesIO(_directory(page, 0) + file.read())
    try:
        with Image.open(contents, formats=["TIFF"]) as image:
            found = image.convert("RGB") if page.photometric in (YCBCR, PALETTE) else image
            return pyvips.Image.new_from_array(np.asarray(found))
    except Exception as error:  # a library's, of untrusted bytes
        raise ValueError(f"is corrupt or not supported ({_line(error)})") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
