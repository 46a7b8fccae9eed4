"""What JPEG, PNG and WebP files hold beside their pixels, as raw bytes.

Only the structure of a file is read here (JPEG: ITU T.81, annex B; PNG: W3C, third edition; WebP:
RFC 9649), so that corrupt metadata is left out and never fails a picture.
"""

import contextlib
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from colorjax.images import exif

EXIF_MARK, XMP_MARK = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_EXTENDED_XMP_MARK = b"http://ns.adobe.com/xmp/extension/\0"
_PROFILE_MARK = b"ICC_PROFILE\0"
PHOTOSHOP_MARK, IPTC_RESOURCE = b"Photoshop 3.0\0", b"8BIM\x04\x04"
XMP_KEYWORD, RAW_PROFILE = "XML:com.adobe.xmp", "Raw profile type "
_MAX_TEXT = 1 << 26  # bytes of an unpacked PNG chunk
_JPEG_SCAN, JPEG_END = 0xDA, b"\xff\xd9"
_RESOLUTIONS = (0x011A, 0x011B)


class Metadata(NamedTuple):
    """See `Photo`; the EXIF block is as in the file.

    Attributes:
      pictures: their number.
      strict: whether a warning of the decoder means that the picture is corrupt.
      ends: whether a JPEG has its last marker.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    texts: tuple[tuple[str, str], ...] = ()
    profile: bytes | None = None
    dpi: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    pictures: int = 1
    strict: bool = True
    ends: bool = True


def read_metadata(file: BinaryIO, format: str) -> Metadata:
    """Walks through a file of format jpeg, png or webp."""
    readers = {"jpeg": _jpeg, "png": _png, "webp": _webp}
    file.seek(0)
    return readers[format](file)


def resolution(block: bytes) -> tuple[float, float] | None:
    """The pixels per inch that an EXIF block states."""
    with contextlib.suppress(ValueError, LookupError, ZeroDivisionError, struct.error, TypeError):
        directory = exif.parse(block)
        unit = directory.get(0x0128)
        inches = 2.54 if unit is not None and unit.value == b"\3\0" else 1.0
        both = [struct.unpack("<II", directory[tag].value) for tag in _RESOLUTIONS]  # type: ignore[arg-type]
        across, down = (above / below * inches for above, below in both)
        return (across, down) if min(across, down) > 0 else None
    return None


def _jpeg(file: BinaryIO) -> Metadata:
    found, strict = Metadata(), True
    profile: dict[int, bytes] = {}
    photoshop, texts = b"", []
    extended = False
    file.read(2)
    while (stray := file.read(1)) and (marker := file.read(1)):
        if stray != b"\xff" or marker == b"\xff":
            strict = strict and stray == b"\xff"  # libjpeg warns of bytes between segments
            file.seek(-1, 1)
            continue
        kind, length = marker[0], int.from_bytes(file.read(2), "big")
        data = file.read(length - 2) if length > 2 else b""
        if kind == _JPEG_SCAN:
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
            extended = True
        elif kind == 0xE2 and data.startswith(_PROFILE_MARK) and len(data) > 14:
            profile[data[12]] = data[14:]
        elif kind == 0xED and data.startswith(PHOTOSHOP_MARK):
            photoshop += data[len(PHOTOSHOP_MARK) :]
        elif kind == 0xFE:
            texts.append(("", data.decode("utf-8", "surrogateescape")))
    return found._replace(
        profile=b"".join(profile[number] for number in sorted(profile)) or None,
        iptc=_iptc(photoshop),
        texts=tuple(texts),
        notes=("the extended part of its XMP is not kept",) if extended else (),
        strict=strict,
        ends=_ends(file),
    )


def _ends(file: BinaryIO) -> bool:
    """Whether the last marker of a JPEG follows."""
    start = file.tell()
    file.seek(-2, 2)
    if file.read(2) == JPEG_END:
        return True
    file.seek(start)
    last = b""
    while block := file.read(1 << 20):
        if JPEG_END in last + block:
            return True
        last = block[-1:]
    return False


def _iptc(resources: bytes) -> bytes | None:
    """IPTC-IIM in Photoshop's image resources."""
    at = 0
    while resources[at : at + 4] == b"8BIM" and at + 12 <= len(resources):
        name = resources[at + 6] + 1
        size_at = at + 6 + name + name % 2
        if size_at + 4 > len(resources):
            break
        (size,) = struct.unpack_from(">I", resources, size_at)
        if resources[at : at + 6] == IPTC_RESOURCE:
            return resources[size_at + 4 : size_at + 4 + size] or None
        at = size_at + 4 + size + size % 2
    return None


