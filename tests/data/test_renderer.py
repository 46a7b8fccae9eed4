import hashlib
import subprocess
import sys

import numpy as np
import pytest
from skimage.color import rgb2lab

from colorjax.data.procedural.palette import hair_albedo, iris_albedo, light_colour, skin_albedo
from colorjax.data.procedural.renderer import render_face
from colorjax.data.procedural.subject import make_subject
from colorjax.data.procedural.textures import background

_MELANIN = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.43)
_BLOOD = (0.01, 0.03, 0.06, 0.1, 0.26)


def _lab(*triples: tuple[int, int, int]) -> np.ndarray:
    return rgb2lab(np.stack([render_face(*t) for t in triples]) / 255)


def _linear_to_lab(linear: np.ndarray) -> np.ndarray:
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return rgb2lab(srgb[None, None])[0, 0]


def test_same_arguments_give_same_bytes():
    first = render_face(3, 5, 2)
    render_face(0, 1, 1)  # what is drawn between must not matter
    np.testing.assert_array_equal(first, render_face(3, 5, 2))


def test_fresh_process_gives_same_bytes():
    code = (
        "import hashlib; from colorjax.data.procedural.renderer import render_face as r;"
        "print(hashlib.sha256(b''.join(r(3, s, 2).tobytes() for s in range(4))).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = b"".join(render_face(3, s, 2).tobytes() for s in range(4))
    assert done.stdout.strip() == hashlib.sha256(here).hexdigest()


@pytest.mark.parametrize("other", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_another_seed_subject_or_index_gives_another_picture(other):
    difference = render_face(0, 0, 0).astype(int) - render_face(*other)
    assert np.abs(difference).mean() > 5


@pytest.mark.parametrize("size", [16, 64, 112, 129])
def test_picture_is_rgb_bytes_of_the_size_asked_for(size):
    image = render_face(0, 0, 0, size=size)
    assert image.dtype == np.uint8
    assert image.shape == (size, size, 3)
    assert image.flags.c_contiguous


def test_a_smaller_picture_shows_the_same_scene():
    """Mean colours of a 4 × 4 grid agree between sizes; those of another image do not."""

    def blocks(image):
        side = len(image) // 4
        return image.astype(float).reshape(4, side, 4, side, 3).mean((1, 3))

    large = blocks(render_face(0, 7, 0, size=112))
    assert np.abs(large - blocks(render_face(0, 7, 0, size=64))).mean() < 6
    assert np.abs(large - blocks(render_face(0, 7, 1, size=64))).mean() > 12


def test_skin_belongs_to_the_subject():
    """Cheeks: light and shade change L* much, but a* and b* vary more between people."""
    people, images = 24, 5
    lab = _lab(*((0, p, i) for p in range(people) for i in range(images)))
    cheeks = lab[:, 56:72, [*range(36, 48), *range(64, 76)]].reshape(people, images, -1, 3)
    colour = np.median(cheeks, 2)
    within = colour.var(1, ddof=1).mean(0)
    between = colour.mean(1).var(0, ddof=1) - within / images
    assert between[0] > 0.2 * within[0]
    assert between[1:].sum() > within[1:].sum()


def test_identity_does_not_depend_on_the_image():
    first, second = (make_subject(np.random.default_rng([4, 9])) for _ in range(2))
    assert first.hairstyle == second.hairstyle
    np.testing.assert_array_equal(first.skin, second.skin)


def test_pictures_are_coloured_as_photographs_are():
    """Design.md: on real faces grey has an MSE of 265, and the mean colour 141."""
    ab = _lab(*((2, p, 0) for p in range(80)))[..., 1:]
    assert 200 < (ab**2).mean() < 500
    assert 100 < ((ab - ab.mean((0, 1, 2))) ** 2).mean() < 280
    assert ((ab**2).mean((1, 2, 3)) > 30).all()


def test_colour_can_be_guessed_from_lightness_and_place():
    """The centre of a face is skin: its hue lies in a narrow band, far from grey."""
    ab = _lab(*((5, p, 0) for p in range(60)))[:, 54:74, 38:74, 1:]
    a, b = np.median(ab.reshape(60, -1, 2), axis=1).T
    assert ((a > 3) & (b > 3)).mean() > 0.95
    assert np.hypot(a.std(), b.std()) < np.hypot(a.mean(), b.mean()) / 2


def test_lips_are_redder_than_skin():
    for number in range(20):
        person = make_subject(np.random.default_rng([0, number]))
        lips, skin = _linear_to_lab(person.lips), _linear_to_lab(person.skin)
        assert lips[1] - lips[2] > skin[1] - skin[2]


def test_few_pixels_are_clipped():
    images = np.stack([render_face(1, p, 0) for p in range(60)])
    assert (images == 255).any(-1).mean() < 0.02
    assert (images == 0).all(-1).mean() < 0.01
    assert 70 < images.mean() < 160


@pytest.mark.parametrize("blood", _BLOOD)
def test_more_melanin_is_darker(blood):
    albedo = np.stack([skin_albedo(m, blood) for m in _MELANIN])
    assert (np.diff(albedo[:, :2], axis=0) < 0).all()
    # The darkest skins differ least in blue, where sRGB's primary has negative lobes.
    assert (np.diff(albedo[:, 2]) < 2e-3).all()


@pytest.mark.parametrize("melanin", _MELANIN)
def test_more_blood_is_redder_and_darker(melanin):
    albedo = np.stack([skin_albedo(melanin, b) for b in _BLOOD])
    assert (np.diff(albedo[:, 0] / albedo[:, 1]) > 0).all()
    assert (np.diff(albedo[:, 1]) < 0).all()


def test_albedos_lie_in_srgb():
    skins = [skin_albedo(m, b) for m in _MELANIN for b in _BLOOD]
    hairs = [hair_albedo(e, p, g) for e in (0.08, 1, 6) for p in (0, 1.2) for g in (0, 1)]
    irises = [iris_albedo(m) for m in np.linspace(0, 1, 9)]
    albedos = np.stack(skins + hairs + irises)
    assert albedos.dtype == np.float32
    assert (albedos > 0).all()
    assert (albedos < 1).all()


def test_human_skin_spans_pale_to_dark_at_its_hue():
    """L*, a*, b* of human skin as measured: Xiao et al. 2017, Skin Research and Technology."""
    pale, brown, dark = (_linear_to_lab(skin_albedo(m, 0.03)) for m in (0.012, 0.1, 0.34))
    assert 70 < pale[0] < 82
    assert 45 < brown[0] < 62
    assert 25 < dark[0] < 40
    for colour in (pale, brown, dark):
        assert 5 < colour[1] < 20
        assert 5 < colour[2] < 30


def test_warm_light_is_redder_than_cold_light():
    warm, cold = light_colour(3200), light_colour(8000)
    assert warm[0] / warm[2] > 1 > cold[0] / cold[2]
    np.testing.assert_allclose(light_colour(5500), 1, rtol=1e-6)


def test_backgrounds_are_finite_at_every_size():
    for number in range(60):
        scene = background(np.random.default_rng(number), 16 + number)
        assert scene.shape == (3, 16 + number, 16 + number)
        assert np.isfinite(scene).all()
        assert scene.min() > 0


@pytest.mark.filterwarnings("error")
def test_nothing_overflows_in_any_pose():
    with np.errstate(all="raise", under="ignore"):
        for number in range(60):
            render_face(9, number, number, size=48)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0, 0, 15), "size must be at least 16 pixels, but is 15"),
        ((0, 0, -1), "index must be 0 or more, but is -1"),
        ((0, -2, 0), "subject must be 0 or more, but is -2"),
        ((-3, 0, 0), "seed must be 0 or more, but is -3"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        render_face(*arguments)
