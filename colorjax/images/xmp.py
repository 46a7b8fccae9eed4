"""XMP packets: what turning and colouring a photograph changes in them."""

import os
import re
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

# https://cv.iptc.org/newscodes/digitalsourcetype: a photograph with elements that a trained
# algorithm made.
COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
_ORIENTATION = re.compile(rb"(\btiff:Orientation\s*(?:=\s*[\"']|>)\s*)(\d+)")
_END = b"</rdf:RDF>"
# What `marked` states, as an attribute or as an element.
_STATED = re.compile(
    rb"\s+Iptc4xmpExt:(?:DigitalSourceType|AISystemUsed)\s*=\s*(?:\"[^\"]*\"|'[^']*')"
    rb"|<Iptc4xmpExt:(DigitalSourceType|AISystemUsed)\b[^>]*?(?:/>|>.*?</Iptc4xmpExt:\1\s*>)",
    re.DOTALL,
)
_EMPTY = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
    b'</rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>'
)


def orientation(xmp: bytes) -> int:
    """1 to 8 as in EXIF; 0 if there is none, or another number."""
    found = _ORIENTATION.search(xmp)
    number = int(found[2]) if found else 0
    return number if number <= 8 else 0


def upright(xmp: bytes) -> bytes:
    """The packet with orientation 1, if it states one."""
    return _ORIENTATION.sub(rb"\g<1>1", xmp)


def marked(xmp: bytes | None, tool: str, model: str) -> bytes:
    """The packet with IPTC's digital source type, and the tool and model that coloured.

    A packet that is not well-formed is replaced.
    """
    packet = xmp if xmp and _is_well_formed(xmp) else _EMPTY
    packet = _STATED.sub(b"", packet)
    values = {
        "Iptc4xmpExt:DigitalSourceType": COMPOSITE,
        "Iptc4xmpExt:AISystemUsed": f"{tool}, model {model}",
    }
    if b"xmp:CreatorTool" not in packet:  # the first program's name stays
        values["xmp:CreatorTool"] = tool
    attributes = "".join(f"\n  {key}={quoteattr(value)}" for key, value in values.items())
    about = re.search(rb"rdf:about\s*=\s*(\"[^\"]*\"|'[^']*')", packet)
    subject = about[1].decode("utf-8", "replace") if about else '""'
    description = (
        '<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        '\n  xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        f"\n  rdf:about={subject}{attributes}/>\n"
    )
    before, end, after = packet.rpartition(_END)
    return before + description.encode() + end + after


def _is_well_formed(xmp: bytes) -> bool:
    try:
        ElementTree.fromstring(xmp.strip(b"\0 \n\r\t"))
    except ElementTree.ParseError:
        return False
    return _END in xmp


_OWN = re.compile(rb"AISystemUsed\s*(?:=\s*[\"']|>)\s*colorjax ")
# Bytes of a file in which XMP stands: behind a JPEG's EXIF of up to 64 KB, in WebP at the end.
_AT_START, _AT_END = 3 << 16, 1 << 16


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
