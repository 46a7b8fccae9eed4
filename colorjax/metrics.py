"""Figures of merit, per image: the caller drops padded images and takes means.

Colours are Lab (a*b* in Lab units, not the network's) and in evaluation come from `displayed`:
figures are computed on what a user gets. The leading axis of every result is the image.
"""

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp

from colorjax.lab import lab_to_rgb, rgb_to_lab

BIN_WIDTH = 10
# Edges -110, -100, …, 110: every a*b* of sRGB lies within.
NUM_BINS = 22


def displayed(l: jax.Array, ab: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What a user gets: Lab -> sRGB, clipped and rounded to 8 bits, and that back in Lab.

    Args:
      l: [..., 1] lightness in [0, 100].
      ab: [..., 2] a*b*.

    Returns:
      rgb: [..., 3] in [0, 1], multiples of 1 / 255.
      lab: [..., 3] the Lab of rgb.
    """
    chex.assert_shape(l, (..., 1))
    chex.assert_shape(ab, (..., 2))
    rgb = lab_to_rgb(jnp.concatenate([l, ab], axis=-1))
    rgb = jnp.round(jnp.clip(rgb, 0.0, 1.0) * 255.0) / 255.0
    return rgb, rgb_to_lab(rgb)


def mse(ab: jax.Array, ab_true: jax.Array) -> jax.Array:
    """Mean squared error of a* and b* over pixels and both channels.

    Args:
      ab: [N, H, W, 2] predictions.
      ab_true: [N, H, W, 2] truths.

    Returns:
      [N] in squared Lab units.
    """
    _check_pair(ab, ab_true)
    return jnp.mean((ab - ab_true) ** 2, axis=(1, 2, 3))


def color_error(ab: jax.Array, ab_true: jax.Array) -> jax.Array:
    """Distance ‖Δ(a*, b*)‖₂ at each pixel: [N, H, W] of two [N, H, W, 2]."""
    _check_pair(ab, ab_true)
    return jnp.sqrt(jnp.sum((ab - ab_true) ** 2, axis=-1))


def threshold_loss(
    ab: jax.Array, ab_true: jax.Array, taus: Sequence[float] = (5.0, 10.0, 20.0)
) -> jax.Array:
    """Share of pixels whose `color_error` exceeds each τ.

    Args:
      ab: [N, H, W, 2] predictions.
      ab_true: [N, H, W, 2] truths.
      taus: T thresholds in Lab units.

    Returns:
      [N, T] in [0, 1].
    """
    error = color_error(ab, ab_true)
    return jnp.stack([jnp.mean(error > tau, axis=(1, 2)) for tau in taus], axis=-1)


def colorfulness(rgb: jax.Array) -> jax.Array:
    """Colourfulness of Hasler and Süsstrunk, "Measuring colourfulness in natural images" (2003).

    Their M⁽³⁾: with rg = R - G and yb = (R + G) / 2 - B, both signed and on the scale 0..255:
    sqrt(var rg + var yb) + 0.3 sqrt(mean(rg)² + mean(yb)²).

    Args:
      rgb: [N, H, W, 3] sRGB in [0, 1].

    Returns:
      [N]: 0 for grey, 15 for "slightly", 59 for "quite", 109 for "extremely" colourful.
    """
    chex.assert_shape(rgb, (None, None, None, 3))
    red, green, blue = 255.0 * rgb[..., 0], 255.0 * rgb[..., 1], 255.0 * rgb[..., 2]
    opponents = jnp.stack([red - green, 0.5 * (red + green) - blue], axis=-1)
    variance = jnp.sum(jnp.var(opponents, axis=(1, 2)), axis=-1)
    mean = jnp.sqrt(jnp.sum(jnp.mean(opponents, axis=(1, 2)) ** 2, axis=-1))
    return jnp.sqrt(variance) + 0.3 * mean


def ab_histogram(ab: jax.Array) -> jax.Array:
    """Counts the colours of each image in bins of 10 × 10 Lab units.

    Args:
      ab: [N, H, W, 2] a*b*; outside [-110, 110) they count in the outermost bins.

    Returns:
      [N, 22, 22] int32 pixels, a* by b*. Histograms add: sum those of the images to be compared.
    """
    chex.assert_shape(ab, (None, None, None, 2))
    # Clipped as floats, because what casting a huge float to an integer gives is undefined.
    bins = jnp.clip(jnp.floor(ab / BIN_WIDTH) + NUM_BINS // 2, 0, NUM_BINS - 1).astype(jnp.int32)
    flat = (bins[..., 0] * NUM_BINS + bins[..., 1]).reshape(ab.shape[0], -1)
    counts = jax.vmap(lambda index: jnp.zeros(NUM_BINS**2, jnp.int32).at[index].add(1))(flat)
    return counts.reshape(-1, NUM_BINS, NUM_BINS)


def histogram_distance(counts: chex.Array, counts_true: chex.Array) -> jax.Array:
    """Total variation distance of two histograms: half the sum of |p - q|.

    The share of pixels that would have to change their bin for the two to agree (Levin, Peres and
    Wilmer, "Markov Chains and Mixing Times", 4.1).

    Args:
      counts: [A, B] pixels in each bin, at least one in all.
      counts_true: [A, B] likewise; the totals may differ.

    Returns:
      A scalar in [0, 1].
    """
    chex.assert_equal_shape([counts, counts_true])
    p, q = counts / jnp.sum(counts), counts_true / jnp.sum(counts_true)
    return 0.5 * jnp.sum(jnp.abs(p - q))


def _check_pair(ab: jax.Array, ab_true: jax.Array) -> None:
    chex.assert_shape([ab, ab_true], (None, None, None, 2))
    chex.assert_equal_shape([ab, ab_true])
