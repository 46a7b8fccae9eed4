"""Damage of L: none at strength 0, in range, of each image alone, and as described."""

import functools
import io
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from skimage.filters import gaussian
from support import quick_compilation

from colorjax import damage as damages
from colorjax.damage import DAMAGES, EVALUATED, damage, damage_evaluated, jpeg_luminance
from colorjax.data.procedural.renderer import render_face
from colorjax.lab import rgb_to_lab
from configs import common

SIZE = 64


@pytest.fixture(autouse=True, scope="module")
def _quick():
    with quick_compilation():
        yield


@pytest.fixture(scope="module")
def faces():
    """[4, 64, 64, 1] L in [0, 100]."""
    rgb = np.stack([render_face(0, person, 0, SIZE) for person in range(4)])
    return rgb_to_lab(jnp.asarray(rgb, jnp.float32) / 255)[..., :1]


@functools.cache
def _compiled(name):
    return jax.jit(jax.vmap(DAMAGES[name], (0, 0, None)))


def _damaged(l, name, strength, seed=0):
    keys = jax.random.split(jax.random.key(seed), len(l))
    return 100 * _compiled(name)(keys, l[..., 0] / 100, jnp.float32(strength))[..., None]


@pytest.mark.parametrize("name", DAMAGES)
def test_strength_zero_changes_nothing(faces, name):
    np.testing.assert_allclose(_damaged(faces, name, 0.0), faces, atol=1e-4)


@pytest.mark.parametrize("name", DAMAGES)
def test_more_strength_is_further_from_the_truth_and_all_stays_in_range(faces, name):
    errors = [0.0]
    for strength in (0.33, 0.66, 1.0):
        y = _damaged(faces, name, strength)
        assert y.shape == faces.shape
        assert y.dtype == jnp.float32
        assert float(y.min()) >= 0
        assert float(y.max()) <= 100.0001
        errors.append(float(jnp.sqrt(jnp.mean((y - faces) ** 2))))
    assert errors == sorted(errors)
    assert errors[1] > 0.3
    assert errors[-1] > 1.5


def test_an_image_of_an_evaluation_is_damaged_the_same_in_any_batch(faces):
    fixed = jax.jit(partial(damage_evaluated, strength=1.0))
    complete = fixed(faces, jnp.arange(4))
    other = fixed(faces[jnp.array([2, 0])], jnp.array([2, 0]))
    # Another compiled program may round a coefficient of a JPEG differently.
    assert float(abs(other - complete[jnp.array([2, 0])]).mean()) < 0.05
    elsewhere = fixed(faces, jnp.array([7, 1, 2, 3]))
    assert float(abs(elsewhere[0] - complete[0]).mean()) > 1
    np.testing.assert_allclose(elsewhere[1], complete[1], atol=1e-3)
    assert float(jnp.sqrt(jnp.mean((complete - faces) ** 2))) > 5
    np.testing.assert_array_equal(damage_evaluated(faces, jnp.arange(4), 0.0), faces)


def test_an_image_of_an_evaluation_is_damaged_the_same_at_another_size(monkeypatch):
    monkeypatch.setattr(damages, "EVALUATED", ("exposure", "fade"))
    small, large = (
        damage_evaluated(jnp.full((20, size, size, 1), 60.0), jnp.arange(20), 1.0).mean((1, 2, 3))
        for size in (32, 64)
    )
    assert float(small.std()) > 5
    np.testing.assert_allclose(small, large, atol=0.1)


_jpeg = jax.jit(jpeg_luminance)


@pytest.mark.parametrize("name", [name for name in DAMAGES if name not in ("blur", "jpeg")])
def test_images_and_seeds_draw_different_damage(faces, name):
    same = jnp.repeat(faces[:1], 4, axis=0)
    y = _damaged(same, name, 0.8)
    assert float(abs(y[0] - y[1]).max()) > 0.5
    assert float(abs(y[0] - _damaged(same, name, 0.8, seed=1)[0]).max()) > 0.5


def test_scratches_do_not_move_when_another_damage_is_added():
    l = jnp.full((1, SIZE, SIZE, 1), 50.0)
    alone, both = jax.jit(
        lambda l: [
            damage(jax.random.split(jax.random.key(0), 1), l, {"scratches": 1.0, **others}, 1.0)
            for others in ({}, {"blur": 1.0})
        ]
    )(l)
    np.testing.assert_allclose(both, alone, atol=1e-3)  # blurring a flat picture changes nothing


