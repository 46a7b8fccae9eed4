"""a*b* as a distribution over colours: square bins of the sRGB gamut.

Zhang, Isola and Efros, "Colorful image colorization" (2016), with bins of 10×10 Lab units. Theirs
are 313, with a margin around the gamut; `centers` holds those that contain a colour of sRGB.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from colorjax.lab import AB_SCALE, rgb_to_lab

WIDTH = 10
# Cells of a grid that contains every bin and its neighbours: centres -120, -110, …, 120.
_SIDE = 12
# Of the soft encoding: bins a colour is divided among, and the Gaussian's standard deviation.
NEIGHBORS, SIGMA = 5, 5.0
# Share of the uniform distribution in the one that colours are weighted by.
UNIFORM = 0.5
# The least probability of a bin that `Distribution.mixed` returns: its logarithm is finite.
TINY = 1e-12


class Distribution(NamedTuple):
    """The colours that a model holds possible, at each pixel of a quarter of the size.

    Attributes:
      logits: [N, H/4, W/4, Q] float32, trained with rare colours weighted more.
      weights: [Q], the weight of each bin in training. The probabilities of the colours are
        softmax(logits - log(weights)), see `log_probabilities`.
    """

    logits: jax.Array
    weights: jax.Array

    def log_probabilities(self) -> jax.Array:
        """[N, H/4, W/4, Q]: without the weighting of rare colours, which moves the optimum.

        Minimising Σ w(q) p(q) (-log s(q)) gives s ∝ w p.
        """
        return jax.nn.log_softmax(self.logits - jnp.log(self.weights).reshape(1, 1, 1, -1))

    def annealed_mean(self, temperature: float | jax.Array) -> jax.Array:
        """The mean colour of softmax(logits / temperature), [N, H/4, W/4, 2] a*b* / 110.

        At a temperature of 1 it is their mean, towards 0 the likeliest colour (Zhang et al. 2016
        take 0.38). Rare colours count more than by `log_probabilities`.
        """
        return mean_color(jax.nn.softmax(self.logits / temperature))

    def mixed(self, ab: jax.Array, weight: jax.Array) -> "Distribution":
        """This distribution, mixed with one whose colours are all near another prediction.

        Args:
          ab: [N, H/4, W/4, 2], its a*b* / 110.
          weight: [N, H/4, W/4, 1], its share, in [0, 1).
        """
        products = jnp.matmul(AB_SCALE * ab, centers().T, precision="highest")
        squares = jnp.sum(centers() ** 2, axis=-1).reshape(1, 1, 1, -1) - 2 * products
        near = jax.nn.softmax(-squares / (2 * SIGMA**2))
        mixture = (1 - weight) * jnp.exp(self.log_probabilities()) + weight * near
        weights = self.weights.reshape(1, 1, 1, -1)
        return self._replace(logits=jnp.log(jnp.maximum(mixture, TINY) * weights))


def mean_color(probabilities: jax.Array) -> jax.Array:
    """Args: probabilities: [..., Q]. Returns the mean a*b* / 110, [..., 2]."""
    return jnp.matmul(probabilities, centers() / AB_SCALE, precision="highest")


def block_means(x: jax.Array, factor: int) -> jax.Array:
    """Means over factor×factor pixels. Args: x: [N, H, W, C]; factor: divides H and W."""
    batch, height, width, channels = x.shape
    blocks = x.reshape(batch, height // factor, factor, width // factor, factor, channels)
    return jnp.mean(blocks, axis=(2, 4))


@functools.cache
def centers() -> np.ndarray:
    """[Q, 2] float32 a*b*: the centres of the bins that contain a colour of 8-bit sRGB."""
    # Of the colours with the same a*b*, the lightest is on the surface of the cube of colours.
    sides = np.linspace(0, 1, 256, dtype=np.float32)
    x, y = (side.ravel() for side in np.meshgrid(sides, sides))
    faces = [
        np.roll(np.stack([x, y, np.full_like(x, z)], -1), i, -1) for i in range(3) for z in (0, 1)
    ]
    with jax.ensure_compile_time_eval():
        lab = np.asarray(rgb_to_lab(np.concatenate(faces)))
    occupied = np.zeros((2 * _SIDE + 1, 2 * _SIDE + 1), bool)
    occupied[tuple(np.rint(lab[:, 1:] / WIDTH).astype(int).T + _SIDE)] = True
    return (WIDTH * (np.argwhere(occupied) - _SIDE)).astype(np.float32)


@functools.cache
def _table() -> np.ndarray:
    """[25, 25] int32: the index of the bin in each cell of a grid, -1 outside the gamut."""
    table = np.full((2 * _SIDE + 1, 2 * _SIDE + 1), -1, np.int32)
    a, b = (centers() / WIDTH).astype(int).T + _SIDE
    table[a, b] = np.arange(len(a))
    return table


def soft_encode(ab: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Divides colours among the bins nearest to them.

    Args:
      ab: [..., 2] a*b* within the convex hull of sRGB's.

    Returns:
      indices: [..., 5] int32 of the nearest bins, among the colour's cell and its eight neighbours.
      weights: [..., 5], a Gaussian of the distance that sums to 1; 0 where there are fewer bins.
    """
    offsets = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1], indexing="ij"), -1).reshape(9, 2)
    cells = jnp.round(ab / WIDTH).astype(jnp.int32)[..., None, :]
    cells = jnp.clip(cells, 1 - _SIDE, _SIDE - 1) + offsets.reshape((1,) * (ab.ndim - 1) + (9, 2))
    indices = jnp.asarray(_table())[cells[..., 0] + _SIDE, cells[..., 1] + _SIDE]
    squares = jnp.sum((WIDTH * cells - ab[..., None, :]) ** 2, axis=-1)
    # The nearest has weight 1, so that no sum is 0.
    squares = jnp.where(indices < 0, jnp.inf, squares)
    nearest = jnp.min(squares, axis=-1, keepdims=True)
    weights, order = lax.top_k(jnp.exp((nearest - squares) / (2 * SIGMA**2)), NEIGHBORS)
    indices = jnp.maximum(jnp.take_along_axis(indices, order, axis=-1), 0)
    return indices, weights / jnp.sum(weights, axis=-1, keepdims=True)


def histogram(ab: jax.Array) -> jax.Array:
    """[Q] sums of the soft encoding of colours [..., 2]."""
    indices, weights = soft_encode(ab)
    return jnp.zeros(len(centers())).at[indices].add(weights)


def rebalancing(counts: np.ndarray) -> np.ndarray:
    """The weight of each bin in training: rarer colours weigh more (Zhang et al. 2016).

    Args:
      counts: [Q], sums of `histogram` over training images; the soft encoding smooths it.

    Returns:
      [Q] float32: the inverse of the distribution mixed with the uniform one, with mean 1 over the
      training colours.
    """
    share = np.asarray(counts, np.float64) / np.sum(counts, dtype=np.float64)
    weights = 1 / ((1 - UNIFORM) * share + UNIFORM / len(share))
    return (weights / np.sum(share * weights)).astype(np.float32)
