"""XMP metadata: the orientation of an upright picture, and the mark that a program coloured it."""

import re
from xml.sax.saxutils import escape

# Of IPTC: a photograph that was changed by a trained model.
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
_PACKET = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></rdf:RDF>'
    b'</x:xmpmeta><?xpacket end="w"?>'
)
_END = b"</rdf:RDF>"
_ORIENTATION = re.compile(rb"(tiff:Orientation(?:\s*=\s*[\"']|\s*>)\s*)[2-8](?=\s*[\"'<])")
# A property as an attribute or an element.
_MARKS = re.compile(
    rb"Iptc4xmpExt:(DigitalSourceType|AISystemUsed)\s*=\s*(\"[^\"]*\"|'[^']*')"
    rb"|<Iptc4xmpExt:(DigitalSourceType|AISystemUsed)\s*>[^<]*</Iptc4xmpExt:\3\s*>"
)


def upright(xmp: bytes) -> bytes:
    """XMP whose orientation, if it states one, is 1."""
    return _ORIENTATION.sub(rb"\g<1>1", xmp)


def marked(xmp: bytes | None, tool: str, model: str) -> bytes:
    """XMP that says that a trained model made the colours (IPTC Photo Metadata 2025.1).

    Args:
      xmp: of the photograph; None or what is not XMP is replaced.
      tool: the program and its version.
      model: the name of the model.
    """
    if xmp is None or _END not in xmp:
        xmp = _PACKET
    mark = (
        '<rdf:Description rdf:about="" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
        f"<Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>"
        f"<Iptc4xmpExt:AISystemUsed>{escape(f'{tool}, model {model}')}</Iptc4xmpExt:AISystemUsed>"
        "</rdf:Description>"
    )
    before, end, after = _MARKS.sub(b"", xmp).rpartition(_END)
    return before + mark.encode() + end + after
