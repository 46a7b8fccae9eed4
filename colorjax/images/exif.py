"""EXIF blocks as raw bytes: read, turned upright in place, and written from directories.

A block is a TIFF header with its directories (TIFF 6.0, section 2; EXIF 3.0, section 4.6). No value
is interpreted, so that every text and every maker's note comes back byte for byte.
"""

import struct
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

ORIENTATION = 0x0112
EXIF, GPS, INTEROPERABILITY = 0x8769, 0x8825, 0xA005
# The tags whose values are directories, by the tag of the directory they stand in (0: the first).
_NESTED = {0: (EXIF, GPS), EXIF: (INTEROPERABILITY,)}
# Tags that describe a photograph, and not how its pixels are stored: name, description, make,
# model, page name, software, date, artist, computer, rating, copyright, and those of Windows.
_WINDOWS = range(40091, 40096)
TEXTS = (269, 270, 271, 272, 285, 305, 306, 315, 316, 18246, 18249, 33432, *_WINDOWS)
DESCRIBING = (*TEXTS, EXIF, GPS)
_THUMBNAIL, _THUMBNAIL_LENGTH = 0x0201, 0x0202
# Bytes a value of each type has, and the numbers in it whose bytes have an order.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 129: 1}
_ORDERED = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4}
_LONG = 4
TEXT, UTF8 = 2, 129  # the second came with EXIF 3.0


class Entry(NamedTuple):
    """A value as it is stored.

    Attributes:
      type: of TIFF, 1 to 13, or EXIF's UTF8.
      count: number of values of this type.
      value: their bytes, numbers little-endian; or a directory.
    """

    type: int
    count: int  # type: ignore[assignment]  # a tuple has a method of this name
    value: "bytes | Directory"


Directory: TypeAlias = dict[int, Entry]


class _Place(NamedTuple):
    """Where an entry and its value stand in a block."""

    tag: int
    type: int
    number: int
    entry: int
    start: int
    end: int


def parse(block: bytes, only: Collection[int] = (), skipped: list[int] | None = None) -> Directory:
    """The first directory of an EXIF block, with the directories in it. Skips corrupt entries.

    Args:
      block: the bytes.
      only: the tags of the first directory that are asked for; none: all.
      skipped: the tags of corrupt entries are added to it.

    Raises:
      ValueError: `block` has no TIFF header or no directory.
    """
    order, start = _header(block)
    return _directory(block, order, start, 0, only, [] if skipped is None else skipped)


def not_kept(tags: Sequence[int]) -> tuple[str, ...]:
    """A remark on the tags of corrupt entries, if there are any."""
    if not tags:
        return ()
    names = ", ".join(f"0x{tag:04X}" for tag in sorted(set(tags))[:10])
    return (f"corrupt EXIF tags are not kept ({names}{', …' if len(set(tags)) > 10 else ''})",)


def serialise(directory: Directory) -> bytes:
    """A little-endian EXIF block with one directory and those in it."""
    return b"II*\0\x08\0\0\0" + serialise_at(directory, 8)


def serialise_at(directory: Directory, start: int) -> bytes:
    """A directory that stands at offset `start`, and behind it what its entries do not hold."""
    table = struct.pack("<H", len(directory))
    behind = start + 2 + 12 * len(directory) + 4
    values = b""
    for tag, (type, count, value) in sorted(directory.items()):
        if not isinstance(value, bytes):
            contents = serialise_at(value, behind + len(values))
            inline = struct.pack("<I", behind + len(values))
        elif len(value) <= 4:
            contents, inline = b"", value.ljust(4, b"\0")
        else:
            contents, inline = value, struct.pack("<I", behind + len(values))
        table += struct.pack("<HHI", tag, type, count) + inline
        values += contents + bytes(len(contents) % 2)
    return table + bytes(4) + values


def orientation(block: bytes) -> int:
    """1 to 8 as in EXIF; 0 if there is none, or another number.

    Raises:
      ValueError: as in `parse`.
    """
    entry = parse(block, (ORIENTATION,)).get(ORIENTATION)
    value = entry.value if entry is not None else b""
    number = int.from_bytes(value, "little") if isinstance(value, bytes) else 0
    return number if 1 <= number <= 8 else 0


