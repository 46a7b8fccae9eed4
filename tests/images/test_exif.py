"""EXIF blocks, read by Pillow and tifffile as well."""

import contextlib
import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from colorjax.images import exif

MAKE, DESCRIPTION, RESOLUTION, NOTE, ISO, TAKEN = 0x010F, 0x010E, 0x011A, 0x927C, 0x8827, 0x9003
CAPTION = "Großmutter 祖母 in Łódź"


def block(orientation=6):
    """A block of Pillow's; big-endian."""
    image = Image.Exif()
    image[MAKE], image[DESCRIPTION], image[exif.ORIENTATION] = "LG", CAPTION.encode(), orientation
    image[RESOLUTION] = 300.5
    image.get_ifd(exif.EXIF).update({NOTE: b"Nikon\0\2" + bytes(range(256)), ISO: (100, 200, 300)})
    image.get_ifd(exif.EXIF)[TAKEN] = "1934:05:06 07:08:09"
    image.get_ifd(exif.GPS).update({1: "N", 2: (48.0, 12.0, 3.5)})
    return image.tobytes().removeprefix(b"Exif\0\0")


def big_endian():
    """The same values in a file of tifffile's."""
    file = io.BytesIO()
    tags = [
        (MAKE, 2, 3, "LG", True),
        (exif.ORIENTATION, 3, 1, 6, True),
        (0xC62F, 12, 2, (1.5, -2.5), True),
    ]
    options = {"byteorder": ">", "resolution": ((601, 2), (1, 1)), "extratags": tags}
    tifffile.imwrite(file, np.zeros((4, 3), np.uint8), **options)
    return file.getvalue()


def with_thumbnail(contents):
    """Adds a second directory with a JPEG thumbnail at the end."""
    (start,) = struct.unpack_from(">I", contents, 4)
    (count,) = struct.unpack_from(">H", contents, start)
    after = start + 2 + 12 * count
    thumbnail = b"\xff\xd8" + bytes(100) + b"\xff\xd9"
    second = len(contents)
    place = second + 2 + 24 + 4
    entries = struct.pack(">HHII", 0x0201, 4, 1, place)
    entries += struct.pack(">HHII", 0x0202, 4, 1, len(thumbnail))
    changed = contents[:after] + struct.pack(">I", second) + contents[after + 4 :]
    return changed + struct.pack(">H", 2) + entries + bytes(4) + thumbnail


def as_pillow(contents):
    found = Image.Exif()
    found.load(b"Exif\0\0" + contents)
    nested = {tag: dict(found.get_ifd(tag)) for tag in (exif.EXIF, exif.GPS)}
    return {k: v for k, v in found.items() if k not in nested} | nested


def test_a_block_comes_back_as_pillow_reads_it():
    written = exif.serialise(exif.parse(block()))
    assert as_pillow(written) == as_pillow(block())
    directory = exif.parse(block())
    assert exif.parse(written) == directory
    assert directory[MAKE] == exif.Entry(2, 3, b"LG\0")
    assert directory[DESCRIPTION].value.rstrip(b"\0") == CAPTION.encode()
    assert directory[exif.EXIF].value[NOTE].value == b"Nikon\0\2" + bytes(range(256))


def test_numbers_become_little_endian():
    directory = exif.parse(big_endian())
    assert directory[MAKE] == exif.Entry(2, 3, b"LG\0")
    assert directory[RESOLUTION].value == struct.pack("<II", 601, 2)
    assert directory[0xC62F].value == struct.pack("<dd", 1.5, -2.5)
    assert exif.orientation(big_endian()) == 6
    assert exif.orientation(exif.upright(big_endian())) == 1
    reread = as_pillow(exif.serialise({MAKE: directory[MAKE], 0xC62F: directory[0xC62F]}))
    assert (reread[MAKE], reread[0xC62F]) == ("LG", (1.5, -2.5))


def test_upright_patches_in_place_and_drops_the_thumbnail():
    contents = with_thumbnail(block())
    patched = exif.upright(contents)
    assert b"\xff\xd8" not in patched[-104:]
    assert len(patched) == len(contents) - 104
    assert as_pillow(patched) == as_pillow(block()) | {exif.ORIENTATION: 1}
    assert sum(a != b for a, b in zip(patched, contents, strict=False)) <= 5
    # A thumbnail that claims to be where the values are takes nothing with it.
    place = contents.index(struct.pack(">HHI", 0x0201, 4, 1)) + 8
    lying = contents[:place] + struct.pack(">I", 8) + contents[place + 4 :]
    assert as_pillow(exif.upright(lying)) == as_pillow(patched)


def test_corrupt_entries_are_skipped():
    contents = bytearray(block())
    place = contents.index(struct.pack(">H", RESOLUTION))
    contents[place + 2 : place + 4] = struct.pack(">H", 99)  # a type that does not exist
    place = contents.index(struct.pack(">H", exif.GPS))
    contents[place + 8 : place + 12] = struct.pack(">I", 1 << 31)  # outside
    directory = exif.parse(bytes(contents))
    assert {MAKE, DESCRIPTION, exif.EXIF} <= directory.keys()
    assert directory.keys().isdisjoint((RESOLUTION, exif.GPS))


@pytest.mark.parametrize("contents", [b"", b"II*\0", b"Exif\0\0" + bytes(20), b"MM\0*" + bytes(20)])
def test_what_is_no_block_is_refused(contents):
    for function in (exif.parse, exif.orientation, exif.upright):
        with pytest.raises(ValueError, match="EXIF"):
            function(contents)


def test_every_truncated_or_changed_block_is_parsed_or_refused():
    whole = with_thumbnail(block())
    for length in range(len(whole)):
        changed = bytearray(whole)
        changed[length] ^= 0x95
        for contents in (whole[:length], bytes(changed)):
            with contextlib.suppress(ValueError):
                exif.serialise(exif.parse(contents))
                exif.upright(contents)
