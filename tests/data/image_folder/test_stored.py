"""What is stored of an image: its own bytes, or what people see in it."""

import io

import cv2
import numpy as np
import pytest
from image_files import encoded
from PIL import Image
from profiles import adobe, srgb

from colorjax.data.image_folder.stored import MAX_PIXELS, as_stored, colourful_share
from colorjax.data.procedural.renderer import render_face
from colorjax.images.decode import decode
from colorjax.images.photo import on_white, read_photo, to_bytes


def face():
    """Without the camera's noise, of which a JPEG keeps little."""
    return cv2.GaussianBlur(render_face(0, 3, 2, 48), (0, 0), 3)


@pytest.mark.parametrize("format", ["jpeg", "png"])
@pytest.mark.parametrize("profile", [None, srgb(), b"no profile"])
def test_a_file_that_opencv_decodes_correctly_is_stored_as_it_is(format, profile):
    for mode in ("RGB", "L"):
        data = encoded(Image.fromarray(face()).convert(mode), format, icc_profile=profile)
        assert as_stored(data).data is data


def others():
    image = Image.fromarray(face())
    transparent = Image.fromarray(
        np.dstack([face(), np.uint8(np.arange(48 * 48) % 256).reshape(48, 48)])
    )
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    yield "png", encoded(image, "webp", lossless=True)
    yield "png", encoded(image, "tiff", compression="jpeg")
    yield "png", encoded(image.quantize(32), "bmp")
    yield "png", encoded(transparent, "png")
    yield "png", encoded(image, "png", icc_profile=adobe()[0])
    yield "png", cv2.imencode(".png", deep)[1].tobytes()
    yield "jpeg", encoded(image, "jpeg", quality=95, icc_profile=adobe()[0])
    yield "jpeg", encoded(image.convert("CMYK"), "jpeg", quality=95)


def test_any_other_file_is_stored_as_a_plain_one_that_looks_the_same():
    for kind, data in others():
        stored, rgb = as_stored(data)
        photo = read_photo(data)
        np.testing.assert_array_equal(rgb, to_bytes(on_white(photo.rgb, photo.alpha)))
        assert abs(decode(stored).astype(int) - rgb).max() <= (6 if kind == "jpeg" else 0)
        with Image.open(io.BytesIO(stored)) as image:
            assert (image.format, image.mode) == (kind.upper(), "RGB")
            assert "icc_profile" not in image.info


@pytest.mark.parametrize("format", ["jpeg", "png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_file_is_upright_when_training_decodes_it(format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored, rgb = as_stored(encoded(face()[:32], format, exif=exif))
    assert rgb.shape == ((48, 32, 3) if orientation > 4 else (32, 48, 3))
    assert abs(decode(stored).astype(int) - rgb).max() <= 2


def test_the_first_of_several_pictures_is_stored():
    rest = [Image.fromarray(255 - face())]
    data = encoded(face(), "tiff", save_all=True, append_images=rest)
    np.testing.assert_array_equal(decode(as_stored(data).data), face())


def test_more_pixels_than_training_takes_are_refused(monkeypatch):
    assert MAX_PIXELS == 100_000_000
    monkeypatch.setattr("colorjax.data.image_folder.stored.MAX_PIXELS", 48 * 48 - 1)
    with pytest.raises(ValueError, match="at most 0 million"):
        as_stored(encoded(face(), "png"))


def test_the_colourful_share_counts_pixels_above_the_chroma():
    rgb = np.full((100, 100, 3), 128, np.uint8)
    assert colourful_share(rgb, 5.0) == 0
    rgb[:10] = (200, 40, 40)
    assert colourful_share(rgb, 5.0) == pytest.approx(0.1)
