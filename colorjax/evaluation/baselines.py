"""Baselines: grey, the mean colour, the mean colour for each lightness, and scaled regression.

The first three are tables of a*b* by lightness, fitted on the training images. The fourth scales
the a*b* of a regression model by `saturation_factor`.
"""

from collections.abc import Iterable

import chex
import jax
import jax.numpy as jnp
import numpy as np

from colorjax.display import displayed
from colorjax.evaluation.metrics import colorfulness

NUM_LEVELS = 101
# Upper bound of the factor of a scaled model, and the images scaled at once to find it.
MAX_FACTOR = 16.0
CHUNK = 32
# The names of the constant baselines in reports.
BASELINES = ("grey", "mean colour", "mean colour for each lightness")


def lightness_sums(l: jax.Array, ab: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sums a*b* and counts pixels for each integer lightness of each image.

    Args:
      l: [N, H, W, 1] lightness in [0, 100], rounded here.
      ab: [N, H, W, 2] a*b*.

    Returns:
      sums: [N, 101, 2].
      counts: [N, 101] int32.
    """
    chex.assert_shape(l, (None, None, None, 1))
    chex.assert_shape(ab, (*l.shape[:-1], 2))

    def of_image(level: jax.Array, a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
        sums = [jnp.bincount(level, values, length=NUM_LEVELS) for values in (a, b)]
        return jnp.stack(sums, axis=-1), jnp.bincount(level, length=NUM_LEVELS)

    flat = [x.reshape(len(l), -1) for x in (_level(l), ab[..., 0], ab[..., 1])]
    return jax.vmap(of_image)(*flat)


def baseline_tables(parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """Fits the constant baselines.

    Args:
      parts: `lightness_sums` of batches of training images.

    Returns:
      Tables [101, 2] for `by_lightness`, by the names of BASELINES. A lightness without pixels
      takes the colour of the nearest one with pixels, the darker of two equally near.

    Raises:
      ValueError: there are no pixels.
    """
    sums, counts = np.zeros((NUM_LEVELS, 2)), np.zeros(NUM_LEVELS)
    for image_sums, image_counts in parts:
        # In numpy: float32 does not hold more than 2²⁴ pixels.
        sums += np.asarray(image_sums).sum(axis=0, dtype=np.float64)
        counts += np.asarray(image_counts).sum(axis=0, dtype=np.float64)
    seen = np.flatnonzero(counts)
    if not len(seen):
        raise ValueError("baselines need at least one training pixel")
    distance = np.abs(np.arange(NUM_LEVELS)[:, None] - seen[None, :])
    nearest = seen[np.argmin(distance, axis=1)]
    grey = np.zeros_like(sums)
    mean = np.tile(sums.sum(axis=0) / counts.sum(), (NUM_LEVELS, 1))
    by_level = sums[nearest] / counts[nearest, None]
    return dict(zip(BASELINES, (grey, mean, by_level), strict=True))


def by_lightness(table: jax.Array, l: jax.Array) -> jax.Array:
    """The a*b* [..., 2] that a table [101, 2] holds for the rounded lightness [..., 1]."""
    chex.assert_shape(table, (NUM_LEVELS, 2))
    return jnp.asarray(table, l.dtype)[_level(l)]


def saturation_factor(l: np.ndarray, ab: np.ndarray, target: float) -> float:
    """Finds the factor s for which the mean colourfulness of displayed(l, s · ab) is the target.

    By bisection: colourfulness grows with s until sRGB clips it.

    Args:
      l: [N, H, W, 1] lightness in [0, 100].
      ab: [N, H, W, 2] predicted a*b*.
      target: mean colourfulness to reach.

    Returns:
      s in [0, MAX_FACTOR]. The relative error in colourfulness is at most 1e-3, or what rounding
      to 8 bits allows. 0 or MAX_FACTOR if the target is out of reach.
    """

    def mean_colorfulness(scale: float) -> float:
        starts = range(0, len(l), CHUNK)
        parts = [_scaled_colorfulness(l[i : i + CHUNK], ab[i : i + CHUNK], scale) for i in starts]
        return float(np.mean(np.concatenate(parts), dtype=np.float64))

    if mean_colorfulness(0.0) >= target:
        return 0.0
    low, high = 0.0, 1.0
    while mean_colorfulness(high) < target:
        if high >= MAX_FACTOR:
            return MAX_FACTOR
        low, high = high, min(2.0 * high, MAX_FACTOR)
    while high - low > 1e-6:
        middle = 0.5 * (low + high)
        reached = mean_colorfulness(middle)
        if abs(reached - target) <= 1e-3 * target:
            return middle
        low, high = (middle, high) if reached < target else (low, middle)
    return high


@jax.jit
def _scaled_colorfulness(l: jax.Array, ab: jax.Array, scale: float) -> jax.Array:
    return colorfulness(displayed(l, scale * ab)[0])


def _level(l: jax.Array) -> jax.Array:
    return jnp.clip(jnp.round(l[..., 0]), 0, NUM_LEVELS - 1).astype(jnp.int32)
