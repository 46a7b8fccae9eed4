import doctest

import cv2
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from skimage import color, data

import colorjax
from colorjax import display
from colorjax.colorize import colorizer as colorizer_module
from colorjax.colorize import faces
from colorjax.colorize.colorizer import Colorizer
from colorjax.parallel import devices
from colorjax.terminal.errors import InputError


def hue_of_lightness(variables, l):
    """Another hue for another lightness, within sRGB for most."""
    angle = variables["turn"] * l
    return 25 * jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=-1)


@pytest.fixture(scope="module")
def colorizer():
    return Colorizer(hue_of_lightness, {"turn": jnp.float32(0.04)}, image_size=32, batch_size=4)


@pytest.fixture(scope="module")
def photo():
    """[96, 80, 3] uint8."""
    return cv2.resize(data.astronaut()[:300, 100:350], (80, 96), interpolation=cv2.INTER_AREA)


def lightness(rgb):
    top = np.iinfo(rgb.dtype).max
    return color.rgb2lab(np.broadcast_to(rgb, (*rgb.shape[:2], 3)) / top)[..., 0]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(96, 80), (1, 300), (300, 1), (1, 1), (33, 65), (20, 400)])
@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_lightness_stays_at_full_size(colorizer, photo, dtype, shape, channels):
    rgb = cv2.resize(photo, shape[::-1])
    grey = rgb if channels == (3,) else rgb[..., 1].reshape(*shape, *channels)
    grey = grey.astype(dtype) * (257 if dtype == np.uint16 else 1)
    coloured = colorizer(grey)
    assert coloured.shape == (*shape, 3)
    assert coloured.dtype == dtype
    before = lightness(grey.reshape(*shape, -1))
    # Rounding a channel by half a level moves a dark colour's lightness by up to half a unit.
    atol = 0.5 if dtype == np.uint8 else 0.01
    np.testing.assert_allclose(lightness(coloured), before, rtol=0, atol=atol)


def test_colours_are_those_of_the_model(colorizer):
    """Of a flat picture at any size: what the model says of its lightness."""
    for side in (20, 32, 200):
        grey = np.full((side, side), 119, np.uint8)
        l = color.rgb2lab(np.full((1, 1, 3), 119, np.uint8))[0, 0, 0]
        expected = hue_of_lightness({"turn": 0.04}, jnp.array([l]))
        found = color.rgb2lab(colorizer(grey))[..., 1:]
        np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1.0)


def test_a_list_gives_what_each_gives_alone(colorizer, photo):
    """Bit for bit, in batches of other sizes and kinds."""
    pictures = [photo, photo[:50, :, 0], photo[::-1].copy(), photo.astype(np.uint16) * 257] * 2
    for one, together in zip(pictures, colorizer(pictures), strict=True):
        np.testing.assert_array_equal(colorizer(one), together)
    assert colorizer([]) == []


def test_each_size_is_compiled_once(colorizer, photo):
    colorizer(photo)
    compiled = colorizer._lab._cache_size()
    for height in range(80, 97, 4):
        colorizer(photo[:height])
    # 80 and more are 32 to 38 at the size of the model: two buckets.
    assert colorizer._lab._cache_size() <= compiled + 1


def test_saturation_multiplies_colour(colorizer, photo):
    none, half, whole = (
        np.hypot(*color.rgb2lab(colorizer(photo, x))[..., 1:].transpose(2, 0, 1))
        for x in (0.0, 0.5, 1.0)
    )
    assert none.max() < 1
    assert np.median((half / whole)[whole > 20]) == pytest.approx(0.5, abs=0.03)


def test_a_grey_picture_and_its_sepia_print_get_the_same_colours(colorizer, photo):
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    sepia = colorizer(grey)  # of the same lightness up to rounding
    assert abs(colorizer(sepia).astype(int) - colorizer(grey)).mean() < 0.5
    assert abs(sepia[..., 0].astype(int) - sepia[..., 2]).mean() > 20


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1", "I;16"])
def test_a_pil_image_gives_one(colorizer, photo, mode):
    image = Image.fromarray(photo).convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    if "A" in mode:
        image.putalpha(Image.fromarray(photo[..., 1]))
    image.info["dpi"] = (300, 300)
    coloured = colorizer(image)
    assert coloured.size == image.size
    assert coloured.mode == ("RGBA" if "A" in mode else "RGB")
    assert coloured.info["dpi"] == (300, 300)
    if "A" in mode:
        np.testing.assert_array_equal(np.asarray(coloured)[..., 3], photo[..., 1])


@pytest.mark.parametrize(
    ("image", "error", "words"),
    [
        ("a.jpg", TypeError, "str"),
        (np.zeros((4, 4)), TypeError, "float64"),
        (np.zeros((4, 4, 2), np.uint8), ValueError, r"\(4, 4, 2\)"),
        (np.zeros((0, 4), np.uint8), ValueError, r"\(0, 4, 1\)"),
        (None, TypeError, "NoneType"),
    ],
)
def test_what_is_no_image_is_refused(colorizer, image, error, words):
    with pytest.raises(error, match=words):
        colorizer(image)
    with pytest.raises(error, match=words):
        colorizer([np.zeros((4, 4), np.uint8), image])


def test_a_picture_with_a_face_in_it_is_seen_larger_near_the_face(colorizer, monkeypatch):
    """The colour of a picture with a small face is the zoomed view's there, the whole's far off."""
    sizes = []

    def by_size(variables, l):
        sizes.append(l.shape[1])
        a = jnp.full(l.shape, 20.0 if l.shape[1] > 32 else -20.0)
        return jnp.concatenate([a, 0 * a], axis=-1)

    monkeypatch.setattr(faces, "face_crops", lambda rgb: [faces.Crop(10, 10, 40)])
    picture = np.full((200, 200), 119, np.uint8)
    found = color.rgb2lab(Colorizer(by_size, {}, image_size=32)(picture))
    assert sizes == [32, 160]
    assert found[30, 30, 1] == pytest.approx(20, abs=1)
    assert found[190, 190, 1] == pytest.approx(-20, abs=1)


def test_colours_beyond_srgb_are_those_of_an_image_of_the_model_s_size(photo):
    def vivid(variables, l):
        return jnp.broadcast_to(jnp.float32([60.0, -60.0]), (*l.shape[:-1], 2))

    _, expected = display.colorize(vivid, {}, jnp.asarray(photo[None]))
    np.testing.assert_allclose(Colorizer(vivid, {}, 32)(photo), expected[0], atol=1)


def test_bands_do_not_show(colorizer, photo, monkeypatch):
    whole = colorizer(photo)
    monkeypatch.setattr(colorizer_module, "CHUNK", 1600)
    np.testing.assert_array_equal(colorizer(photo), whole)


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="there is no device 'tpu'; JAX finds cpu"):
        devices.one_device("tpu")


def test_the_example_of_the_docstring_is_true():
    assert doctest.testmod(colorizer_module).failed == 0


def test_the_package_itself_has_the_colorizer_and_nothing_else():
    assert colorjax.Colorizer is Colorizer
    with pytest.raises(AttributeError, match="colorizer"):
        colorjax.colorizer  # noqa: B018
