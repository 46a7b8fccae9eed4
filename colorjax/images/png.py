"""The chunks of PNG files (W3C, third edition)."""

import contextlib
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from colorjax.images import photoshop
from colorjax.images.kinds import Text
from colorjax.images.metadata import EXIF_MARK, RAW_PROFILE, XMP_KEYWORD, XMP_MARK, Metadata

_MAX_TEXT = 1 << 26  # bytes of an unpacked chunk
_SRGB_GAMMA = 0.45455
_SRGB_CODES = b"\1\x0d"  # primaries and transfer function (ITU-T H.273)


def read_png(file: BinaryIO) -> Metadata:
    """Walks through the chunks. What is corrupt is left out and never fails a picture."""
    found = Metadata()
    texts: list[Text] = []
    notes, colours = [], {}
    for kind, data in _chunks(file):
        if kind == b"IHDR" and data[12:] == b"\1":
            found = found._replace(whole="interlaced PNGs")
        elif kind == b"pHYs" and len(data) == 9 and data[8] == 1:
            across, down = struct.unpack_from(">II", data)
            if across and down:
                found = found._replace(dpi=(across * 0.0254, down * 0.0254))
        elif kind == b"eXIf":
            found = found._replace(exif=data.removeprefix(EXIF_MARK))
        elif kind == b"iCCP":
            found = found._replace(profile=_inflated(data.partition(b"\0")[2][1:]) or b"")
        elif kind in (b"gAMA", b"sRGB", b"cICP"):
            colours[kind] = data
        elif kind == b"acTL" and len(data) == 8:
            found = found._replace(pictures=int.from_bytes(data[:4], "big"))
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            if text := _text(kind, data):
                texts.append(text)
            else:
                notes.append("a text in it is corrupt or too long, and is not kept")
    if not found.profile:
        gamma, note = _gamma(colours)
        found, notes = found._replace(gamma=gamma), notes + note
    return _with_texts(found._replace(notes=tuple(dict.fromkeys(notes))), texts)


def _gamma(colours: dict[bytes, bytes]) -> tuple[float | None, list[str]]:
    """The power that samples are of light, if it is not about that of sRGB; and a remark."""
    codes, gamma = colours.get(b"cICP", b""), colours.get(b"gAMA", b"")
    if len(codes) == 4:
        same = codes[:2] == _SRGB_CODES
        return None, [] if same else ["its colour space (cICP) is read as if it were sRGB"]
    if b"sRGB" in colours or len(gamma) != 4:
        return None, []
    power = int.from_bytes(gamma, "big") / 100_000
    return power if 0.1 <= power <= 5 and abs(power - _SRGB_GAMMA) > 0.02 else None, []


def _with_texts(found: Metadata, texts: list[Text]) -> Metadata:
    """With the texts, and with what stands in some of them."""
    others = []
    for text in texts:
        key = text.keyword
        raw = _raw_profile(text.text) if key.startswith(RAW_PROFILE) else None
        if key == XMP_KEYWORD:
            found = found._replace(xmp=text.text.encode("utf-8", "surrogateescape"))
        elif raw is None:
            others.append(text)
        elif raw.startswith(EXIF_MARK) or key.endswith(" exif"):
            found = found._replace(exif=found.exif or raw.removeprefix(EXIF_MARK))
        elif raw.startswith(XMP_MARK) or key.endswith(" xmp"):
            found = found._replace(xmp=found.xmp or raw.removeprefix(XMP_MARK))
        elif key.endswith((" iptc", " 8bim")):
            iptc, resources = photoshop.split(raw)
            plain = raw if raw[:1] == b"\x1c" else None  # of old programs
            found = found._replace(
                iptc=found.iptc or iptc or plain, resources=found.resources or resources
            )
        else:
            others.append(text)
    return found._replace(texts=tuple(others))


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
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


def _text(kind: bytes, data: bytes) -> Text | None:
    """None if it is corrupt or too long."""
    keyword, _, rest = data.partition(b"\0")
    packed = kind == b"zTXt" or (kind == b"iTXt" and rest[:1] == b"\1")
    if kind == b"iTXt":
        rest = rest[2:].split(b"\0", 2)[-1]  # behind the language and the translated keyword
    unpacked = _inflated(rest[1:] if kind == b"zTXt" else rest) if packed else rest
    if not keyword or unpacked is None:
        return None
    try:
        text = unpacked.decode()  # of tEXt and zTXt against the specification, but common
    except UnicodeDecodeError:
        text = unpacked.decode("latin-1" if kind != b"iTXt" else "utf-8", "surrogateescape")
    return Text(keyword.decode("latin-1"), text, (kind, data))


def _inflated(data: bytes) -> bytes | None:
    """None if the data is corrupt or too long."""
    unpacking = zlib.decompressobj()
    try:
        unpacked = unpacking.decompress(data, _MAX_TEXT)
    except zlib.error:
        return None
    return unpacked if unpacking.eof else None


def _raw_profile(text: str) -> bytes | None:
    """ImageMagick's form of a block in a text: its name, its length, and hexadecimal digits."""
    parts = text.split(None, 2)
    with contextlib.suppress(ValueError, IndexError):
        return bytes.fromhex(parts[2])
    return None
