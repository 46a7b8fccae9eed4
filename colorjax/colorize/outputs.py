"""What a generator with a distribution of colours predicts for views of pictures, compiled."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from colorjax.lab import rgb_to_lab
from colorjax.models import answers
from colorjax.models.layers import Prediction, enlarge
from colorjax.models.variables import Variables, generate


@partial(jax.jit, static_argnames=("generator", "count", "temperature"))
def candidates(
    generator: nn.Module,
    variables: Variables,
    rgb: jax.Array,
    hints: jax.Array | None,
    *,
    count: int,
    temperature: float,
) -> jax.Array:
    """Several answers, see `answers.candidates`.

    Args:
      generator: of the variables.
      variables: {"params", "batch_stats"}.
      rgb: [N, H, W, 3] in [0, 1].
      hints: [N, H, W, 3] as `hints.raster` gives them, or None.
      count: number of answers.
      temperature: see `answers.answer`.

    Returns:
      [N, H, W, 1 + 2 count]: L, and a*b* of each candidate.
    """
    l, prediction = _predicted(generator, variables, rgb, hints)
    found = answers.candidates(prediction, count, temperature)
    return jnp.concatenate([l, *found], axis=-1)


@partial(jax.jit, static_argnames="generator")
def uncertainty(
    generator: nn.Module, variables: Variables, rgb: jax.Array, hints: jax.Array | None
) -> jax.Array:
    """[N, H, W, 2]: L, and the standard deviation of the colour. Arguments as of `candidates`."""
    l, prediction = _predicted(generator, variables, rgb, hints)
    deviation = answers.uncertainty(prediction)[..., None]
    return jnp.concatenate([l, enlarge(deviation, l.shape[1] // deviation.shape[1])], axis=-1)


@partial(jax.jit, static_argnames="generator")
def probabilities(
    generator: nn.Module,
    variables: Variables,
    rgb: jax.Array,
    hints: jax.Array | None,
    row: int,
    column: int,
) -> jax.Array:
    """[Q] of the distribution at a pixel of a view [1, H, W, 3]. Arguments as of `candidates`."""
    l, prediction = _predicted(generator, variables, rgb, hints)
    distribution = answers.distribution(prediction)
    factor = l.shape[1] // distribution.logits.shape[1]
    return jnp.exp(distribution.log_probabilities()[0, row // factor, column // factor])


def _predicted(
    generator: nn.Module, variables: Variables, rgb: jax.Array, hints: jax.Array | None
) -> tuple[jax.Array, Prediction]:
    l = rgb_to_lab(rgb)[..., :1]
    return l, generate(generator, variables, l, hints)
