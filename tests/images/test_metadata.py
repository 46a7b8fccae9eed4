"""Metadata go through a photograph byte for byte; Pillow and tifffile are the other readers."""

import io
import struct
import zlib
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from image_files import encoded
from PIL import Image, IptcImagePlugin

from colorjax.images import exif
from colorjax.images.kinds import Text
from colorjax.images.photo import read_photo
from colorjax.images.write_photo import write_photo

CAPTION = "Großmutter 祖母 in Łódź"
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syn'
    b'tax-ns#"><rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    b'tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)
IPTC = b"".join(
    struct.pack(">BBBH", 0x1C, 2, record, len(text)) + text
    for record, text in ((105, b"A headline"), (120, CAPTION.encode()))
)
PICTURE = np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3)


def block(orientation=6):
    """EXIF that Pillow and libexif do not write back as it is."""
    odd = {
        0x9204: exif.Entry(10, 1, struct.pack("<ii", -1, 3)),  # a signed exposure bias
        0x927C: exif.Entry(7, 300, bytes(range(256)) + b"note" * 11),
        0x829A: exif.Entry(2, 5, b"1/60\0"),  # a text where a number belongs
        0x9286: exif.Entry(7, len(CAPTION.encode()), CAPTION.encode()),
    }
    return exif.serialise(
        {
            0x010E: exif.Entry(2, len(CAPTION.encode()) + 1, CAPTION.encode() + b"\0"),
            0x010F: exif.Entry(2, 3, b"LG\0"),
            exif.ORIENTATION: exif.Entry(3, 1, struct.pack("<H", orientation)),
            exif.EXIF: exif.Entry(4, 1, odd),
            exif.GPS: exif.Entry(4, 1, struct.pack("<I", 1 << 30)),  # outside
        }
    )


def segment(kind, data):
    return struct.pack(">BBH", 0xFF, kind, len(data) + 2) + data


def jpeg(*segments, picture=PICTURE):
    contents = encoded(picture, "jpeg", quality=95)
    return contents[:2] + b"".join(segments) + contents[20:]  # without JFIF


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks, behind=False):
    contents = encoded(PICTURE, "png")
    at = -12 if behind else 33
    return contents[:at] + b"".join(chunks) + contents[at:]


def written(tmp_path, contents, **changes):
    """What Pillow reads of the copy of a file, and its path."""
    write_photo(tmp_path / "a", read_photo(contents)._replace(**changes))
    image = Image.open(tmp_path / "a")
    image.load()
    return image


def test_all_of_a_jpeg_comes_back(tmp_path):
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(IPTC)) + IPTC + bytes(len(IPTC) % 2)
    other = b"8BIM\x04\x0a\3abc" + struct.pack(">I", 3) + b"xyz\0"  # whether it is copyrighted
    thumbnail = b"8BIM\x04\x0c\0\0" + struct.pack(">I", 2) + b"\xff\xd8"
    image = written(
        tmp_path,
        jpeg(
            segment(0xE1, b"Exif\0\0" + block()),
            segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP),
            segment(0xED, b"Photoshop 3.0\0" + other + thumbnail + resource),
            segment(0xFE, CAPTION.encode()),
            segment(0xFE, b"Caf\xe9"),
        ),
    )
    assert image.size == (8, 12)
    assert image.info["exif"] == b"Exif\0\0" + exif.upright(block())
    assert image.info["xmp"] == XMP.replace(b'"6"', b'"1"')
    assert IptcImagePlugin.getiptcinfo(image)[2, 120] == CAPTION.encode()
    assert image.info["photoshop"] == {0x0404: IPTC, 0x040A: b"xyz"}
    assert [data for kind, data in image.applist if kind == "COM"] == [CAPTION.encode(), b"Caf\xe9"]
    assert (image.info["jfif_unit"], image.info["jfif_density"]) == (0, (1, 1))


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("raw", [False, True])
def test_all_of_a_png_comes_back(tmp_path, behind, raw):
    """EXIF may stand behind the pixels, and as a text of ImageMagick's."""
    if raw:
        digits = f"\nexif\n{len(block()) + 6:8d}\n{(b'Exif' + bytes(2) + block()).hex()}\n"
        found = chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(digits.encode()))
    else:
        found = chunk(b"eXIf", block())
    image = written(
        tmp_path,
        png(
            found,
            chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
            chunk(b"tEXt", b"Author\0Ren\xe9"),
            chunk(b"iTXt", b"Title\0\1\0de\0\0" + zlib.compress(CAPTION.encode())),
            chunk(b"tEXt", b"Source\0scan"),
            behind=behind,
        ),
    )
    assert image.size == (8, 12)
    assert image.info["exif"].removeprefix(b"Exif\0\0") == exif.upright(block())
    assert image.info["xmp"] == XMP.replace(b'"6"', b'"1"')
    expected = {"Author": "René", "Title": CAPTION, "Source": "scan"}
    assert {key: image.text[key] for key in expected} == expected
    assert "dpi" not in image.info


