"""Photographs with faults: valid files are made, then their structures are changed by a seed.

The same seed gives the same file, as long as Pillow and tifffile encode alike.
"""

import random
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

from profiles import adobe, srgb
from whole_files import bmp, exif_block, jpg, png, tif, webp

# Numbers at which programs fail.
EDGES = (0, 1, 2, 3, 4, 7, 8, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)


class Case(NamedTuple):
    """A file.

    Attributes:
      name: with the seed and what was done.
      data: its contents.
      has_profile: whether decoders that apply profiles may show other tones.
    """

    name: str
    data: bytes
    has_profile: bool


def case(seed: int) -> Case:
    """The file of a seed. Nothing in the picture is black before it is changed."""
    rng = random.Random(seed)
    done: list[str] = []
    profile = rng.choice([None, None, srgb(), adobe()[0]])
    if profile and rng.random() < 0.5:
        profile = _change(rng, profile, {"icc": _change_profile, "icc-bytes": _change_bytes}, done)
    exif = exif_block(rng)
    if rng.random() < 0.5:
        exif = _change(rng, exif, {"exif": _change_tiff, "exif-bytes": _change_bytes}, done)
    format, structure = rng.choice(FORMATS)
    data = format(rng, exif, profile)
    for _ in range(rng.choice([0, 1, 1, 2]) if done else rng.choice([1, 1, 2])):
        data = _change(rng, data, {"structure": structure, "bytes": _change_bytes}, done)
    name = f"{seed:05}-{'-'.join(done)}.{format.__name__}"
    return Case(name, data, profile is not None)


Change = Callable[[random.Random, bytes], bytes]


def _change(rng: random.Random, data: bytes, changes: dict[str, Change], done: list[str]) -> bytes:
    kind = rng.choice([*changes, next(iter(changes))])  # structures twice as often as bytes
    done.append(kind)
    return changes[kind](rng, data)


def _change_bytes(rng: random.Random, data: bytes) -> bytes:
    """Other bytes, fewer, more, zeros, or the file cut."""
    out = bytearray(data)
    kind = rng.choice(["flip", "flip", "set", "delete", "insert", "zero", "cut"])
    start = rng.randrange(len(out))
    length = rng.choice([1, 2, 4, 50])
    if kind in ("flip", "set"):
        for _ in range(rng.choice([1, 3, 20])):
            at = rng.randrange(len(out))
            out[at] = out[at] ^ 1 << rng.randrange(8) if kind == "flip" else rng.randrange(256)
    elif kind == "delete":
        del out[start : start + length]
    elif kind == "insert":
        out[start:start] = rng.randbytes(length)
    elif kind == "zero":
        out[start : start + length] = bytes(len(out[start : start + length]))
    else:
        del out[start + 1 :]
    return bytes(out)


def _change_tiff(rng: random.Random, data: bytes) -> bytes:
    """Another tag, type, count, value or offset in a directory, another next one, or byte order."""
    start = 6 if data.startswith(b"Exif\0\0") else 0
    out = bytearray(data)
    order = "<" if out[start : start + 2] == b"II" else ">"
    entries, nexts = _tiff_entries(bytes(out[start:]), order)
    if not entries or rng.random() < 0.05:
        at = start + rng.choice([0, 2, 4])
        struct.pack_into(order + "H", out, at, rng.choice(EDGES) % 65536)
        return bytes(out)
    if rng.random() < 0.1:
        at = start + rng.choice(nexts)
        struct.pack_into(order + "I", out, at, rng.choice([*EDGES, len(data), nexts[0] % 64]))
        return bytes(out)
    for _ in range(rng.choice([1, 1, 3])):
        at = start + rng.choice(entries)
        field = rng.choice(["tag", "type", "count", "value", "value"])
        if field == "tag":
            other = struct.unpack_from(order + "H", out, start + rng.choice(entries))[0]
            struct.pack_into(order + "H", out, at, rng.choice([other, rng.randrange(65536)]))
        elif field == "type":
            struct.pack_into(order + "H", out, at + 2, rng.choice([0, *range(1, 14), 99, 65535]))
        else:
            value = rng.choice([*EDGES, rng.randrange(len(data)), len(data) - 2])
            struct.pack_into(order + "I", out, at + (4 if field == "count" else 8), value)
    return bytes(out)


def _tiff_entries(data: bytes, order: str) -> tuple[list[int], list[int]]:
    """Where the entries of all directories are, and the offsets of the next ones."""
    entries: list[int] = []
    nexts: list[int] = []
    if len(data) < 8 or struct.unpack_from(order + "H", data, 2)[0] != 42:
        return entries, nexts
    waiting, seen = [struct.unpack_from(order + "I", data, 4)[0]], set()
    while waiting:
        offset = waiting.pop()
        if not offset or offset in seen or offset + 2 > len(data):
            continue
        seen.add(offset)
        (count,) = struct.unpack_from(order + "H", data, offset)
        if offset + 6 + 12 * count > len(data):
            continue
        found = [offset + 2 + 12 * i for i in range(count)]
        entries += found
        nexts.append(offset + 2 + 12 * count)
        waiting.append(struct.unpack_from(order + "I", data, nexts[-1])[0])
        for at in found:
            tag, value = struct.unpack_from(order + "H6xI", data, at)
            if tag in (0x8769, 0x8825, 330):
                waiting.append(value)
    return entries, nexts


def _rearranged(rng: random.Random, parts: list) -> list:
    """Two parts exchanged, one twice, or one missing."""
    out = list(parts)
    i, j = rng.randrange(len(out)), rng.randrange(len(out))
    kind = rng.choice(["exchange", "repeat", "remove"])
    if kind == "exchange":
        out[i], out[j] = out[j], out[i]
    elif kind == "repeat":
        out.insert(i, out[j])
    else:
        del out[i]
    return out


