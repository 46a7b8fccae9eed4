"""Answers made of a prediction, compared with NumPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from colorjax.models import answers
from colorjax.models.color_bins import Distribution, centers
from colorjax.models.layers import Prediction


def prediction(seed=0, scale=2.0):
    rng = np.random.default_rng(seed)
    ab = rng.uniform(-0.3, 0.3, (2, 8, 12, 2)).astype(np.float32)
    logits = (scale * rng.normal(size=(2, 2, 3, len(centers())))).astype(np.float32)
    weights = rng.uniform(0.3, 4, len(centers())).astype(np.float32)
    return Prediction(jnp.asarray(ab), Distribution(jnp.asarray(logits), jnp.asarray(weights)))


def sure(color):
    """A prediction of one colour."""
    logits = np.full((1, 1, 1, len(centers())), -50, np.float32)
    logits[..., np.argmin(((centers() - color) ** 2).sum(-1))] = 0
    ones = jnp.ones(len(centers()))
    return Prediction(jnp.zeros((1, 4, 4, 2)), Distribution(jnp.asarray(logits), ones))


def probabilities(of):
    z = np.asarray(of.distribution.logits, np.float64) - np.log(of.distribution.weights)
    p = np.exp(z - z.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def test_temperature_0_is_the_regression():
    of = prediction()
    np.testing.assert_allclose(answers.answer(of, 0), 110 * of.ab, rtol=1e-6)
    without = of._replace(distribution=None)
    np.testing.assert_array_equal(answers.answer(without, 0), answers.answer(of, 0))
    with pytest.raises(ValueError, match="no distribution"):
        answers.answer(without, 0.5)


def test_an_annealed_mean_is_enlarged_to_the_size_of_the_image():
    of = prediction()
    small = 110 * of.distribution.annealed_mean(0.38)
    found = answers.answer(of, 0.38)
    assert found.shape == of.ab.shape
    expected = jax.image.resize(small, found.shape, "bilinear")
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_the_first_candidates_of_more_are_the_same_and_the_first_is_the_answer(temperature):
    of = prediction()
    several = jax.jit(answers.candidates, static_argnums=(1, 2))
    few, more = (np.asarray(several(of, count, temperature)) for count in (2, 5))
    assert more.shape == (5, *of.ab.shape)
    np.testing.assert_allclose(few, more[:2], atol=1e-3)
    np.testing.assert_allclose(more[0], answers.answer(of, temperature), atol=1e-3)
    p, bins = probabilities(of), centers().astype(np.float64)
    tilted = p * np.exp(bins @ answers.directions(2)[1] / answers.TILT)
    moved = tilted @ bins / tilted.sum(-1)[..., None] - p @ bins
    expected = more[0] + jax.image.resize(moved.astype(np.float32), of.ab.shape, "bilinear")
    np.testing.assert_allclose(more[1], expected, rtol=1e-3, atol=1e-2)


def test_candidates_differ_where_a_model_is_unsure():
    """By the covariance of the colours, to first order; and hardly where it is sure."""
    unsure = np.asarray(answers.candidates(prediction(scale=0.5), 6))
    moved = np.linalg.norm(unsure[1:] - unsure[0], axis=-1).mean((1, 2, 3))
    assert moved.min() > 5
    # Every direction is taken: the other candidates surround the first one.
    means = (unsure[1:] - unsure[0]).mean((1, 2, 3))
    assert (means.max(0) > 5).all()
    assert (means.min(0) < -5).all()
    one_color = np.asarray(answers.candidates(sure((20, 20)), 6))
    np.testing.assert_allclose(one_color, np.zeros_like(one_color), atol=0.1)


def test_uncertainty_is_the_standard_deviation_of_the_colour():
    of = prediction()
    p, bins = probabilities(of), centers().astype(np.float64)
    squares = ((bins - (p @ bins)[..., None, :]) ** 2).sum(-1)
    expected = np.sqrt((p * squares).sum(-1) + 100 / 6)
    np.testing.assert_allclose(answers.uncertainty(of), expected, rtol=1e-3)
    np.testing.assert_allclose(answers.uncertainty(sure((0, 0))), np.sqrt(100 / 6), rtol=1e-3)


def test_the_likeliest_colours_are_the_modes():
    red, blue = np.array([40.0, 20.0]), np.array([0.0, -40.0])
    p = sum(
        share * np.exp(-((centers() - center) ** 2).sum(-1) / (2 * 8**2))
        for share, center in ((0.7, red), (0.3, blue))
    )
    found = answers.likeliest(np.log(p / p.sum()), 5)
    assert [round(share, 2) for _, share in found] == [0.7, 0.3]
    for (color, _), center in zip(found, (red, blue), strict=True):
        np.testing.assert_allclose(color, center, atol=1)
    ((color, _),) = answers.likeliest(np.log(p / p.sum()), 1)
    np.testing.assert_array_equal(color, found[0][0])
    rng = np.random.default_rng(0)
    many = answers.likeliest(np.log(rng.dirichlet(np.ones(len(centers())))), 1000)
    assert sum(share for _, share in many) == pytest.approx(1)
    assert all(a[1] >= b[1] for a, b in itertools.pairwise(many))
