"""BMP, HEIC and AVIF, compared with Pillow."""

import io
import struct
import sys
import zlib

import cv2
import numpy as np
import pytest
from image_files import encoded
from PIL import BmpImagePlugin, Image, ImageOps
from profiles import adobe

from colorjax.images import exif, reasons
from colorjax.images.photo import Photo, open_photo, output_suffix, read_photo
from colorjax.images.write_photo import write_photo

PICTURE = np.kron(
    np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8),
    np.ones((16, 16, 1), np.uint8),
)
SIDEWAYS = exif.serialise({exif.ORIENTATION: exif.Entry(3, 1, b"\6\0")})


@pytest.mark.parametrize("width", [1, 2, 3, 4, 61])
def test_bmps_are_read_in_rows_and_written_as_pillow_reads_them(tmp_path, width):
    rgb = np.random.default_rng(1).integers(0, 256, (5, width, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(tmp_path / "a.bmp")
    for source in (tmp_path / "a.bmp", (tmp_path / "a.bmp").read_bytes()):
        np.testing.assert_array_equal(read_photo(source).rgb, rgb)
    write_photo(tmp_path / "b.bmp", Photo(rgb, format="bmp", dpi=(300, 200)))
    with Image.open(tmp_path / "b.bmp") as image:
        np.testing.assert_array_equal(np.asarray(image), rgb)
        assert image.info["dpi"] == pytest.approx((300, 200), abs=0.02)


def test_a_bmp_with_alpha_keeps_it():
    rgba = np.random.default_rng(1).integers(0, 256, (16, 16, 4), dtype=np.uint8)
    masks = 0xFF, 0xFF00, 0xFF0000, 0xFF000000
    header = struct.pack("<IiiHHIIiiII4I", 56, 16, 16, 1, 32, 3, rgba.nbytes, 0, 0, 0, 0, *masks)
    start = struct.pack("<2sIII", b"BM", 70 + rgba.nbytes, 0, 70)
    photo = read_photo(start + header + rgba[::-1].tobytes())
    np.testing.assert_array_equal(np.dstack([photo.rgb, photo.alpha]), rgba)


def pillow_as(contents):
    with Image.open(io.BytesIO(contents)) as image:
        return np.asarray(image.convert("RGB"))


def headed(rows, width, height, bits, palette=b"", compression=0, size=0):
    """A BMP of rows as they are stored."""
    start = 54 + len(palette)
    head = struct.pack("<2sIII", b"BM", start + len(rows), 0, start)
    colours = len(palette) // 4
    head += struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, bits, compression, size, 0, 0, colours, 0
    )
    return head + palette + rows


@pytest.mark.parametrize("width", [1, 3, 4, 61])
@pytest.mark.parametrize("height", [5, -5])
@pytest.mark.parametrize("bits", [8, 24, 32])
def test_plain_bmps_are_read_in_rows_as_pillow_reads_them(
    tmp_path, monkeypatch, width, height, bits
):
    rng = np.random.default_rng(0)
    stride = (width * bits + 31) // 32 * 4
    rows = rng.integers(0, 200, (5, stride), np.uint8).tobytes()
    palettes = [b""] if bits > 8 else [rng.bytes(4 * 256), rng.bytes(4 * 100)]
    if bits == 8:
        palettes.append(np.repeat(np.arange(256, dtype=np.uint8), 4).tobytes())
    for palette in palettes:
        contents = headed(rows, width, height, bits, palette)
        expected = pillow_as(contents)
        (tmp_path / "a.bmp").write_bytes(contents)
        with monkeypatch.context() as patched:
            patched.setattr(BmpImagePlugin.BmpImageFile, "load", None)  # not decoded by Pillow
            for source in (tmp_path / "a.bmp", contents):
                np.testing.assert_array_equal(read_photo(source).rgb, expected)
        for source in (tmp_path / "a.bmp", contents[:-1]):
            (tmp_path / "a.bmp").write_bytes(contents[:-1])
            with pytest.raises(ValueError, match="truncated"):
                read_photo(source)


def test_a_compressed_bmp_that_is_cut_is_corrupt():
    rows = b"".join(bytes([7, level, 0, 0]) for level in range(0, 200, 10)) + b"\0\1"
    palette = np.repeat(np.arange(256, dtype=np.uint8), 4).tobytes()
    contents = headed(rows, 7, 20, 8, palette, compression=1, size=len(rows))
    np.testing.assert_array_equal(read_photo(contents).rgb, pillow_as(contents))
    with pytest.raises(ValueError, match=r"is corrupt or truncated \(not enough image data\)"):
        read_photo(contents[:-50])


def test_what_is_decoded_as_a_whole_has_a_lower_limit(monkeypatch):
    monkeypatch.setattr(reasons, "MAX_WHOLE", PICTURE[..., 0].size - 1)
    progressive = encoded(PICTURE, "jpeg", progressive=True)
    interlaced = cv2.imencode(".png", PICTURE)[1].tobytes()
    interlaced = interlaced[:28] + b"\1" + interlaced[29:]
    kinds = {
        "progressive JPEGs": progressive,
        "interlaced PNGs": interlaced[:29]
        + struct.pack(">I", zlib.crc32(interlaced[12:29]))
        + interlaced[33:],
        "BMPs of this kind": encoded(Image.fromarray(PICTURE).convert("1"), "bmp"),
        "HEICs": heic(),
        "AVIFs": encoded(PICTURE, "avif"),
    }
    for kind, contents in kinds.items():
        with pytest.raises(
            ValueError, match=f"64 × 48 pixels; .* {kind}, which are decoded as a whole"
        ):
            read_photo(contents)
    for contents in (encoded(PICTURE, "jpeg"), encoded(PICTURE, "png"), encoded(PICTURE, "bmp")):
        assert read_photo(contents).rgb.shape == PICTURE.shape


def test_an_animated_avif_is_said_to_be_one():
    frames = {"save_all": True, "append_images": [Image.fromarray(255 - PICTURE)]}
    with pytest.raises(ValueError, match="holds several pictures"):
        read_photo(encoded(PICTURE, "avif", **frames))


def heic(**options):
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(PICTURE)).save(file, quality=95, **options)
    return file.getvalue()