def test_exif_and_xmp_of_a_webp_come_back(tmp_path):
    contents = encoded(PICTURE, "webp", exif=b"Exif\0\0" + block(), xmp=XMP)
    image = written(tmp_path, contents)
    assert image.size == (8, 12)
    assert image.info["exif"].removeprefix(b"Exif\0\0") == exif.upright(block())
    assert image.info["xmp"] == XMP.replace(b'"6"', b'"1"')


def test_xmp_turns_a_picture_whose_exif_does_not(tmp_path):
    assert written(tmp_path, png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP))).size == (
        8,
        12,
    )
    both = png(chunk(b"eXIf", block(1)), chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP))
    assert written(tmp_path, both).size == (12, 8)


def test_metadata_go_into_other_formats(tmp_path):
    contents = jpeg(
        segment(0xE1, b"Exif\0\0" + block()),
        segment(0xED, b"Photoshop 3.0\08BIM\x04\x04\0\0" + struct.pack(">I", len(IPTC)) + IPTC),
        segment(0xFE, CAPTION.encode()),
    )
    image = written(tmp_path, contents, format="png")
    assert image.info["exif"].removeprefix(b"Exif\0\0") == exif.upright(block())
    assert image.text["Comment"] == CAPTION
    assert read_photo(tmp_path / "a").iptc == IPTC
    image = written(tmp_path, contents, format="tiff")
    assert image.tag_v2[0x010F] == "LG"
    photo = read_photo(tmp_path / "a")
    assert photo.iptc == IPTC
    assert exif.parse(photo.exif)[exif.EXIF] == exif.parse(block())[exif.EXIF]
    image = written(tmp_path, (tmp_path / "a").read_bytes(), format="jpeg")
    assert exif.parse(image.info["exif"][6:])[exif.EXIF] == exif.parse(block())[exif.EXIF]


@pytest.mark.parametrize("format", ["jpeg", "png", "tiff", "bmp"])
def test_a_resolution_is_kept(tmp_path, format):
    image = written(tmp_path, encoded(PICTURE, format, dpi=(300, 200)))
    assert image.info["dpi"] == pytest.approx((300, 200), abs=0.02)


@pytest.mark.parametrize("corrupt", [b"", b"II*\0", b"garbage" * 9, block()[:60], block()[:200]])
def test_corrupt_exif_does_not_fail_a_picture(tmp_path, corrupt):
    for contents in (
        jpeg(segment(0xE1, b"Exif\0\0" + corrupt)),
        png(chunk(b"eXIf", corrupt)),
        encoded(PICTURE, "webp", exif=b"Exif\0\0" + corrupt, lossless=True),
    ):
        photo = read_photo(contents)
        assert sorted(photo.rgb.shape) == [3, 8, 12]
        if (len(corrupt) < 60 and corrupt) or corrupt[:1] == b"g":
            assert photo.notes == ("its EXIF is corrupt and is not kept",)
        write_photo(tmp_path / "a", photo)


def test_a_missing_end_alone_is_no_fault():
    rgb = np.random.default_rng(0).integers(0, 256, (90, 60, 3), dtype=np.uint8)
    contents = jpeg(picture=rgb)
    expected = np.asarray(Image.open(io.BytesIO(contents)))
    assert abs(read_photo(contents[:-2]).rgb.astype(int) - expected).max() <= 2
    with pytest.raises(ValueError, match="corrupt"):
        read_photo(contents[:-200])


def test_stray_bytes_between_segments_hide_no_fault():
    rgb = np.random.default_rng(0).integers(0, 256, (90, 60, 3), dtype=np.uint8)
    comment = segment(0xFE, b"a comment")
    for stray in (b"\0", b"\xff\xff", b"\xff\0", b"stray \xff\0 bytes"):
        contents = jpeg(comment, stray, comment, b"\xff\xff\xff", picture=rgb)
        expected = np.asarray(Image.open(io.BytesIO(jpeg(picture=rgb))))
        for whole in (contents, contents[:-2]):
            photo = read_photo(whole)
            assert abs(photo.rgb.astype(int) - expected).max() <= 2
            assert photo.texts == (Text("", "a comment"),) * 2
        for cut in (contents[:-500], contents[:-500] + b"\xff\xd9"):
            with pytest.raises(ValueError, match="corrupt"):
                read_photo(cut)


