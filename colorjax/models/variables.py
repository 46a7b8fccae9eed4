"""Variables of a network, and networks as functions of L in Lab units."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from colorjax.lab import AB_SCALE, L_SCALE
from colorjax.models.answers import answer
from colorjax.models.layers import Prediction
from colorjax.terminal.errors import InputError

Variables = dict[str, Any]
T = TypeVar("T")


def init_variables(module: nn.Module, rng: jax.Array, *channels: int, image_size: int) -> Variables:
    """Initial {"params", "batch_stats"} of a module.

    Args:
      module: a network.
      rng: a key.
      *channels: of each of its inputs [N, image_size, image_size, channels].
      image_size: in pixels.
    """
    inputs = [jnp.zeros((1, image_size, image_size, count)) for count in channels]
    return {"batch_stats": {}, **jit_once(module.init)(rng, *inputs)}


def jit_once(function: Callable[..., T]) -> Callable[..., T]:
    """`jax.jit` of what runs once, so that compilation dominates.

    On a CPU it does not optimise: a ResNet's initial variables take 4 s instead of 10.
    """
    options = {"xla_backend_optimization_level": "0"} if jax.default_backend() == "cpu" else {}
    return jax.jit(function, compiler_options=options)


def check_like(variables: Mapping[str, Any], like: Mapping[str, Any], source: str) -> None:
    """Compares the names and shapes of {"params", "batch_stats"}, of which either may be missing.

    Raises:
      InputError: names the first parameter that is missing, extra, or of another shape.
    """
    for kind in ("params", "batch_stats"):
        shapes, wanted = _shapes(variables.get(kind, {})), _shapes(like.get(kind, {}))
        for name in [*wanted, *(name for name in shapes if name not in wanted)]:
            if shapes.get(name) != wanted.get(name):
                raise InputError(
                    f"{source}: {name} has shape {shapes.get(name, 'none (it is missing)')}, "
                    f"this model needs {wanted.get(name, 'no such parameter')}"
                )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda x: hasattr(x, "shape"))
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
        for path, leaf in leaves
    }


# (variables, l [N, H, W, 1] in [0, 100]) -> a*b* [N, H, W, 2] in Lab units. Those of models that
# take hints have them as a third argument: [N, H, W, 3], a*b* in Lab units and a mask, or None.
Predictor = Callable[..., jax.Array]


@functools.cache
def model_predictor(generator: nn.Module, temperature: float = 0.0) -> Predictor:
    """A generator with {"params", "batch_stats"} as a predictor in Lab units.

    Equal generators give the same predictor, which is compiled once.

    Args:
      generator: see `models.build_generator`.
      temperature: see `answers.answer`.
    """

    def predict(variables: Variables, l: jax.Array, hints: jax.Array | None = None) -> jax.Array:
        return answer(generate(generator, variables, l, hints), temperature)

    return predict


def generate(
    generator: nn.Module, variables: Variables, l: jax.Array, hints: jax.Array | None = None
) -> Prediction:
    """What a generator predicts from L and hints in Lab units, see `Predictor`."""
    if hints is not None:
        hints = hints / jnp.asarray([AB_SCALE, AB_SCALE, 1.0]).reshape(1, 1, 1, 3)
    prediction: Any = generator.apply(variables, l / L_SCALE - 1.0, hints)
    return prediction
