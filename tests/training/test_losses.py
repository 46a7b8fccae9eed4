import jax
import numpy as np
import pytest

from colorjax.training import losses

RNG = np.random.default_rng(0)
AB, AB_TRUE = RNG.normal(0, 0.3, (2, 3, 8, 6, 2)).astype(np.float32)
REAL, FAKE = RNG.normal(0, 2, (2, 3, 4, 5, 1)).astype(np.float32)
DELTA = 0.05
NAMES = sorted(losses.ADVERSARIAL)


def numpy_huber(x):
    return np.where(np.abs(x) <= DELTA, 0.5 * x**2, DELTA * (np.abs(x) - 0.5 * DELTA))


REGRESSION = {"l1": np.abs, "l2": np.square, "huber": numpy_huber}

# (of the discriminator, by logits_real and logits_fake; of the generator, by logits_fake)
ADVERSARIAL = {
    "non_saturating": (
        lambda real, fake: -np.log(sigmoid(real)).mean() - np.log(1 - sigmoid(fake)).mean(),
        lambda fake: -np.log(sigmoid(fake)).mean(),
    ),
    "hinge": (
        lambda real, fake: np.maximum(0, 1 - real).mean() + np.maximum(0, 1 + fake).mean(),
        lambda fake: -fake.mean(),
    ),
    "least_squares": (
        lambda real, fake: np.square(real - 1).mean() + np.square(fake + 1).mean(),
        lambda fake: np.square(fake - 1).mean(),
    ),
}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("name", sorted(REGRESSION))
def test_regression_losses_equal_numpy(name):
    expected = REGRESSION[name](AB.astype(np.float64) - AB_TRUE).mean()
    loss = losses.regression_loss(name, DELTA)
    np.testing.assert_allclose(loss(AB, AB_TRUE), expected, rtol=1e-5)
    np.testing.assert_allclose(loss(AB_TRUE, AB), expected, rtol=1e-5)
    assert loss(AB, AB) == 0


def test_every_adversarial_loss_is_compared():
    assert set(ADVERSARIAL) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_adversarial_losses_equal_numpy(name):
    discriminator, generator = ADVERSARIAL[name]
    loss = losses.ADVERSARIAL[name]
    real, fake = REAL.astype(np.float64), FAKE.astype(np.float64)
    np.testing.assert_allclose(loss.discriminator(REAL, FAKE), discriminator(real, fake), rtol=1e-5)
    np.testing.assert_allclose(loss.generator(FAKE), generator(fake), rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_each_side_pulls_the_logits_its_own_way(name):
    loss = losses.ADVERSARIAL[name]
    real, fake = 0.1 * REAL, 0.1 * FAKE
    by_real, by_fake = jax.grad(loss.discriminator, argnums=(0, 1))(real, fake)
    assert np.all(by_real < 0)
    assert np.all(by_fake > 0)
    assert np.all(jax.grad(loss.generator)(fake) < 0)


@pytest.mark.parametrize("name", NAMES)
def test_certain_logits_give_finite_losses_and_gradients(name):
    loss = losses.ADVERSARIAL[name]
    for sign in (-1, 1):
        logits = np.full_like(REAL, sign * 1e4)
        assert np.isfinite(loss.discriminator(logits, -logits))
        assert np.all(np.isfinite(jax.grad(loss.discriminator)(logits, -logits)))
        assert np.all(np.isfinite(jax.grad(loss.generator)(logits)))