def test_a_progressive_jpeg_that_ends_between_two_scans_is_said_to_be_coarse():
    rgb = np.random.default_rng(0).integers(0, 256, (90, 60, 3), dtype=np.uint8)
    contents = encoded(rgb, "jpeg", progressive=True)
    assert read_photo(contents).notes == ()
    for scan in range(1, contents.count(b"\xff\xda")):
        end = contents.index(b"\xff\xda") + 1
        for _ in range(scan):
            end = contents.index(b"\xff\xda", end) + 1
        end = max(contents.rfind(b"\xff\xc4", 0, end), contents.rfind(b"\xff\xda", 0, end - 1))
        notes = read_photo(contents[:end]).notes
        assert notes == ("its end is missing; the picture may be coarse",)


def test_a_comment_that_is_not_utf8_becomes_a_latin1_text(tmp_path):
    image = written(tmp_path, jpeg(segment(0xFE, b"Caf\xe9")), format="png")
    assert image.text == {"Comment": "Café"}
    assert b"tEXtComment\0Caf\xe9" in (tmp_path / "a").read_bytes()
    image = written(tmp_path, (tmp_path / "a").read_bytes())
    assert image.text == {"Comment": "Café"}


def test_texts_of_a_png_keep_their_language_and_corrupt_ones_are_named(tmp_path):
    chunks = [
        chunk(b"iTXt", b"Title\0\0\0de\0" + "Überschrift\0".encode() + CAPTION.encode()),
        chunk(b"zTXt", b"Author\0\0" + zlib.compress(b"Ren\xe9")),
    ]
    corrupt = chunk(b"zTXt", b"Source\0\0garbage")
    image = written(tmp_path, png(*chunks, corrupt))
    assert image.text == {"Title": CAPTION, "Author": "René"}
    assert (image.text["Title"].lang, image.text["Title"].tkey) == ("de", "Überschrift")
    assert b"".join(chunks) in (tmp_path / "a").read_bytes()
    photo = read_photo(png(*chunks, corrupt))
    assert photo.notes == ("a text in it is corrupt or too long, and is not kept",)


def test_xmp_that_is_not_utf8_is_read_and_what_is_no_xml_is_named(tmp_path):
    """Of any prefix; a bare ampersand is escaped."""
    other = XMP.replace(b"rdf:", b"r:").replace(b":rdf", b":r").replace(b"tiff:O", b"t:O")
    other = other.replace(b"xmlns:tiff", b"xmlns:t")
    packets = [XMP, other, XMP.decode().encode("utf-16"), XMP.replace(b'about=""', b'about="&"')]
    for packet in packets:
        image = written(tmp_path, jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet)))
        assert image.size == (8, 12)
        (description,) = ElementTree.fromstring(image.info["xmp"])[0]
        assert description.attrib["{http://ns.adobe.com/tiff/1.0/}Orientation"] == "1"
    wrong = jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP[:-4]))
    photo = read_photo(wrong)
    assert (photo.xmp, photo.notes) == (None, ("its XMP is not well-formed and is not kept",))


@pytest.mark.parametrize("format", ["jpeg", "png"])
def test_a_resolution_that_rounds_to_0_is_left_out(tmp_path, format):
    dpi = 0.3 if format == "jpeg" else 0.01
    image = written(tmp_path, encoded(PICTURE, "png"), format=format, dpi=(dpi, dpi))
    assert "dpi" not in image.info
    assert image.info.get("jfif_density", (1, 1)) == (1, 1)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("gamma", [1.0, 1 / 1.8])
def test_gamma_of_a_png_is_applied(tmp_path, gamma, deep):
    values = PICTURE.astype(np.uint16) * 257 if deep else PICTURE
    contents = cv2.imencode(".png", values[..., ::-1])[1].tobytes()
    most = np.iinfo(values.dtype).max
    light = (values / most) ** (1 / gamma)
    gamma_chunk = chunk(b"gAMA", struct.pack(">I", round(gamma * 1e5)))
    photo = read_photo(contents[:33] + gamma_chunk + contents[33:])
    expected = (light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    expected = np.where(light <= 0.0031308, *expected) * most
    assert abs(photo.rgb - expected).max() < 0.51 + most * 1e-5
    assert photo.notes == ()
    for chunks in (
        chunk(b"sRGB", b"\0") + gamma_chunk,
        chunk(b"gAMA", struct.pack(">I", 45455)),
        chunk(b"gAMA", struct.pack(">I", 0)),
        chunk(b"cICP", b"\1\x0d\0\1"),
    ):
        same = read_photo(contents[:33] + chunks + contents[33:])
        np.testing.assert_array_equal(same.rgb, values)
        assert same.notes == ()
    other = read_photo(contents[:33] + chunk(b"cICP", b"\x09\x10\0\1") + contents[33:])
    assert other.notes == ("its colour space (cICP) is read as if it were sRGB",)
