"""The state of training: arrays only, so that it can be compiled, replicated and saved."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from colorjax.models.variables import Variables


class NetState(struct.PyTreeNode):
    """One network: its parameters, its statistics (possibly none) and its optimizer's state."""

    params: Any
    batch_stats: Any
    opt_state: optax.OptState


class TrainState(struct.PyTreeNode):
    """Everything that changes while training, and the key that does not.

    Attributes:
      step: int32 scalar, the number of updates so far; its complement (~step, below zero) once a
        loss or a gradient was not finite: nothing is updated from then on.
      rng: the data of a key, constant: a step folds its number and its device into it.
      generator: the network that predicts a*b*.
      discriminator: the network that judges them; None in a regression run.
      ema: {"params", "batch_stats"}: exponential moving averages of the generator's.
    """

    step: jax.Array
    rng: jax.Array
    generator: NetState
    discriminator: NetState | None
    ema: Variables


def net_state(variables: Variables, optimizer: optax.GradientTransformation) -> NetState:
    """A network before its first update."""
    params = variables["params"]
    return NetState(params, variables["batch_stats"], optimizer.init(params))


def create_train_state(
    rng: jax.Array, generator: NetState, discriminator: NetState | None
) -> TrainState:
    """The state before the first step; the averages start at the generator's own values."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        # Checkpoints hold plain arrays, not typed keys.
        rng=jax.random.key_data(rng),
        generator=generator,
        discriminator=discriminator,
        # Copies: the step donates its state, and no buffer may be donated twice.
        ema=jax.tree.map(
            jnp.copy, {"params": generator.params, "batch_stats": generator.batch_stats}
        ),
    )
