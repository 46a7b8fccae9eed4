"""The state of training: a pytree of arrays."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from colorjax.models.variables import Variables


class NetState(struct.PyTreeNode):
    """One network: parameters, batch statistics (possibly empty) and optimizer state."""

    params: Any
    batch_stats: Any
    opt_state: optax.OptState


class TrainState(struct.PyTreeNode):
    """Everything that changes while a model is trained, and the PRNG key.

    Attributes:
      step: int32 scalar, the number of updates so far.
      is_finite: bool scalar, False once a loss or a gradient was not finite. Then nothing is
        updated any more.
      rng: data of a PRNG key; constant. Each step folds in its number and the image indices.
      generator: the network that predicts a*b*.
      discriminator: the network that judges a*b*; None in a regression run.
      ema: {"params", "batch_stats"} of the generator, exponential moving averages.
    """

    step: jax.Array
    is_finite: jax.Array
    rng: jax.Array
    generator: NetState
    discriminator: NetState | None
    ema: Variables


def net_state(variables: Variables, optimizer: optax.GradientTransformation) -> NetState:
    """The state of a network before its first update."""
    params = variables["params"]
    return NetState(params, variables["batch_stats"], optimizer.init(params))


def create_train_state(
    rng: jax.Array, generator: NetState, discriminator: NetState | None
) -> TrainState:
    """The state before the first step. The averages start at the values of the generator."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        is_finite=jnp.array(True),
        # Checkpoints hold plain arrays, not typed keys.
        rng=jax.random.key_data(rng),
        generator=generator,
        discriminator=discriminator,
        # Copies, because a step donates its state and no buffer may be donated twice.
        ema=jax.tree.map(
            jnp.copy, {"params": generator.params, "batch_stats": generator.batch_stats}
        ),
    )