def _change_png(rng: random.Random, data: bytes) -> bytes:
    """Chunks (length, type, contents, checksum) changed, moved, repeated or removed."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    index, kind = rng.randrange(len(chunks) or 1), rng.choice(["move", "type", "data", "length"])
    if not chunks or not chunks[index][0]:
        return _change_bytes(rng, data)
    fixed, wrong = rng.random() < 0.7, 0
    name, contents = chunks[index]
    if kind == "move":
        chunks = _rearranged(rng, chunks)
    elif kind == "type":
        name = rng.choice(
            [b"eXIf", b"iCCP", b"tRNS", b"gAMA", b"sRGB", b"acTL", b"zzZz", b"\0\0\0\0"]
        )
        chunks[index] = name, contents
    elif kind == "data":
        at = rng.randrange(len(contents) or 1)
        if name == b"IHDR":
            width = bytearray(contents)
            field = rng.choice([">I0", ">I4", ">B8", ">B9", ">B10", ">B11", ">B12"])
            value = rng.choice(EDGES) % (256 if field[1] == "B" else 2**32)
            struct.pack_into(field[:2], width, int(field[2:]), value)
            chunks[index] = name, bytes(width)
        elif contents:
            chunks[index] = name, _change_bytes(rng, contents)
    else:
        wrong = rng.choice([1, -1, 2**31 - 1, 1000])
    out = data[:8]
    for i, (name, contents) in enumerate(chunks):
        length = len(contents) + (wrong if i == index else 0)
        crc = zlib.crc32(name + contents) ^ (0 if fixed or i != index else 1)
        out += struct.pack(">I", length % 2**32) + name + contents + struct.pack(">I", crc)
    return out


def _change_jpeg(rng: random.Random, data: bytes) -> bytes:
    """Segments (length, contents, order) changed, moved, repeated, removed; or the scan cut."""
    segments, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, at + 2)
        segments.append(data[at : at + 2 + length])
        at += 2 + length
    scan = data[at:]
    if not segments:
        return _change_bytes(rng, data)
    tables = [i for i, s in enumerate(segments) if s[1:2] and 0xC0 <= s[1] <= 0xDD]
    index = rng.choice([rng.randrange(len(segments)), rng.choice(tables or [0])])
    segment = bytearray(segments[index])
    kind = rng.choice(["move", "length", "data", "data", "size", "scan"])
    if kind == "move":
        segments = _rearranged(rng, segments)
    elif kind == "scan" and len(scan) > 20:
        scan = rng.choice([scan[: rng.randrange(len(scan))], scan[:-2], _change_bytes(rng, scan)])
    elif kind == "length" and len(segment) >= 4:
        struct.pack_into(">H", segment, 2, rng.choice([*EDGES, len(segment), 5]) % 65536)
        segments[index] = bytes(segment)
    elif kind == "size" and segment[1] in (0xC0, 0xC2) and len(segment) > 12:
        field = rng.choice([">H5", ">H7", ">B4", ">B9", ">B11"])  # height, width, depth, channels
        value = rng.choice([*EDGES, 39, 47, 100]) % (256 if field[1] == "B" else 65536)
        struct.pack_into(field[:2], segment, int(field[2:]), value)
        segments[index] = bytes(segment)
    elif len(segment) > 4:
        segments[index] = bytes(segment[:4]) + _change_bytes(rng, bytes(segment[4:]))
    return data[:2] + b"".join(segments) + scan


def _change_webp(rng: random.Random, data: bytes) -> bytes:
    """Chunks changed, moved, repeated, removed or with another length."""
    chunks, at = [], 12
    while at + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, at + 4)
        chunks.append((data[at : at + 4], data[at + 8 : at + 8 + length], length))
        at += 8 + length + length % 2
    if not chunks:
        return _change_bytes(rng, data)
    index = rng.randrange(len(chunks))
    name, contents, length = chunks[index]
    kind = rng.choice(["move", "length", "data"])
    if kind == "move":
        chunks = _rearranged(rng, chunks)
    elif kind == "length":
        chunks[index] = name, contents, rng.choice([*EDGES, length + 1])
    elif contents:
        contents = _change_bytes(rng, contents)
        chunks[index] = name, contents, len(contents)
    parts = (n + struct.pack("<I", k) + c + b"\0" * (len(c) % 2) for n, c, k in chunks)
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _change_profile(rng: random.Random, data: bytes) -> bytes:
    """A profile that is cut, or whose header or table of tags is wrong."""
    out = bytearray(data)
    kind = rng.choice(["cut", "table", "table", "header", "remove"])
    (count,) = struct.unpack_from(">I", out, 128)
    entry = 132 + 12 * rng.randrange(count)
    if kind == "cut":
        return bytes(out[: rng.randrange(1, len(out))])
    if kind == "table":
        struct.pack_into(">I", out, entry + rng.choice([0, 4, 8]), rng.choice([*EDGES, 200]))
    elif kind == "remove":
        out[entry : entry + 4] = b"none"
    else:
        at = rng.choice([0, 8, 12, 16, 20, 36, 128])
        out[at : at + 4] = rng.choice([bytes(4), b"GRAY", b"CMYK", b"prtr", b"\xff" * 4, b"Lab "])
    return bytes(out)


FORMATS = [
    (jpg, _change_jpeg),
    (jpg, _change_jpeg),
    (png, _change_png),
    (png, _change_png),
    (webp, _change_webp),
    (tif, _change_tiff),
    (tif, _change_tiff),
    (bmp, _change_bytes),
]
