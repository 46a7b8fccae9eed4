import doctest

import cv2
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from skimage import color, data

import colorjax
from colorjax.colorize import colorizer as colorizer_module
from colorjax.colorize import faces, full_size, views
from colorjax.colorize.colorizer import Colorizer
from colorjax.lab import clip_chroma, lab_to_rgb, rgb_to_lab


def hue_of_lightness(variables, l):
    """A hue for each lightness, mostly within sRGB."""
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
@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_lightness_is_kept_at_full_size(colorizer, photo, dtype, channels):
    for shape in ((96, 80), (1, 300), (300, 1), (1, 1), (33, 65), (20, 400)):
        rgb = cv2.resize(photo, shape[::-1])
        grey = rgb if channels == (3,) else rgb[..., 1].reshape(*shape, *channels)
        grey = grey.astype(dtype) * (257 if dtype == np.uint16 else 1)
        coloured = colorizer(grey)
        assert coloured.shape == (*shape, 3)
        assert coloured.dtype == dtype
        before = lightness(grey.reshape(*shape, -1))
        # Rounding a channel by half a level changes the lightness of dark colours by up to 0.5.
        atol = 0.5 if dtype == np.uint8 else 0.01
        np.testing.assert_allclose(lightness(coloured), before, rtol=0, atol=atol)


def test_a_flat_picture_gets_the_predicted_colour_at_any_size(colorizer):
    for side in (20, 32, 200):
        grey = np.full((side, side), 119, np.uint8)
        expected = hue_of_lightness({"turn": 0.04}, lightness(grey[:1, :1, None])[0])
        found = color.rgb2lab(colorizer(grey))[..., 1:]
        np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1.0)


def test_a_list_and_the_two_steps_give_the_same_as_single_pictures(colorizer, photo):
    """Bit for bit, in batches of other sizes and types."""
    pictures = [photo, photo[:50, :, :1], photo[::-1].copy(), photo.astype(np.uint16) * 257] * 2
    coefficients = colorizer.coefficients(pictures)
    assert coefficients[2].shape == (38, 32, 4)
    for i, coloured in enumerate(colorizer(pictures)):
        np.testing.assert_array_equal(colorizer(pictures[i]), coloured)
        np.testing.assert_array_equal(colorizer.full_size(pictures[i], coefficients[i]), coloured)
    assert colorizer([]) == []


def test_pictures_of_similar_sizes_share_compiled_programs(photo):
    traced = []

    def grey(variables, l):
        traced.append(l.shape)
        return jnp.zeros((*l.shape[:-1], 2))

    colorizer = Colorizer(grey, {}, image_size=32)
    for height in range(80, 97, 4):
        colorizer(photo[height - 1 :: -1])  # upside down: no face is found
    assert len(traced) == 2


def test_saturation_multiplies_colour(colorizer, photo):
    none, half, full = (
        np.hypot(*color.rgb2lab(colorizer(photo, x))[..., 1:].transpose(2, 0, 1))
        for x in (0.0, 0.5, 1.0)
    )
    assert none.max() < 1
    assert np.median(half[full > 20] / full[full > 20]) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1", "I;16"])
def test_a_pil_image_gives_a_pil_image(colorizer, photo, mode):
    image = Image.fromarray(photo).convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    if "A" in mode:
        image.putalpha(Image.fromarray(photo[..., 1]))
    image.info |= {"dpi": (300, 300), "icc_profile": b"profile"}
    coloured = colorizer(image)
    assert coloured.size == image.size
    assert coloured.mode == ("RGBA" if "A" in mode else "RGB")
    assert coloured.info["dpi"] == (300, 300)
    assert ("icc_profile" in coloured.info) == (mode in ("RGB", "RGBA", "P"))
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
def test_other_types_and_shapes_are_refused(colorizer, image, error, words):
    with pytest.raises(error, match=words):
        colorizer(image)
    with pytest.raises(error, match=words):
        colorizer([np.zeros((4, 4), np.uint8), image])


def test_the_zoomed_prediction_is_used_near_faces_only(monkeypatch):
    sizes = []

    def by_size(variables, l):
        sizes.append(l.shape[1])
        a = jnp.full(l.shape, 20.0 if l.shape[1] > 32 else -20.0)
        return jnp.concatenate([a, 0 * a], axis=-1)

    monkeypatch.setattr(faces, "face_crops", lambda rgb: [faces.Crop(10, 10, 40)])
    picture = np.full((200, 200), 119, np.uint8)
    colorizer = Colorizer(by_size, {}, image_size=32)
    found = color.rgb2lab(colorizer(picture))
    assert sizes == [32, 160]
    assert colorizer.coefficients([picture[..., None]])[0].dtype == np.float32
    assert found[30, 30, 1] == pytest.approx(20, abs=1)
    assert found[190, 190, 1] == pytest.approx(-20, abs=1)


def test_colours_outside_srgb_lose_chroma(photo):
    ab = np.float32([60.0, -60.0])
    colorizer = Colorizer(lambda _, l: jnp.broadcast_to(ab, (*l.shape[:-1], 2)), {}, image_size=32)
    lab = np.array(rgb_to_lab(jnp.asarray(photo / 255)))
    lab[..., 1:] = ab
    black = (photo == 0).all(-1, keepdims=True)  # remains black
    expected = np.where(black, 0, 255 * lab_to_rgb(clip_chroma(lab)))
    np.testing.assert_allclose(colorizer(photo), expected, atol=1.5)


def test_bands_of_rows_do_not_change_the_result(colorizer, photo, monkeypatch):
    expected = colorizer(photo)
    monkeypatch.setattr(full_size, "CHUNK", 1600)
    np.testing.assert_array_equal(colorizer(photo), expected)


def test_a_large_picture_has_the_colours_of_a_small_one(colorizer, photo, monkeypatch):
    """Its views are made from one that is made smaller first."""
    photo = photo[::-1]  # upside down: no face is found
    (expected,) = colorizer.coefficients([photo])
    monkeypatch.setattr(views, "LARGE_PIXELS", 1000)
    monkeypatch.setattr(views, "REDUCED_SIDE", 80)
    (found,) = colorizer.coefficients([photo])
    assert not np.array_equal(found, expected)
    assert found.shape == expected.shape
    assert abs(found - expected)[..., 2:].mean() < 1.0


def test_the_docstring_example_runs_and_the_package_exports_the_class():
    assert doctest.testmod(colorizer_module).failed == 0
    assert colorjax.Colorizer is Colorizer
    with pytest.raises(AttributeError, match="colorizer"):
        colorjax.colorizer  # noqa: B018