def test_heics_are_read_upright_and_written_as_jpegs():
    photo = read_photo(heic(exif=SIDEWAYS, icc_profile=adobe()[0]))
    assert photo.format == "jpeg"
    assert exif.orientation(photo.exif) in (0, 1)
    assert photo.profile == adobe()[0]
    assert photo.rgb.shape == (64, 48, 3)
    turned = np.rot90(photo.rgb)
    blocks = turned.reshape(3, 16, 4, 16, 3)[:, 8, :, 8].astype(int)
    assert abs(blocks - adobe()[1](PICTURE[8::16, 8::16])).mean() < 8
    with pytest.raises(ValueError, match="× 48 pixels; at most 0 million"):
        list(open_photo(heic(), max_pixels=100))
    with pytest.raises(ValueError, match="corrupt"):
        read_photo(heic()[:300])


def test_without_the_extra_a_heic_says_what_to_install(monkeypatch):
    contents = heic()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(
        ValueError, match=r"pip install 'colorjax\[heic\]'.*pip install '\.\[heic\]'"
    ):
        read_photo(contents)


@pytest.mark.parametrize("orientation", [1, 6])
def test_avifs_are_read_as_pillow_reads_them(orientation):
    block = SIDEWAYS.replace(b"\6\0", bytes([orientation, 0]))
    options = {"quality": 100, "subsampling": "4:4:4", "exif": b"Exif\0\0" + block}
    contents = encoded(PICTURE, "avif", **options)
    photo = read_photo(contents)
    with Image.open(io.BytesIO(contents)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert photo.rgb.shape == expected.shape
    assert abs(photo.rgb.astype(int) - expected).max() <= 3
    assert photo.format == "jpeg"


def test_suffixes_of_results(tmp_path):
    names = {
        "a.JPE": ".JPE",
        "a.jfif": ".jfif",
        "a.heic": ".jpg",
        "A.HEIF": ".jpg",
        "a.avif": ".jpg",
    }
    assert {name: output_suffix(tmp_path / name) for name in names} == names
