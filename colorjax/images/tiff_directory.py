"""One directory of a TIFF, as a TIFF of its own with nothing in it but what describes the pixels.

So libraries can read any directory of a file, and corrupt tags do no harm.
"""

import io
import math
import struct
from typing import Any, BinaryIO

import pyvips
import tifffile

# Photometric interpretations with the number of their colour channels.
WHITE_IS_0, BLACK_IS_0, RGB, PALETTE, CMYK, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9
COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3, 9: 3}
# Tags copied as they are: bit order, fax options, predictor, colour map, JPEG tables, YCbCr.
_COPIED = (266, 292, 293, 317, 320, 347, 529, 530, 531, 532)
_SHORT, _LONG8 = 3, 16


def named(value: Any) -> str:
    """A constant of tifffile's by its name alone."""
    return str(getattr(value, "name", value))


def raw_value(page: tifffile.TiffPage, tag: int) -> bytes:
    """The bytes of a tag's value as they stand in the file; empty without such a tag."""
    found: Any = page.tags.get(tag)
    if found is None:
        return b""
    handle = page.parent.filehandle
    handle.seek(found.valueoffset)
    return bytes(handle.read(found.valuebytecount))


def segment_shape(page: tifffile.TiffPage) -> tuple[int, int, int]:
    """The width and height of a strip or tile, and their number."""
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    if page.is_tiled:
        width, height = page.tilewidth, page.tilelength
    else:
        width, height = page.imagewidth, min(page.rowsperstrip, page.imagelength)
    if not 0 < width < 1 << 31 or not 0 < height < 1 << 31:
        raise ValueError("is corrupt (its strips have no size)")
    if page.is_tiled and width * height > 4 * page.imagewidth * page.imagelength + (1 << 22):
        raise ValueError("is corrupt (its tiles are larger than the picture)")
    across, down = math.ceil(page.imagewidth / width), math.ceil(page.imagelength / height)
    return width, height, planes * across * down


def directory_alone(page: tifffile.TiffPage, tiles: int) -> bytes:
    """The start of a BigTIFF: a directory for the segments of a file that follows it.

    Args:
      page: the directory in that file.
      tiles: their number, if they are to be read as the strips of an image that is as wide as one.
    """
    order = page.parent.byteorder
    width, height, number = segment_shape(page)
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
    for tag, (kind, count, raw) in sorted(values.items()):
        inline = raw
        if len(raw) > 8:
            inline = struct.pack(order + "Q", behind + len(data))
            data += raw + bytes(-len(raw) % 8)
        table += struct.pack(order + "HHQ", tag, kind, count) + inline.ljust(8, b"\0")
    mark = b"II" if order == "<" else b"MM"
    header = mark + struct.pack(order + "HHHQ", 43, 8, 0, 16)
    return header + struct.pack(order + "Q", len(values)) + table + bytes(8) + data


def joined(head: bytes, file: BinaryIO) -> pyvips.SourceCustom:
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
