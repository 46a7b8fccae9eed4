import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from colorjax.models import color_bins
from colorjax.models.layers import Prediction
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


def test_the_loss_of_a_distribution_equals_a_dense_cross_entropy():
    """Of colours averaged over 4×4 pixels, with weighted bins; and so do its gradients."""
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.3, 3, 261).astype(np.float32)
    logits = rng.normal(size=(2, 3, 4, 261)).astype(np.float32)
    ab = rng.uniform(-25, 40, (2, 3, 1, 4, 1, 2)).astype(np.float32)
    pixels = ab + rng.normal(size=(2, 3, 4, 4, 4, 2)).astype(np.float32)
    pixels += ab - pixels.mean((2, 4), keepdims=True)
    indices, shares = color_bins.soft_encode(jnp.asarray(ab[:, :, 0, :, 0]))
    target = np.zeros(logits.shape, np.float32)
    np.put_along_axis(target, np.asarray(indices), np.asarray(shares), -1)

    def dense(logits):
        return jnp.mean(optax.softmax_cross_entropy(logits, target * weights))

    def found(logits):
        distribution = color_bins.Distribution(logits, weights)
        return losses.distribution_loss(distribution, pixels.reshape(2, 12, 16, 2) / 110)

    values = jax.value_and_grad(found)(logits), jax.value_and_grad(dense)(logits)
    for x, y in zip(*values, strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-3, atol=1e-6)


def test_the_losses_of_both_heads_are_added():
    rng = np.random.default_rng(0)
    ab, true = rng.normal(size=(2, 2, 8, 8, 2)).astype(np.float32) / 10
    logits = rng.normal(size=(2, 2, 2, 261)).astype(np.float32)
    distribution = color_bins.Distribution(logits, np.ones(261, np.float32))
    regression = losses.regression_loss("l1", DELTA)
    loss = losses.generator_loss(regression, 3.0, 0.5)
    entropy = losses.distribution_loss(distribution, true)
    np.testing.assert_allclose(
        loss(Prediction(ab, distribution), true),
        3 * regression(ab, true) + 0.5 * entropy,
        rtol=1e-5,
    )
    np.testing.assert_allclose(loss(Prediction(ab, None), true), 3 * regression(ab, true))


def test_the_least_loss_gives_back_the_probabilities():
    """Of a colour that is rare beside a common one: at the optimum the gradient is zero."""
    rng = np.random.default_rng(0)
    pixels = np.concatenate(
        [np.tile([[12.0, 9.0]], (90, 1)), np.tile([[22.0, 11.0]], (10, 1))]
    ).astype(np.float32)
    counts = np.asarray(color_bins.histogram(jnp.asarray(pixels)))
    weights = color_bins.rebalancing(counts + 1e-3 * rng.random(len(counts)))
    ab = jnp.asarray(pixels).reshape(1, 10, 10, 2) / 110

    def loss(logits):
        everywhere = jnp.broadcast_to(logits, (1, 10, 10, len(counts)))
        return losses.distribution_loss(color_bins.Distribution(everywhere, weights), ab)

    optimum = np.log(weights * (counts + 1e-12)).astype(np.float32)
    np.testing.assert_allclose(jax.grad(loss)(optimum), 0, atol=1e-5)
    assert np.abs(jax.grad(loss)(np.log(counts + 1e-12))).max() > 1e-2
    found = color_bins.Distribution(jnp.asarray(optimum).reshape(1, 1, 1, -1), weights)
    probabilities = np.exp(found.log_probabilities()).ravel()
    np.testing.assert_allclose(probabilities, counts / counts.sum(), atol=1e-5)