def upright(block: bytes) -> bytes:
    """The block with orientation 1 and without a thumbnail; all else stays where it is.

    Raises:
      ValueError: as in `parse`.
    """
    order, start = _header(block)
    changed = bytearray(block)
    places = list(_places(block, order, start))
    for place in places:
        if place.tag == ORIENTATION:
            one = struct.pack(order + "HHIHxx", ORIENTATION, 3, 1, 1)
            changed[place.entry : place.entry + 12] = one
    after = _after(block, order, start)
    if after + 4 > len(block):
        return bytes(changed)
    changed[after : after + 4] = bytes(4)
    (second,) = struct.unpack_from(order + "I", block, after)
    numbers = {
        place.tag: struct.unpack_from(order + "I", block, place.start)[0]
        for place in _places(block, order, second)
        if (place.type, place.number) == (_LONG, 1)
    }
    # The thumbnail's bytes are usually the last.
    thumbnail = numbers.get(_THUMBNAIL, 0)
    ends = thumbnail + numbers.get(_THUMBNAIL_LENGTH, 0)
    is_jpeg = block[thumbnail : thumbnail + 2] == b"\xff\xd8"
    if is_jpeg and ends == len(block) and thumbnail >= max(_ends(block, order, start, 0)):
        del changed[thumbnail:]
    return bytes(changed)


def _header(block: bytes) -> tuple[str, int]:
    """The order of bytes, as in `struct`, and the first directory's offset."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None or len(block) < 14:
        raise ValueError("its EXIF has no TIFF header")
    (start,) = struct.unpack_from(order + "I", block, 4)
    if not 8 <= start <= len(block) - 6:
        raise ValueError("its EXIF has no directory")
    return order, start


def _after(block: bytes, order: str, start: int) -> int:
    """Where the offset of the next directory stands."""
    return start + 2 + 12 * int(struct.unpack_from(order + "H", block, start)[0])


def _places(
    block: bytes, order: str, start: int, skipped: list[int] | None = None
) -> Iterator[_Place]:
    """The entries of a directory that are not corrupt; `skipped` collects the tags of others."""
    if not 8 <= start <= len(block) - 2:
        return
    for at in range(start + 2, min(_after(block, order, start), len(block) - 11), 12):
        tag, type, count = struct.unpack_from(order + "HHI", block, at)
        size = _SIZES.get(type, 0) * count
        value = at + 8 if size <= 4 else struct.unpack_from(order + "I", block, at + 8)[0]
        if type in _SIZES and count and value + size <= len(block):
            yield _Place(tag, type, count, at, value, value + size)
        elif skipped is not None:
            skipped.append(tag)


def _directory(
    block: bytes, order: str, start: int, parent: int, only: Collection[int], skipped: list[int]
) -> Directory:
    found: Directory = {}
    corrupt: list[int] = []
    for tag, type, count, _, first, last in _places(block, order, start, corrupt):
        if only and tag not in only:
            continue
        if tag in _NESTED.get(parent, ()):
            nested = struct.unpack_from(order + "I", block, first)[0] if last - first == 4 else 0
            if directory := _directory(block, order, nested, tag, (), skipped):
                found.setdefault(tag, Entry(_LONG, 1, directory))
            else:
                corrupt.append(tag)
            continue
        value = block[first:last]
        if order == ">":
            value = _swapped(value, _ORDERED.get(type, 1))
        found.setdefault(tag, Entry(type, count, value))
    skipped.extend(tag for tag in corrupt if not only or tag in only)
    return found


def _ends(block: bytes, order: str, start: int, parent: int) -> Iterator[int]:
    """Where the values of a directory, and of those in it, end."""
    for place in _places(block, order, start):
        yield max(place.end, place.entry + 12)
        if place.tag in _NESTED.get(parent, ()) and place.end - place.start == 4:
            nested = struct.unpack_from(order + "I", block, place.start)[0]
            yield from _ends(block, order, nested, place.tag)
    yield start + 2


def _swapped(value: bytes, size: int) -> bytes:
    if size == 1:
        return value
    return np.frombuffer(value, f">u{size}").astype(f"<u{size}").tobytes()