def _png(file: BinaryIO) -> Metadata:
    found = Metadata()
    texts: list[tuple[str, str]] = []
    for kind, data in _png_chunks(file):
        if kind == b"pHYs" and len(data) == 9 and data[8] == 1:
            across, down = struct.unpack_from(">II", data)
            if across and down:
                found = found._replace(dpi=(across * 0.0254, down * 0.0254))
        elif kind == b"eXIf":
            found = found._replace(exif=data.removeprefix(EXIF_MARK))
        elif kind == b"iCCP":
            found = found._replace(profile=_inflated(data.partition(b"\0")[2][1:]) or None)
        elif kind == b"acTL" and len(data) == 8:
            found = found._replace(pictures=int.from_bytes(data[:4], "big"))
        elif kind in (b"tEXt", b"zTXt", b"iTXt") and (found_text := _png_text(kind, data)):
            texts.append(found_text)
    others = []
    for key, text in texts:
        raw = _raw_profile(text) if key.startswith(RAW_PROFILE) else None
        if key == XMP_KEYWORD:
            found = found._replace(xmp=text.encode("utf-8", "surrogateescape"))
        elif raw is None:
            others.append((key, text))
        elif raw.startswith(EXIF_MARK) or key.endswith(" exif"):
            found = found._replace(exif=found.exif or raw.removeprefix(EXIF_MARK))
        elif raw.startswith(XMP_MARK) or key.endswith(" xmp"):
            found = found._replace(xmp=found.xmp or raw.removeprefix(XMP_MARK))
        elif key.endswith(" iptc"):
            found = found._replace(iptc=_iptc(raw) or raw)
        else:
            others.append((key, text))
    return found._replace(texts=tuple(others))


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """The chunks, those with pixels without their data."""
    size = file.seek(0, 2)
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        end = file.tell() + length + 4
        if end > size or kind == b"IEND":
            return
        yield kind, b"" if kind in (b"IDAT", b"fdAT") else file.read(length)
        file.seek(end)


def _png_text(kind: bytes, data: bytes) -> tuple[str, str] | None:
    keyword, _, rest = data.partition(b"\0")
    if kind == b"iTXt":
        packed, rest = rest[:1] == b"\1", rest[2:]
        rest = rest.split(b"\0", 2)[-1]  # behind the language and the translated keyword
        rest = _inflated(rest) if packed else rest
    elif kind == b"zTXt":
        rest = _inflated(rest[1:])
    if kind == b"iTXt":
        text = rest.decode("utf-8", "surrogateescape")
    else:
        try:
            text = rest.decode()  # against the specification, but common
        except UnicodeDecodeError:
            text = rest.decode("latin-1")
    return (keyword.decode("latin-1"), text) if keyword else None


def _inflated(data: bytes) -> bytes:
    """Empty if the data is corrupt or too long."""
    unpacking = zlib.decompressobj()
    try:
        unpacked = unpacking.decompress(data, _MAX_TEXT)
    except zlib.error:
        return b""
    return unpacked if unpacking.eof else b""


def _raw_profile(text: str) -> bytes | None:
    """ImageMagick's form of a block in a text: its name, its length, and hexadecimal digits."""
    parts = text.split(None, 2)
    with contextlib.suppress(ValueError, IndexError):
        return bytes.fromhex(parts[2])
    return None


def _webp(file: BinaryIO) -> Metadata:
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
