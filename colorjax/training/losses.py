"""Regression and adversarial losses."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

Loss = Callable[[jax.Array, jax.Array], jax.Array]


def regression_loss(name: str, huber_delta: float) -> Loss:
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


def weighted(weight: float, loss: Loss) -> Loss:
    """Multiplies a loss by a weight."""
    return lambda ab, ab_true: weight * loss(ab, ab_true)


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
