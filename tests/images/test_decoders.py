"""BMP, HEIC and AVIF, compared with Pillow."""

import io
import struct
import sys

import numpy as np
import pytest
from image_files import encoded
from PIL import Image, ImageOps
from profiles import adobe

from colorjax.images import exif
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
