"""Hints, candidates, uncertainty and suggestions, with a tiny model of random weights."""

import cv2
import hinted
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import support
from PIL import Image
from skimage import color, data

from colorjax.colorize import faces
from colorjax.colorize.colorizer import Colorizer
from colorjax.lab import rgb_to_lab
from colorjax.models import answers
from colorjax.models.answers import candidates, uncertainty
from colorjax.models.layers import enlarge
from colorjax.models.variables import generate, model_predictor
from colorjax.terminal.errors import InputError

BROWN = "#c08060"


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with support.quick_compilation():
        yield


@pytest.fixture(scope="module")
def colorizer():
    return hinted.colorizer()


@pytest.fixture(scope="module")
def photo():
    """[48, 40, 3] uint8: upside down, so that no face is found."""
    return cv2.resize(data.astronaut()[300::-1, 100:350], (40, 48), interpolation=cv2.INTER_AREA)


@pytest.fixture
def face(monkeypatch):
    """Every picture has a face, so that there is a zoomed view."""
    monkeypatch.setattr(faces, "face_crops", lambda rgb: [faces.Crop(4, 6, 20)])


@jax.jit
def deviation(variables, l):
    return uncertainty(generate(hinted.model().generator, variables, l))


def lab_of(image):
    return color.rgb2lab(np.asarray(image) / 255)


@pytest.mark.parametrize("zoomed", [False, True])
def test_without_hints_nothing_has_changed(colorizer, photo, zoomed, request):
    """Bit for bit: a model without the hints' and the distribution's parts, a plain function as
    predictor, no hints, empty ones, and a picture beside one that has some.
    """
    if zoomed:
        request.getfixturevalue("face")
    plain = hinted.model(hints=0.0, distribution=0.0)
    expected = Colorizer(model_predictor(plain.generator), plain.variables, 32)(photo)

    def predictor(variables, l):
        return 110 * plain.generator.apply(variables, l / 50 - 1).ab

    assert np.ptp(lab_of(expected)[..., 1]) > 2
    np.testing.assert_array_equal(Colorizer(predictor, plain.variables, 32)(photo), expected)
    np.testing.assert_array_equal(colorizer(photo), expected)
    np.testing.assert_array_equal(colorizer(photo, hints=[]), expected)
    _, beside = colorizer([photo, photo], hints=[[(3, 4, BROWN)], None])
    np.testing.assert_array_equal(beside, expected)


@pytest.mark.parametrize("zoomed", [False, True])
def test_a_hint_changes_the_picture_around_it(colorizer, photo, zoomed, request):
    if zoomed:
        request.getfixturevalue("face")
    (x, y) = (12, 30)
    before, after = lab_of(colorizer(photo)), lab_of(colorizer(photo, hints=[(x, y, "#2040ff")]))
    change = np.linalg.norm((after - before)[..., 1:], axis=-1)
    np.testing.assert_allclose(after[..., 0], before[..., 0], atol=1.0)
    assert change[y - 3 : y + 4, x - 3 : x + 4].mean() > change.mean() > 0


def test_each_picture_of_a_list_gets_its_own_hints(colorizer, photo):
    other = np.ascontiguousarray(photo[:, ::-1])
    given = [[(3, 4, BROWN)], [(20, 30, "#2040ff"), (21, 5, BROWN)]]
    both = colorizer([photo, other], hints=given)
    for image, hints, found in zip((photo, other), given, both, strict=True):
        np.testing.assert_array_equal(colorizer(image, hints=hints), found)


def test_hints_are_in_pixels_of_the_upright_picture(colorizer, photo):
    turned = Image.fromarray(np.rot90(photo))
    turned.getexif()[0x0112] = 6  # to be turned by 90° clockwise
    hints = [(3, 44, BROWN)]
    np.testing.assert_array_equal(colorizer(turned, hints=hints), colorizer(photo, hints=hints))


def test_the_first_candidates_of_more_are_the_same_and_all_differ(colorizer, photo):
    few, more = colorizer.candidates(photo, 2), colorizer.candidates(photo, 4)
    for x, y in zip(few, more[:2], strict=True):
        np.testing.assert_array_equal(x, y)
    means = [lab_of(image)[..., 1:].mean((0, 1)) for image in more]
    for i, image in enumerate(more):
        assert (image.shape, image.dtype) == (photo.shape, np.uint8)
        np.testing.assert_allclose(lab_of(image)[..., 0], lab_of(photo)[..., 0], atol=0.7)
        assert all(np.linalg.norm(means[i] - means[j]) > 0.5 for j in range(i))


