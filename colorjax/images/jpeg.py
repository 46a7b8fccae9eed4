"""The segments of JPEG files (ITU T.81, annex B)."""

import struct
from typing import BinaryIO

from colorjax.images import photoshop
from colorjax.images.kinds import Text
from colorjax.images.metadata import EXIF_MARK, PHOTOSHOP_MARK, XMP_MARK, Metadata

_EXTENDED_XMP_MARK = b"http://ns.adobe.com/xmp/extension/\0"
_PROFILE_MARK = b"ICC_PROFILE\0"
_SCAN, _END = 0xDA, b"\xff\xd9"
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)


def read_jpeg(file: BinaryIO) -> Metadata:
    """Walks to the first scan. What is corrupt is left out and never fails a picture."""
    found = Metadata()
    profile: dict[int, bytes] = {}
    resources, texts, notes = b"", [], []
    strays: list[tuple[int, int]] = []
    file.seek(2)
    while segment := _next_segment(file, strays):
        kind, data = segment
        if kind == _SCAN:
            break
        if kind == 0xE0 and data[:5] == b"JFIF\0" and len(data) >= 12:
            unit, across, down = struct.unpack_from(">BHH", data, 7)
            if unit in (1, 2) and across and down:
                scale = 1.0 if unit == 1 else 2.54
                found = found._replace(dpi=(across * scale, down * scale))
        elif kind == 0xE1 and data.startswith(EXIF_MARK):
            found = found._replace(exif=found.exif or data[6:])
        elif kind == 0xE1 and data.startswith(XMP_MARK):
            found = found._replace(xmp=found.xmp or data[len(XMP_MARK) :])
        elif kind == 0xE1 and data.startswith(_EXTENDED_XMP_MARK):
            notes = ["the extended part of its XMP is not kept"]
        elif kind == 0xE2 and data.startswith(_PROFILE_MARK) and len(data) > 14:
            profile[data[12]] = data[14:]
        elif kind == 0xED and data.startswith(PHOTOSHOP_MARK):
            resources += data[len(PHOTOSHOP_MARK) :]
        elif kind == 0xFE:
            texts.append(Text("", data.decode("utf-8", "surrogateescape")))
        elif kind in _PROGRESSIVE:
            found = found._replace(whole="progressive JPEGs")
    ends = _ends(file)
    if found.whole and not ends:  # the scans that follow would refine all of it
        notes.append("its end is missing; the picture may be coarse")
    iptc, others = photoshop.split(resources)
    return found._replace(
        profile=b"".join(profile[number] for number in sorted(profile)) or None,
        iptc=iptc,
        resources=others,
        texts=tuple(texts),
        notes=tuple(notes),
        strays=tuple(strays),
        ends=ends,
    )


def _next_segment(file: BinaryIO, strays: list[tuple[int, int]]) -> tuple[int, bytes] | None:
    """The kind and contents of the next segment; adds to `strays` what stands before it."""
    start = file.tell()
    while mark := file.read(1):
        kind = file.read(1) if mark == b"\xff" else b""
        while kind == b"\xff":  # as many as one likes
            kind = file.read(1)
        if kind not in (b"", b"\0"):
            break
    else:
        return None
    if file.tell() - 2 > start:
        strays.append((start, file.tell() - 2))
    length = int.from_bytes(file.read(2), "big")
    return kind[0], file.read(length - 2) if length > 2 else b""


def _ends(file: BinaryIO) -> bool:
    """Whether the last marker follows."""
    start = file.tell()
    file.seek(-2, 2)
    if file.read(2) == _END:
        return True
    file.seek(start)
    last = b""
    while block := file.read(1 << 20):
        if _END in last + block:
            return True
        last = block[-1:]
    return False


def mended(file: BinaryIO, found: Metadata) -> bytes | None:
    """The contents as they should be; None if they are.

    Libjpeg warns of stray bytes and of a missing end as it does of scans that are corrupt.
    """
    if found.ends and not found.strays:
        return None
    file.seek(0)
    contents, at, parts = file.read(), 0, []
    for start, end in found.strays:
        parts.append(contents[at:start])
        at = end
    return b"".join(parts) + contents[at:] + (b"" if found.ends else _END)
