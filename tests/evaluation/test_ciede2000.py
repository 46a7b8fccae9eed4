"""ΔE00 against the published pairs and scikit-image, and the properties of a distance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.color import deltaE_ciede2000

from colorjax.evaluation import ciede2000 as module

ciede2000 = jax.jit(module.ciede2000)

# L*, a*, b* of two colours and their ΔE00: table 1 of Sharma, Wu and Dalal (2005), all 34 pairs.
# They were chosen to reveal mistakes in the mean and the difference of hues.
PAIRS = np.array(
    [
        [float(number) for number in line.split()]
        for line in """
        50 2.6772 -79.7751 50 0 -82.7485 2.0425
        50 3.1571 -77.2803 50 0 -82.7485 2.8615
        50 2.8361 -74.0200 50 0 -82.7485 3.4412
        50 -1.3802 -84.2814 50 0 -82.7485 1.0000
        50 -1.1848 -84.8006 50 0 -82.7485 1.0000
        50 -0.9009 -85.5211 50 0 -82.7485 1.0000
        50 0 0 50 -1 2 2.3669
        50 -1 2 50 0 0 2.3669
        50 2.4900 -0.0010 50 -2.4900 0.0009 7.1792
        50 2.4900 -0.0010 50 -2.4900 0.0010 7.1792
        50 2.4900 -0.0010 50 -2.4900 0.0011 7.2195
        50 2.4900 -0.0010 50 -2.4900 0.0012 7.2195
        50 -0.0010 2.4900 50 0.0009 -2.4900 4.8045
        50 -0.0010 2.4900 50 0.0010 -2.4900 4.8045
        50 -0.0010 2.4900 50 0.0011 -2.4900 4.7461
        50 2.5 0 50 0 -2.5 4.3065
        50 2.5 0 73 25 -18 27.1492
        50 2.5 0 61 -5 29 22.8977
        50 2.5 0 56 -27 -3 31.9030
        50 2.5 0 58 24 15 19.4535
        50 2.5 0 50 3.1736 0.5854 1.0000
        50 2.5 0 50 3.2972 0 1.0000
        50 2.5 0 50 1.8634 0.5757 1.0000
        50 2.5 0 50 3.2592 0.3350 1.0000
        60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
        63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
        61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
        35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
        22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
        36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
        90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
        90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
        6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
        2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
        """.strip().splitlines()
    ]
)


def test_the_34_pairs_of_sharma_wu_and_dalal_agree_to_all_digits():
    assert PAIRS.shape == (34, 7)
    with jax.enable_x64(True):
        computed = ciede2000(jnp.asarray(PAIRS[:, :3]), jnp.asarray(PAIRS[:, 3:6]))
    np.testing.assert_allclose(computed, PAIRS[:, 6], rtol=0, atol=0.501e-4)


@pytest.fixture(scope="module")
def colors():
    """Ten thousand pairs, with every combination of quadrants."""
    rng = np.random.default_rng(0)
    low, high = np.array([0, -110, -110]), np.array([100, 110, 110])
    return rng.uniform(low, high, (10_000, 3)), rng.uniform(low, high, (10_000, 3))


def test_any_colours_equal_scikit_image(colors):
    first, second = colors
    expected = deltaE_ciede2000(first, second)
    with jax.enable_x64(True):
        computed = ciede2000(jnp.asarray(first), jnp.asarray(second))
    np.testing.assert_allclose(computed, expected, rtol=1e-9, atol=1e-9)
    in_float32 = ciede2000(first.astype(np.float32), second.astype(np.float32))
    np.testing.assert_allclose(in_float32, expected, rtol=1e-4, atol=1e-4)


def test_near_colours_and_greys_equal_scikit_image(colors):
    first, second = colors
    rng = np.random.default_rng(1)
    for near in (first + rng.normal(0, 0.5, first.shape), second * np.array([1, 0, 0])):
        expected = deltaE_ciede2000(first, near)
        computed = ciede2000(first.astype(np.float32), near.astype(np.float32))
        np.testing.assert_allclose(computed, expected, rtol=1e-3, atol=1e-3)
