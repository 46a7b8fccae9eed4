"""The chunks of WebP files (RFC 9649)."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from colorjax.images.metadata import EXIF_MARK, Metadata


def read_webp(file: BinaryIO) -> Metadata:
    """Walks through the chunks."""
    found, pictures = Metadata(), 0
    for kind, data in riff_chunks(file, (b"EXIF", b"XMP ", b"ICCP")):
        if kind == b"EXIF":
            found = found._replace(exif=data.removeprefix(EXIF_MARK))
        elif kind == b"XMP ":
            found = found._replace(xmp=data or None)
        elif kind == b"ICCP":
            found = found._replace(profile=data or None)
        pictures += kind == b"ANMF"
    return found._replace(pictures=max(1, pictures))


def riff_chunks(
    file: BinaryIO, read: tuple[bytes, ...] | None = None
) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a WebP; those not in `read` (None: all are) without their data."""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        kind, length = struct.unpack("<4sI", head)
        end = file.tell() + length + length % 2
        data = file.read(length) if read is None or kind in read else b""
        yield kind, data
        file.seek(end)
