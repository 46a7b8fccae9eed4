"""XMP packets, read by an XML parser."""

from xml.etree import ElementTree

import pytest

from colorjax.images import xmp

TIFF, EXT = "{http://ns.adobe.com/tiff/1.0/}", "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
CREATOR = "{http://ns.adobe.com/xap/1.0/}CreatorTool"
TYPE, SYSTEM = EXT + "DigitalSourceType", EXT + "AISystemUsed"
ELEMENTS = """<rdf:Description rdf:about="uuid:7"><tiff:Orientation>6</tiff:Orientation>
<Iptc4xmpExt:DigitalSourceType>http://old</Iptc4xmpExt:DigitalSourceType>
<xmp:CreatorTool>Capture One 祖母</xmp:CreatorTool></rdf:Description>"""
ATTRIBUTES = """<rdf:Description rdf:about="" tiff:Orientation = '6'
Iptc4xmpExt:DigitalSourceType="http://old" />"""


def packet(contents):
    names = {
        "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
        "tiff": TIFF[1:-1],
        "Iptc4xmpExt": EXT[1:-1],
        "xmp": "http://ns.adobe.com/xap/1.0/",
    }
    spaces = " ".join(f'xmlns:{name}="{uri}"' for name, uri in names.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF {spaces}>{contents}</rdf:RDF></x:xmpmeta>   \n<?xpacket end="w"?>'
    ).encode()


def values(contents, name):
    found = []
    for element in ElementTree.fromstring(contents).iter():
        found += [element.text] if element.tag == name else []
        found += [element.attrib[name]] if name in element.attrib else []
    return found


@pytest.mark.parametrize("contents", [ELEMENTS, ATTRIBUTES])
def test_the_orientation_becomes_upright(contents):
    assert xmp.orientation(packet(contents)) == 6
    assert values(xmp.upright(packet(contents)), TIFF + "Orientation") == ["1"]
    assert xmp.orientation(b"<x/>") == 0


@pytest.mark.parametrize("contents", [None, b"no XML", packet(ELEMENTS), packet(ATTRIBUTES)])
def test_a_mark_names_the_source_of_the_colours_once(contents):
    marked = xmp.marked(contents, "colorjax 1.0", 'a "model" & more')
    assert xmp.marked(marked, "colorjax 1.0", 'a "model" & more').count(b"AISystemUsed") == 1
    assert values(marked, TYPE) == [xmp.COMPOSITE]
    assert values(marked, SYSTEM) == ['colorjax 1.0, model a "model" & more']
    first = "Capture One 祖母" if contents == packet(ELEMENTS) else "colorjax 1.0"
    assert values(marked, CREATOR) == [first]