def test_candidates_are_those_of_the_model_in_each_view(colorizer, photo, face, monkeypatch):
    """The face crop is half the picture: the zoomed view has twice the size."""
    monkeypatch.setattr(faces, "REACH", 0.75)  # so that there is a place far from the face
    square = np.ascontiguousarray(photo[:40])
    run = hinted.model()
    small = cv2.resize(square, (32, 32), interpolation=cv2.INTER_AREA)
    large = cv2.resize(square, (64, 64), interpolation=cv2.INTER_CUBIC)
    (coefficients,) = colorizer.candidate_coefficients([square], 3)
    of_model = jax.jit(lambda *x: candidates(generate(run.generator, *x), 3))
    near, far = np.s_[26:28, 24:26], np.s_[60:, 60:]
    for i, maps in enumerate(coefficients):
        assert maps.shape == (64, 64, 4)
        for view, place in ((large, near), (small, far)):
            lab = np.asarray(rgb_to_lab(jnp.asarray(view[None] / np.float32(255))))
            ab = np.asarray(of_model(run.variables, lab[..., :1]))[i, 0]
            if view is small:
                ab = cv2.resize(ab, (64, 64), interpolation=cv2.INTER_LINEAR)
            l = np.asarray(rgb_to_lab(jnp.asarray(large / np.float32(255))))[..., :1]
            np.testing.assert_allclose(
                (maps[..., :2] * l + maps[..., 2:])[place], ab[place], atol=0.02
            )


def test_candidates_take_hints_saturation_and_pil_images(colorizer, photo):
    image = Image.fromarray(photo)
    image.putalpha(99)
    found = colorizer.candidates(image, 2, saturation=0.0, hints=[(3, 4, BROWN)])
    assert [(one.mode, one.size) for one in found] == 2 * [("RGBA", image.size)]
    assert abs(lab_of(found[1].convert("RGB"))[..., 1:]).max() < 1
    free, hinted_ = (
        colorizer.candidates(photo, 2, hints=hints)[1] for hints in (None, [(20, 20, BROWN)])
    )
    assert not np.array_equal(free, hinted_)


def test_the_uncertainty_has_the_size_of_the_picture_and_is_the_model_s(colorizer, photo):
    large = cv2.resize(photo, (400, 480))
    assert colorizer.uncertainty(large).shape == (480, 400)
    small = np.ascontiguousarray(photo[:32, :32])
    found = colorizer.uncertainty(Image.fromarray(small))
    assert found.dtype == np.float32
    run = hinted.model()
    l = rgb_to_lab(jnp.asarray(small[None] / np.float32(255)))[..., :1]
    of_model = deviation(run.variables, l)
    np.testing.assert_allclose(found, enlarge(of_model[..., None], 4)[0, ..., 0], rtol=1e-4)
    assert found.min() > 0
    assert np.ptp(found) > 3


def test_the_uncertainty_near_faces_is_that_of_the_zoomed_view(colorizer, photo, face):
    square = np.ascontiguousarray(photo[:40])
    run = hinted.model()
    view = cv2.resize(square, (64, 64), interpolation=cv2.INTER_CUBIC)
    l = rgb_to_lab(jnp.asarray(view[None] / np.float32(255)))[..., :1]
    zoomed = enlarge(deviation(run.variables, l)[..., None], 4)
    (found,) = colorizer.uncertainty_maps([square])
    assert found.shape == (64, 64)
    np.testing.assert_allclose(found[24:28, 22:26], zoomed[0, 24:28, 22:26, 0], rtol=1e-4)


@pytest.mark.parametrize("zoomed", [False, True])
def test_suggestions_have_the_lightness_of_the_pixel(colorizer, photo, zoomed, request):
    if zoomed:
        request.getfixturevalue("face")
    for image in (photo, photo[..., 1], photo.astype(np.uint16) * 257):
        for x, y in ((0, 0), (39, 47), (12, 16), (20.7, 3.2)):
            found = colorizer.suggest(image, x, y, count=400)
            shares = [share for _, share in found]
            assert all(0 < share <= 1 for share in shares)
            assert sum(shares) <= 1 + 1e-9
            assert sum(shares) == pytest.approx(1, abs=1e-6)
            assert shares == sorted(shares, reverse=True)
            assert len({colour for colour, _ in found}) == len(found)
            assert colorizer.suggest(image, x, y, count=2) == found[:2]
            grey = np.broadcast_to(photo[int(y), int(x), 1], 3)
            pixel = photo[int(y), int(x)] if image.ndim == 3 else grey
            for colour, _ in found:
                rgb = np.array(list(bytes.fromhex(colour[1:])))
                # Half a level of a channel, of dark colours.
                assert lab_of(rgb)[0] == pytest.approx(lab_of(pixel)[0], abs=0.7)


def test_suggestions_near_given_faces_are_those_of_found_ones(colorizer, photo, request):
    without = colorizer.suggest(photo, 12, 16, crops=[])
    request.getfixturevalue("face")
    (crops,) = colorizer.find_faces([photo])
    found = colorizer.suggest(photo, 12, 16)
    assert colorizer.suggest(photo, 12, 16, crops=crops) == found
    assert colorizer.suggest(photo, 12, 16, crops=[]) == without != found


def test_suggestions_follow_hints_and_black_has_no_colour(colorizer, photo):
    free, given = (colorizer.suggest(photo, 12, 30, hints=h) for h in (None, [(12, 30, BROWN)]))
    assert free != given
    black = np.zeros((40, 40), np.uint8)
    assert colorizer.suggest(black, 3, 3) == [("#000000", pytest.approx(1))]


