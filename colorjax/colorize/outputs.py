"""What a generator with a distribution of colours predicts for views of pictures, compiled.

The network is a program of its own. What is made of its prediction compiles in a moment, so that
many answers to one view need one network.
"""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from colorjax.lab import rgb_to_lab
from colorjax.models import answers
from colorjax.models.layers import Prediction, enlarge
from colorjax.models.variables import Variables, generate
from colorjax.terminal.errors import InputError


class Network(NamedTuple):
    """A generator.

    Attributes:
      generator: a network of the variables; None if only a plain function is known.
      variables: {"params", "batch_stats"}.
      one_program: whether no hints are given as empty ones, so that one program serves both.
    """

    generator: Any
    variables: Variables
    one_program: bool = False

    def answer(
        self, rgb: jax.Array, hints: jax.Array | None, *, temperature: float | None
    ) -> jax.Array:
        """[N, H, W, 3]: L, and the a*b* of the answer.

        Args:
          rgb: [N, H, W, 3] in [0, 1].
          hints: [N, H, W, 3] as `hints.raster` gives them, or None.
          temperature: see `answers.answer`.
        """
        return _answer(*self._predicted(rgb, hints), temperature or None)

    def candidates(
        self, rgb: jax.Array, hints: jax.Array | None, *, temperature: float | None, count: int
    ) -> jax.Array:
        """[N, H, W, 1 + 2 count]: L, and the a*b* of candidates, see `answers.candidates`."""
        return _candidates(*self._predicted(rgb, hints), temperature or None, count=count)

    def uncertainty(self, rgb: jax.Array, hints: jax.Array | None) -> jax.Array:
        """[N, H, W, 2]: L, and the standard deviation of the colour."""
        return _uncertainty(*self._predicted(rgb, hints))

    def probabilities(
        self, rgb: jax.Array, hints: jax.Array | None, row: int, column: int
    ) -> jax.Array:
        """[Q] of the distribution at a pixel of a view [1, H, W, 3]."""
        return _probabilities(*self._predicted(rgb, hints), row, column)

    def _predicted(self, rgb: jax.Array, hints: jax.Array | None) -> tuple[jax.Array, Prediction]:
        if hints is None and self.one_program and getattr(self.generator, "hints", False):
            hints = jnp.zeros_like(rgb)
        return _predicted(self.generator, self.variables, rgb, hints)

    def check_distribution(self) -> None:
        """Raises InputError if the model predicts no distribution of colours."""
        if not getattr(self.generator, "distribution", False):
            raise InputError(
                "this model predicts no distribution of colours; give one that was trained with "
                "config.distribution above 0"
            )

    def check_hints(self) -> None:
        """Raises InputError if the model takes no hints."""
        if not getattr(self.generator, "hints", False):
            raise InputError(
                "this model takes no hints; give one that was trained with config.hints above 0"
            )


@partial(jax.jit, static_argnames="generator")
def _predicted(
    generator: nn.Module, variables: Variables, rgb: jax.Array, hints: jax.Array | None
) -> tuple[jax.Array, Prediction]:
    l = rgb_to_lab(rgb)[..., :1]
    return l, generate(generator, variables, l, hints)


@jax.jit
def _answer(l: jax.Array, prediction: Prediction, temperature: float | None) -> jax.Array:
    return jnp.concatenate([l, answers.answer(prediction, temperature)], axis=-1)


@partial(jax.jit, static_argnames="count")
def _candidates(
    l: jax.Array, prediction: Prediction, temperature: float | None, *, count: int
) -> jax.Array:
    return jnp.concatenate([l, *answers.candidates(prediction, count, temperature)], axis=-1)


@jax.jit
def _uncertainty(l: jax.Array, prediction: Prediction) -> jax.Array:
    deviation = answers.uncertainty(prediction)[..., None]
    return jnp.concatenate([l, enlarge(deviation, l.shape[1] // deviation.shape[1])], axis=-1)


@jax.jit
def _probabilities(l: jax.Array, prediction: Prediction, row: int, column: int) -> jax.Array:
    distribution = answers.distribution(prediction)
    factor = l.shape[1] // distribution.logits.shape[1]
    return jnp.exp(distribution.log_probabilities()[0, row // factor, column // factor])
