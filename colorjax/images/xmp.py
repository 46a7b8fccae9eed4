"""XMP packets: what turning and colouring a photograph changes in them."""

import codecs
import os
import re
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

# https://cv.iptc.org/newscodes/digitalsourcetype: a photograph with elements that a trained
# algorithm made.
COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
NOT_KEPT = "its XMP is not well-formed and is not kept"
_RDF = b"http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XMP, _TIFF = b"http://ns.adobe.com/xap/1.0/", b"http://ns.adobe.com/tiff/1.0/"
_EXTENSION = b"http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_END = re.compile(rb"</(?:[\w.-]+:)?RDF\s*>")
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_UTF16 |= {b"<\0": "utf-16-le", b"\0<": "utf-16-be"}
_EMPTY = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
    b'</rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>'
)
_OWN = re.compile(rb"AISystemUsed\s*(?:=\s*[\"']|>)\s*colorjax ")
# Bytes of a file in which XMP stands: behind a JPEG's EXIF of up to 64 KB, in WebP at the end.
_AT_START, _AT_END = 3 << 16, 1 << 16


def readable(xmp: bytes) -> bytes | None:
    """The packet in UTF-8, otherwise byte for byte; None if it is not well-formed.

    A bare ampersand, the commonest fault, is escaped.
    """
    if encoding := _UTF16.get(xmp[:2]):
        text = xmp.decode(encoding, "replace").lstrip("\ufeff")
        xmp = re.sub(r"^<\?xml .*?\?>", "", text).encode("utf-8", "replace")
    escaped = re.sub(rb"&(?!#?\w+;)", b"&amp;", xmp)
    return next(filter(_is_well_formed, (xmp, escaped)), None)


def _is_well_formed(xmp: bytes) -> bool:
    try:
        ElementTree.fromstring(xmp.strip(b"\0 \n\r\t"))
    except (ElementTree.ParseError, ValueError, LookupError):
        return False
    return _END.search(xmp) is not None


def orientation(xmp: bytes) -> int:
    """1 to 8 as in EXIF; 0 if there is none, or another number."""
    found = _orientation(xmp).search(xmp)
    number = int(found[2][:9]) if found else 0  # int() refuses thousands of digits
    return number if number <= 8 else 0


def upright(xmp: bytes) -> bytes:
    """The packet with orientation 1, if it states one."""
    return _orientation(xmp).sub(rb"\g<1>1", xmp)


def _orientation(xmp: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(\b%s:Orientation\s*(?:=\s*[\"']|>)\s*)(\d+)" % _prefix(xmp, _TIFF))


def _prefix(xmp: bytes, namespace: bytes) -> bytes:
    """A pattern of the prefixes that a packet gives a namespace."""
    pattern = rb"xmlns:([\w.-]+)\s*=\s*[\"']" + re.escape(namespace) + rb"[\"']"
    prefixes = {re.escape(prefix) for prefix in re.findall(pattern, xmp)}
    return b"(?:" + b"|".join(sorted(prefixes)) + b")" if prefixes else b"(?!)"


def marked(xmp: bytes | None, tool: str, model: str) -> bytes:
    """The packet with IPTC's digital source type, and the tool and model that coloured.

    A packet that is not `readable` is replaced.
    """
    packet = (xmp and readable(xmp)) or _EMPTY
    extension = _prefix(packet, _EXTENSION)
    names = rb"%s:(?:DigitalSourceType|AISystemUsed)" % extension
    packet = _without(packet, names)
    values = {
        "Iptc4xmpExt:DigitalSourceType": COMPOSITE,
        "Iptc4xmpExt:AISystemUsed": f"{tool}, model {model}",
    }
    # The first program's name stays.
    if not re.search(rb"\b%s:CreatorTool\b" % _prefix(packet, _XMP), packet):
        values["xmp:CreatorTool"] = tool
    attributes = "".join(f"\n  {key}={quoteattr(value)}" for key, value in values.items())
    about = re.search(rb"\b%s:about\s*=\s*(\"[^\"]*\"|'[^']*')" % _prefix(packet, _RDF), packet)
    subject = about[1].decode("utf-8", "replace") if about else '""'
    description = (
        f'<rdf:Description xmlns:rdf="{_RDF.decode()}" xmlns:xmp="{_XMP.decode()}"'
        f'\n  xmlns:Iptc4xmpExt="{_EXTENSION.decode()}"'
        f"\n  rdf:about={subject}{attributes}/>\n"
    )
    *_, end = _END.finditer(packet)
    return packet[: end.start()] + description.encode() + packet[end.start() :]


def _without(packet: bytes, names: bytes) -> bytes:
    """The packet without attributes and elements whose names match a pattern.

    Takes linear time even for megabytes of white space or of tags that are never closed.
    """
    packet = re.sub(rb"\s%s\s*=\s*(?:\"[^\"]*\"|'[^']*')" % names, b"", packet)
    kept, opened, end = [], None, 0
    for tag in re.finditer(rb"<(/?)(%s)\b[^<>]*?(/?)>" % names, packet):
        if not tag[1] and (opened is None or opened[2] != tag[2]):
            opened = tag
        if opened and opened[2] == tag[2] and (tag[1] or tag[3]):
            kept.append(packet[end : opened.start()])
            opened, end = None, tag.end()
    return b"".join([*kept, packet[end:]])


def is_marked(path: Path) -> bool:
    """Whether a file says that colorjax coloured it.

    Only its start and its end are searched, and not what another program has compressed.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_AT_START)
            file.seek(max(len(data), file.seek(0, os.SEEK_END) - _AT_END))
            data += file.read()
    except OSError:
        return False
    return b"AISystemUsed" in data and _OWN.search(data) is not None  # the pattern alone is slow