@pytest.mark.parametrize("place", [(-1, 0), (40, 0), (0, 48), (float("nan"), 0)])
def test_a_place_outside_the_picture_is_refused(colorizer, photo, place):
    with pytest.raises(InputError, match="is outside the picture of 40×48 pixels"):
        colorizer.suggest(photo, *place)


def test_wrong_hints_and_counts_are_refused(colorizer, photo):
    for hints, words in (
        ([(40, 0, BROWN)], "outside the upright picture of 40×48"),
        ([(1, 2)], "a hint is"),
    ):
        for call in (colorizer, colorizer.uncertainty):
            with pytest.raises(InputError, match=words):
                call(photo, hints=hints)
    with pytest.raises(InputError, match="as many lists or None"):
        colorizer([photo, photo], hints=[[(1, 2, BROWN)]])
    with pytest.raises(InputError, match="count=0"):
        colorizer.candidates(photo, 0)


def test_a_model_without_the_part_says_what_to_do(photo, tmp_path):
    without = hinted.colorizer(distribution=0.0, hints=0.0)
    for call in (
        lambda: without.candidates(photo, 2),
        lambda: without.uncertainty(photo),
        lambda: without.suggest(photo, 1, 2),
        lambda: Colorizer.load(hinted.exported(tmp_path, distribution=0.0), temperature=0.4),
    ):
        with pytest.raises(InputError, match=r"no distribution .* config\.distribution above 0"):
            call()
    with pytest.raises(InputError, match=r"takes no hints.* config\.hints above 0"):
        without(photo, hints=[(1, 2, BROWN)])
    plain = Colorizer(lambda _, l: jnp.zeros((*l.shape[:-1], 2)), {}, 32)
    with pytest.raises(InputError, match="takes no hints"):
        plain(photo, hints=[(1, 2, BROWN)])


def test_a_model_answers_with_its_own_temperature_or_the_one_asked_for(photo, tmp_path):
    run = hinted.model()
    path = hinted.exported(tmp_path, temperature=0.5)

    def expected(temperature):
        return Colorizer(model_predictor(run.generator, temperature), run.variables, 32)(photo)

    for temperature in (0, 0.5, 1.0):
        found = Colorizer.load(path, temperature=temperature)(photo)
        np.testing.assert_array_equal(found, expected(temperature))
    np.testing.assert_array_equal(Colorizer.load(path)(photo), expected(0.5))
    assert not np.array_equal(expected(0.5), expected(0.0))
    for temperature in (-0.1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="it must be 0 or in"):
            Colorizer.load(path, temperature=temperature)


def test_other_temperatures_compile_nothing(colorizer, photo, monkeypatch):
    traced, answer = [], answers.answer
    monkeypatch.setattr(answers, "answer", lambda *given: traced.append(given) or answer(*given))
    found = [colorizer.variant(0.31)(photo)]
    count = len(traced)
    found += [colorizer.variant(temperature)(photo) for temperature in (0.05, 2.7)]
    assert len(traced) == count
    assert not any(np.array_equal(found[0], other) for other in found[1:])
    np.testing.assert_array_equal(colorizer.variant(0)(photo), colorizer(photo))


@pytest.mark.parametrize("hints", [None, [(3, 4, BROWN)]])
@pytest.mark.parametrize("temperature", [0, 0.4])
def test_one_program_gives_the_same_as_its_own_one(colorizer, photo, hints, temperature):
    variants = [colorizer.variant(temperature, one_program=x) for x in (False, True)]
    own, one = (variant(photo, hints=hints) for variant in variants)
    difference = abs(own.astype(int) - one)
    assert difference.max() <= 1
    assert difference.mean() < 0.01


def test_equal_generators_share_a_predictor():
    generators = [jax.tree.map(lambda x: x, hinted.model().generator) for _ in range(2)]
    assert model_predictor(generators[0], 0.5) is model_predictor(generators[1], 0.5)
    assert model_predictor(generators[0], 0.5) is not model_predictor(generators[1], 0.0)


def test_one_hint_colours_the_suit_and_not_the_wall():
    """Of the astronaut, with the packaged model: the suit by 50 Lab units, the wall by 1."""
    grey = (255 * color.rgb2gray(data.astronaut())).astype(np.uint8)
    with support.quick_compilation():
        colorizer = Colorizer.load()
        before, after = (colorizer(grey, hints=x) for x in (None, [(120, 400, "#e06020")]))
    change = np.linalg.norm(color.rgb2lab(after) - color.rgb2lab(before), axis=-1)
    assert change[330:420, 60:140].mean() > 30
    assert change[430:470, 180:220].mean() > 20  # the same suit, further away
    for elsewhere in (change[60:140, 300:350], change[100:150, 195:250], change[420:500, 300:380]):
        assert elsewhere.mean() < 3  # the wall, the face, the helmet