def test_damage_has_the_given_probability_and_a_uniform_strength():
    l = jnp.full((400, 8, 8, 1), 50.0)
    training = jax.jit(lambda rng: damage(jax.random.split(rng, 400), l, {"grain": 1.0}, 0.25))
    y = training(jax.random.key(0))
    hit = np.asarray(jnp.abs(y - l).max(axis=(1, 2, 3)) > 1e-4)
    assert 60 < hit.sum() < 140  # 100, five standard deviations
    strengths = np.asarray(jnp.std(y, axis=(1, 2, 3)))[hit]
    assert strengths.std() > 0.25 * strengths.mean()  # not all the same
    np.testing.assert_array_equal(y, training(jax.random.key(0)))
    assert not np.array_equal(y, training(jax.random.key(1)))
    np.testing.assert_array_equal(damage(None, l, {"grain": 0.0}, 1.0), l)


def test_blur_is_the_gaussian_of_scikit_image(faces):
    x = np.asarray(faces[0, ..., 0]) / 100
    y = damages.blur(jax.random.key(0), jnp.asarray(x), jnp.float32(0.5))
    expected = gaussian(x, 0.025 * 0.5 * SIZE, mode="nearest", truncate=8)
    inner = slice(8, -8)
    np.testing.assert_allclose(y[inner, inner], expected[inner, inner], atol=1e-5)


@pytest.mark.parametrize(
    ("quality", "shape"),
    [(5, (64, 64)), (49, (50, 37)), (50, (64, 64)), (75, (50, 37)), (95, (64, 64))],
)
def test_jpeg_equals_libjpeg(faces, quality, shape):
    grey = np.asarray(jnp.round(faces[1, : shape[0], : shape[1], 0] * 2.55)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "jpeg", quality=quality)
    expected = np.asarray(Image.open(file)).astype(int)
    ours = np.asarray(255 * _jpeg(jnp.asarray(grey / 255, jnp.float32), quality))
    # Its DCT is of integers, so some coefficients are rounded differently.
    error = abs(np.round(ours) - expected)
    assert np.mean(error <= 1) > 0.9
    assert error.mean() < 0.4


def test_grain_has_the_deviation_of_its_strength_and_no_bias():
    x = jnp.full((256, 256), 0.5)
    y = damages.grain(jax.random.key(0), x, jnp.float32(1.0))
    assert float(y.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(y.std()) == pytest.approx(0.1, abs=0.01)


def test_fading_scales_the_contrast(faces):
    x = faces[0, ..., 0] / 100
    y = damages.fade(jax.random.key(0), x, jnp.float32(1.0))
    assert float(y.std() / x.std()) == pytest.approx(0.3, rel=1e-4)
    assert float(jnp.corrcoef(x.ravel(), y.ravel())[0, 1]) == pytest.approx(1.0, abs=1e-5)


def test_contrast_clips_the_ends_and_keeps_the_order():
    y = damages.contrast(jax.random.key(0), jnp.linspace(0, 1, 101)[None], jnp.float32(1.0))
    assert (jnp.diff(y[0]) >= 0).all()
    assert min(int((y == 0).sum()), int((y == 1).sum())) > 10


def test_halftone_has_two_tones_and_keeps_the_mean():
    for tone in (0.3, 0.5, 0.7):
        x = jnp.full((128, 128), tone)
        y = damages.halftone(jax.random.key(0), x, jnp.float32(1.0))
        assert float(y.mean()) == pytest.approx(tone, abs=0.06)
        assert float(((y < 0.15) | (y > 0.85)).mean()) > 0.5


@pytest.mark.parametrize("dataset", ["image_folder", "digiface1m"])
def test_the_long_recipes_damage_less_than_evaluation_does(faces, dataset):
    config = common.get(dataset).damage
    strengths = {name: config[name] for name in DAMAGES}
    assert {name for name in DAMAGES if strengths[name]} == set(EVALUATED)
    rngs, l = jax.random.split(jax.random.key(0), 40), jnp.tile(faces, (10, 1, 1, 1))
    light, heavy = (
        float(jnp.mean(abs(jax.jit(damaging)(l) - l)))
        for damaging in (
            lambda l: damage(rngs, l, strengths, config.probability),
            lambda l: damage_evaluated(l, jnp.arange(40), 0.5),
        )
    )
    assert 0.5 < light < heavy
