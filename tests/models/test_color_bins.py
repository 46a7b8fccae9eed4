"""The distribution over colours, compared with NumPy, SciPy and scikit-image."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import KDTree
from skimage import color

from colorjax.models import color_bins
from colorjax.models.color_bins import Distribution, centers


def colors(count=4000, seed=0):
    """a*b* of random sRGB colours, and of means of two."""
    rng = np.random.default_rng(seed)
    ab = color.rgb2lab(rng.random((count, 1, 3)))[:, 0, 1:]
    return np.concatenate([ab, (ab + ab[::-1]) / 2]).astype(np.float32)


def test_the_bins_are_those_with_a_colour_of_srgb():
    levels = np.arange(0, 256, 5)
    rgb = np.array(list(itertools.product(levels, repeat=3))) / 255
    cells = 10 * np.rint(color.rgb2lab(rgb[:, None])[:, 0, 1:] / 10)
    occupied = {tuple(cell) for cell in cells.tolist()}
    bins = {tuple(center) for center in centers().tolist()}
    assert len(bins) == len(centers()) == 261
    assert occupied <= bins
    # The others hold few colours, at the edge of the gamut.
    assert len(bins - occupied) <= 3


def test_soft_encoding_is_a_gaussian_over_the_five_nearest_bins():
    """As computed from distances to all bins, where these five are among the nine around."""
    ab = colors()
    indices, weights = jax.jit(color_bins.soft_encode)(ab)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
    assert np.isfinite(weights).all()
    distances, nearest = KDTree(centers()).query(ab, 5)
    np.testing.assert_array_equal(indices[:, 0], nearest[:, 0])
    expected = np.exp(-(distances**2) / (2 * 5.0**2))
    expected /= expected.sum(-1, keepdims=True)
    dense, dense_expected = np.zeros((2, len(ab), len(centers())), np.float32)
    np.add.at(dense, (np.arange(len(ab))[:, None], indices), weights)
    np.add.at(dense_expected, (np.arange(len(ab))[:, None], nearest), expected)
    around = np.abs(centers()[nearest] - 10 * np.rint(ab / 10)[:, None]).max((1, 2)) <= 10
    assert around.mean() > 0.9
    np.testing.assert_allclose(dense[around], dense_expected[around], atol=1e-5)


def test_the_histogram_is_the_sum_of_the_encodings():
    ab = colors(300)
    indices, weights = color_bins.soft_encode(ab)
    expected = np.bincount(np.ravel(indices), np.ravel(weights), minlength=len(centers()))
    found = color_bins.histogram(ab.reshape(2, 3, -1, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_rare_colours_weigh_more():
    counts = np.random.default_rng(0).exponential(size=261) ** 3
    counts[7] = 0
    share = counts / counts.sum()
    weights = color_bins.rebalancing(counts)
    np.testing.assert_allclose(np.sum(share * weights), 1, rtol=1e-5)
    # Zhang et al. 2016, equation 4, with λ = 1/2.
    expected = 1 / (share / 2 + 1 / (2 * 261))
    np.testing.assert_allclose(weights / weights[7], expected / expected[7], rtol=1e-5)


def distribution(seed=0):
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(2, 3, 4, 261)).astype(np.float32)
    return Distribution(jnp.asarray(logits), jnp.asarray(rng.uniform(0.3, 4, 261), jnp.float32))


@pytest.mark.parametrize("temperature", [1.0, 0.38, 1e-3])
def test_annealed_means(temperature):
    found = distribution().annealed_mean(temperature)
    z = np.asarray(distribution().logits, np.float64) / temperature
    p = np.exp(z - z.max(-1, keepdims=True))
    expected = (p / p.sum(-1, keepdims=True)) @ centers() / 110
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    if temperature < 0.01:
        mode = centers()[np.argmax(distribution().logits, -1)] / 110
        np.testing.assert_allclose(found, mode, atol=1e-3)
