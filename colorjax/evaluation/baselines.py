"""What a model has to beat: grey, the mean colour, the mean colour for each lightness.

Each is a table of a*b* in Lab units by lightness, fitted on the training images from sums that add
over batches. The fourth baseline scales a regression model's a*b* by `saturation_factor`.
"""

from collections.abc import Callable, Iterable

import chex
import jax
import jax.numpy as jnp
import numpy as np

from colorjax.display import displayed
from colorjax.evaluation.metrics import colorfulness

Predict = Callable[[jax.Array], jax.Array]
NUM_LEVELS = 101


@jax.jit
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

    def of_image(level: jax.Array, color: jax.Array) -> tuple[jax.Array, jax.Array]:
        sums = jnp.zeros((NUM_LEVELS, 2), color.dtype).at[level].add(color)
        return sums, jnp.zeros(NUM_LEVELS, jnp.int32).at[level].add(1)

    levels = _level(l).reshape(l.shape[0], -1)
    return jax.vmap(of_image)(levels, ab.reshape(ab.shape[0], -1, 2))


def total_sums(batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Adds up `lightness_sums` of all images of batches (l, ab) in float64: [101, 2] and [101]."""
    sums, counts = np.zeros((NUM_LEVELS, 2)), np.zeros(NUM_LEVELS)
    for l, ab in batches:
        # As numpy arrays: jax would sum in float32, and pixels are more than its 2²⁴.
        batch_sums, batch_counts = jax.device_get(lightness_sums(l, ab))
        sums += np.sum(batch_sums, axis=0, dtype=np.float64)
        counts += np.sum(batch_counts, axis=0, dtype=np.float64)
    return sums, counts


def baseline_tables(sums: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Fits the three baselines to the `total_sums` of the training images.

    Args:
      sums: [101, 2] a*b* summed for each integer lightness.
      counts: [101] pixels of each.

    Returns:
      Tables [101, 2] for `by_lightness`, by the names that stand in reports.

    Raises:
      ValueError: not one pixel was counted.
    """
    return {
        "grey": np.zeros((NUM_LEVELS, 2)),
        "mean colour": np.tile(mean_color(sums, counts), (NUM_LEVELS, 1)),
        "mean colour for each lightness": lightness_table(sums, counts),
    }


def mean_color(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean a*b* [2] of all pixels; for the arguments see `baseline_tables`."""
    sums, counts = _checked_sums(sums, counts)
    return sums.sum(axis=0) / counts.sum()


def lightness_table(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean a*b* [101, 2] for each integer lightness; for the arguments see `baseline_tables`.

    A lightness that no pixel had takes the colour of the nearest one that some pixel had, the
    darker of two as near.
    """
    sums, counts = _checked_sums(sums, counts)
    seen = np.flatnonzero(counts)
    distance = np.abs(np.arange(NUM_LEVELS)[:, None] - seen[None, :])
    nearest = seen[np.argmin(distance, axis=1)]
    return sums[nearest] / counts[nearest, None]


def by_lightness(table: chex.Array) -> Predict:
    """Predicts the a*b* that table [101, 2] holds for the rounded lightness."""
    chex.assert_shape(table, (NUM_LEVELS, 2))

    def predict(l: jax.Array) -> jax.Array:
        return jnp.asarray(table, l.dtype)[_level(l)]

    return predict


def saturation_factor(
    l: np.ndarray,
    ab: np.ndarray,
    target: float,
    *,
    maximum: float = 16.0,
    chunk: int = 32,
) -> float:
    """Finds the factor s for which the mean colourfulness of displayed(l, s · ab) is the target.

    Bisection; colourfulness grows with s until sRGB clips it.

    Args:
      l: [N, H, W, 1] lightness in [0, 100].
      ab: [N, H, W, 2] predicted a*b*.
      target: mean colourfulness to reach.
      maximum: the largest s to try.
      chunk: images in memory at once.

    Returns:
      s in [0, maximum], within 1e-3 of the target's colourfulness relatively, or as near as its
      steps of 8 bits allow; 0 or maximum where the target lies below or above all that ab give.

    Raises:
      ValueError: there is no image.
    """
    if not len(l):
        raise ValueError("saturation_factor needs at least one image")

    def mean_colorfulness(scale: float) -> float:
        starts = range(0, len(l), chunk)
        parts = [_scaled_colorfulness(l[i : i + chunk], ab[i : i + chunk], scale) for i in starts]
        return float(np.mean(np.concatenate(parts), dtype=np.float64))

    if mean_colorfulness(0.0) >= target:
        return 0.0
    low, high = 0.0, 1.0
    while mean_colorfulness(high) < target:
        if high >= maximum:
            return maximum
        low, high = high, min(2.0 * high, maximum)
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


def _checked_sums(sums: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    sums, counts = np.asarray(sums, np.float64), np.asarray(counts, np.float64)
    chex.assert_shape(sums, (NUM_LEVELS, 2))
    chex.assert_shape(counts, (NUM_LEVELS,))
    if not counts.any():
        raise ValueError("baselines need at least one training pixel")
    return sums, counts
