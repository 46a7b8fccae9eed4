"""Losses of the generator, and adversarial losses."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from colorjax.lab import AB_SCALE
from colorjax.models.color_bins import Distribution, block_means, soft_encode
from colorjax.models.layers import Prediction

# (predicted a*b* / 110, true a*b* / 110) -> scalar
Regression = Callable[[jax.Array, jax.Array], jax.Array]
# (prediction, true a*b* / 110 [N, H, W, 2]) -> scalar
Loss = Callable[[Prediction, jax.Array], jax.Array]


def regression_loss(name: str, huber_delta: float) -> Regression:
    """The mean loss between predicted and true a*b* / 110 [N, H, W, 2].

    Args:
      name: `l1`, `l2` or `huber`.
      huber_delta: where the Huber loss turns from quadratic to linear, in units of a*b* / 110.
    """
    pointwise = {
        "l1": lambda x, y: jnp.abs(x - y),
        "l2": optax.squared_error,
        "huber": partial(optax.huber_loss, delta=huber_delta),
    }
    return lambda ab, ab_true: jnp.mean(pointwise[name](ab, ab_true))


def distribution_loss(distribution: Distribution, ab_true: jax.Array) -> jax.Array:
    """Cross-entropy of soft-encoded colours with weighted bins, after Zhang et al. 2016.

    They weight a pixel by its nearest bin. With a weight for each bin that it is divided among,
    `Distribution.log_probabilities` undoes the weighting exactly.

    Args:
      distribution: predicted, at 1 / k of the size.
      ab_true: [N, H, W, 2] a*b* / 110, averaged over k×k pixels.
    """
    factor = ab_true.shape[1] // distribution.logits.shape[1]
    indices, shares = soft_encode(AB_SCALE * block_means(ab_true, factor))
    chosen = jnp.take_along_axis(distribution.logits, indices, axis=-1)
    entropy = jax.nn.logsumexp(distribution.logits, axis=-1, keepdims=True) - chosen
    return jnp.mean(jnp.sum(shares * distribution.weights[indices] * entropy, axis=-1))


def generator_loss(
    regression: Regression, regression_weight: float, distribution_weight: float
) -> Loss:
    """The weighted sum of a regression loss and `distribution_loss`.

    Args:
      regression: of a*b* / 110.
      regression_weight: its weight.
      distribution_weight: weight of the distribution's loss; 0 for models without a distribution.
    """

    def loss(prediction: Prediction, ab_true: jax.Array) -> jax.Array:
        value = regression_weight * regression(prediction.ab, ab_true)
        if prediction.distribution is not None:
            value += distribution_weight * distribution_loss(prediction.distribution, ab_true)
        return value

    return loss


class AdversarialLoss(NamedTuple):
    """The losses of both networks, of logits that are positive for real images.

    Attributes:
      discriminator: of (logits_real, logits_fake).
      generator: of logits_fake.
    """

    discriminator: Callable[[jax.Array, jax.Array], jax.Array]
    generator: Callable[[jax.Array], jax.Array]


ADVERSARIAL = {
    # Goodfellow et al. 2014: binary cross-entropy, whose generator maximises log D(fake).
    "non_saturating": AdversarialLoss(
        lambda real, fake: jnp.mean(jax.nn.softplus(-real)) + jnp.mean(jax.nn.softplus(fake)),
        lambda fake: jnp.mean(jax.nn.softplus(-fake)),
    ),
    # Lim and Ye 2017; Miyato et al. 2018.
    "hinge": AdversarialLoss(
        lambda real, fake: jnp.mean(jax.nn.relu(1 - real)) + jnp.mean(jax.nn.relu(1 + fake)),
        lambda fake: -jnp.mean(fake),
    ),
    # Mao et al. 2017, with targets 1 and -1, so that the decision boundary is zero as above.
    "least_squares": AdversarialLoss(
        lambda real, fake: jnp.mean((real - 1) ** 2) + jnp.mean((fake + 1) ** 2),
        lambda fake: jnp.mean((fake - 1) ** 2),
    ),
}
