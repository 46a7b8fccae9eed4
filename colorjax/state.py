"""The state of training: arrays only, so that it can be compiled, replicated and saved."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

from colorjax.errors import InputError

Variables = dict[str, Any]


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


def init_variables(module: nn.Module, rng: jax.Array, *channels: int, image_size: int) -> Variables:
    """Initial {"params", "batch_stats"} of a module.

    Args:
      module: what to initialise.
      rng: a key.
      *channels: of each of the module's inputs [N, image_size, image_size, channels].
      image_size: in pixels.
    """
    # Compiling this takes far longer than running it: on a CPU XLA need not try hard (4 s for 10).
    options = {"xla_backend_optimization_level": "0"} if jax.default_backend() == "cpu" else {}
    inputs = [jnp.zeros((1, image_size, image_size, count)) for count in channels]
    variables = jax.jit(module.init, compiler_options=options)(rng, *inputs)
    return {"batch_stats": {}, **variables}


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


def check_like(tree: Any, like: Any, source: str) -> None:
    """Compares names and shapes of two trees of arrays.

    Raises:
      InputError: names the first parameter that is missing, extra, or of another shape.
    """
    shapes, wanted = _shapes(tree), _shapes(like)
    for name in [*wanted, *(name for name in shapes if name not in wanted)]:
        if shapes.get(name) != wanted.get(name):
            raise InputError(
                f"{source}: {name} has shape {shapes.get(name, 'none (it is missing)')}, "
                f"this model wants {wanted.get(name, 'no such parameter')}"
            )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda x: hasattr(x, "shape"))
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
        for path, leaf in leaves
    }
