"""TIFFs that are written come back with all that belongs to them; tifffile and Pillow read too."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image
from profiles import srgb
from skimage import data

from colorjax.images import exif, write_tiff
from colorjax.images.photo import Photo
from colorjax.images.tiff import open_tiff

A = data.astronaut()[40:232:2, 40:180:2]
XMP = b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></rdf:RDF>'
WORDS = "Großmutter, Łódź 祖母".encode() + b"\0"


def entry(kind, value, size=1):
    return exif.Entry(kind, len(value) // size, value)


def block():
    camera = {
        0x9003: entry(2, b"1934:05:06 07:08:09\0"),
        0x9286: entry(7, b"UNICODE\0" + "祖母".encode("utf-16-le")),
        exif.INTEROPERABILITY: exif.Entry(4, 1, {1: entry(2, b"R98\0")}),
    }
    place = {1: entry(2, b"N\0"), 2: entry(5, np.array([48, 1, 12, 1, 7, 2], "<u4").tobytes(), 8)}
    return exif.serialise(
        {
            270: entry(2, WORDS),
            271: entry(2, b"LG\0"),
            272: entry(2, b"X\0"),
            40091: entry(1, "祖母\0".encode("utf-16-le")),
            exif.EXIF: exif.Entry(4, 1, camera),
            exif.GPS: exif.Entry(4, 1, place),
        }
    )


def written(path, *photos):
    write_tiff.write_tiff(path, photos)
    return list(open_tiff(path, 10**6))


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("alpha", [False, True])
def test_pixels_of_every_page(tmp_path, monkeypatch, deep, alpha):
    monkeypatch.setattr(write_tiff, "_STRIP", 5000)  # several strips
    scale = 257 if deep else 1
    kind = np.uint16 if deep else np.uint8
    pictures = [(A * kind(scale)).astype(kind), (A[:50] * kind(scale)).astype(kind)]
    photos = [Photo(x, x[..., 1] if alpha else None, "tiff") for x in pictures]
    for opened, photo in zip(written(tmp_path / "a.tif", *photos), photos, strict=True):
        found = opened.image.numpy()
        np.testing.assert_array_equal(found[..., :3], photo.rgb)
        assert found.shape[2] == (4 if alpha else 3)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        for page, photo in zip(tiff.pages, photos, strict=True):
            found = page.asarray()
            np.testing.assert_array_equal(found[..., :3], photo.rgb)
            assert page.extrasamples == ((2,) if alpha else ())
            if alpha:
                np.testing.assert_array_equal(found[..., 3], photo.alpha)


@pytest.mark.parametrize("big", [False, True])
def test_metadata_come_back_byte_for_byte(tmp_path, monkeypatch, big):
    if big:
        monkeypatch.setattr(write_tiff, "_BIG", 0)
    copyrighted = b"8BIM\x04\x0a\0\0\0\0\0\1\1\0"
    blocks = {"xmp": XMP, "iptc": b"\x1c\x02\x78\x00\x04text", "resources": copyrighted}
    photo = Photo(A, None, "tiff", exif=block(), **blocks, profile=srgb(), dpi=(300, 240))
    opened = written(tmp_path / "a.tif", photo, Photo(A, format="tiff"))
    found = opened[0].photo
    assert {name: getattr(found, name) for name in blocks} == blocks
    assert found.profile == srgb()
    assert found.dpi == (300, 240)
    before, after = exif.parse(photo.exif), exif.parse(found.exif)
    texts = {tag: value.value for tag, value in before.items() if tag not in (exif.EXIF, exif.GPS)}
    assert {tag: value.value for tag, value in after.items() if tag in texts} == texts
    if not big:
        assert after == before
        assert opened[1].photo.exif is None
    assert opened[1].photo.dpi is None
    with Image.open(tmp_path / "a.tif") as image:
        assert image.n_frames == 2
        assert image.tag_v2[270].encode("latin-1") == WORDS[:-1]
        assert image.tag_v2[271] == "LG"
        if not big:
            assert image.getexif().get_ifd(exif.EXIF)[0x9003] == "1934:05:06 07:08:09"
            assert image.getexif().get_ifd(exif.GPS)[2] == (48, 12, 3.5)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert "ImageDescription" not in tiff.pages[1].tags
        assert big or tiff.pages[0].tags["GPSTag"].value["GPSLatitudeRef"] == "N"


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_texts_of_other_programs_in_both_byte_orders(tmp_path, byteorder):
    file = io.BytesIO()
    tags = [(270, 2, len(WORDS), WORDS, True), (271, 2, 3, b"LG\0", True)]
    with tifffile.TiffWriter(file, byteorder=byteorder) as writer:
        writer.write(A, photometric="rgb", metadata=None, software=False, extratags=tags)
    photo = next(open_tiff(file.getvalue(), 10**6)).photo._replace(rgb=A)
    again = written(tmp_path / "a.tif", photo)[0].photo
    for found in (photo, again):
        directory = exif.parse(found.exif)
        assert (directory[270].value, directory[271].value) == (WORDS, b"LG\0")
        assert found.dpi is None


def test_a_corrupt_block_costs_nothing_but_itself(tmp_path):
    (opened,) = written(tmp_path / "a.tif", Photo(A, format="tiff", exif=b"II*\0corrupt"))
    np.testing.assert_array_equal(opened.image.numpy(), A)
