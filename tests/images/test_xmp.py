"""XMP packets, read by an XML parser."""

import re
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


@pytest.mark.parametrize("contents", [ELEMENTS, ATTRIBUTES])
def test_any_prefixes_of_the_namespaces_are_known(contents):
    whole = packet(contents)
    for name in (b"rdf", b"tiff", b"Iptc4xmpExt", b"xmp"):
        whole = re.sub(rb"(?<=[</\s:])%s(?=[:=])" % name, b"ns-" + name[:3], whole)
    assert xmp.orientation(whole) == 6
    assert values(xmp.upright(whole), TIFF + "Orientation") == ["1"]
    for encoding in ("utf-8", "utf-16", "utf-16-be"):
        stored = xmp.readable(whole.decode().encode(encoding))
        assert stored == whole
        marked = xmp.marked(stored, "colorjax 1.0", "faces")
        assert values(marked, TYPE) == [xmp.COMPOSITE]
        assert values(marked, SYSTEM) == ["colorjax 1.0, model faces"]
        first = "Capture One 祖母" if contents == ELEMENTS else "colorjax 1.0"
        assert values(marked, CREATOR) == [first]


def test_what_is_not_well_formed_is_not_readable():
    assert xmp.readable(packet(ELEMENTS)[:-30]) is None
    assert xmp.readable(b"<x/>") is None
    fault = packet(ELEMENTS.replace("uuid:7", "a & b &amp; c&#38;"))
    assert xmp.readable(fault) == fault.replace(b"a & b", b"a &amp; b")


@pytest.mark.parametrize(
    "filler",
    [" " * 1_000_000, f"<!--{'<Iptc4xmpExt:AISystemUsed>' * 40_000}-->"],
    ids=["white space", "tags that are never closed"],
)
def test_a_large_packet_is_marked_in_linear_time(filler):
    """With quadratic time this takes minutes."""
    for contents in (ATTRIBUTES, ELEMENTS):
        marked = xmp.marked(packet(filler + contents), "colorjax 1.0", "faces")
        assert values(marked, TYPE) == [xmp.COMPOSITE]
        assert filler.encode() in marked


def test_an_orientation_of_thousands_of_digits_is_none():
    assert xmp.orientation(packet(ELEMENTS.replace(">6<", f">{'9' * 10_000}<"))) == 0
