"""Metrics of each image. The caller drops padded images and takes means.

`ab` and `ab_true` are a*b* [N, H, W, 2] of predictions and truths in Lab units; `rgb` and
`rgb_true` are sRGB [N, H, W, 3] in [0, 1]. In evaluation they come from `displayed`, so that
metrics are computed on the 8-bit image that a user gets. The first axis of every result is the
image.
"""

from collections.abc import Sequence
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np

BIN_WIDTH = 10
# Edges -110, -100, …, 110, which contain every a*b* of sRGB.
NUM_BINS = 22
# The AuC is the mean over the thresholds 0, 1, …, 150 (Zhang, Isola and Efros 2016).
MAX_TAU = 150
# Stands for the infinite PSNR of an image without errors. One wrong level in 256 × 256 pixels gives
# 101.
MAX_PSNR = 100.0
# SSIM: Wang, Bovik, Sheikh and Simoncelli (2004).
SIGMA = 1.5
RADIUS = 5  # the Gaussian is truncated at 3.5 σ: a window of 11 × 11
_C1, _C2 = 0.01**2, 0.03**2


def mse(ab: jax.Array, ab_true: jax.Array) -> jax.Array:
    """[N] mean squared error of a* and b* over pixels and both channels, in squared Lab units."""
    _check_pair(ab, ab_true)
    return jnp.mean((ab - ab_true) ** 2, axis=(1, 2, 3))


def color_error(ab: jax.Array, ab_true: jax.Array) -> jax.Array:
    """[N, H, W] distance ‖Δ(a*, b*)‖₂ at each pixel."""
    _check_pair(ab, ab_true)
    return jnp.sqrt(jnp.sum((ab - ab_true) ** 2, axis=-1))


def threshold_loss(
    ab: jax.Array, ab_true: jax.Array, taus: Sequence[float] = (5.0, 10.0, 20.0)
) -> jax.Array:
    """[N, T] share of pixels whose `color_error` exceeds each of the T thresholds τ."""
    error = color_error(ab, ab_true)
    return jnp.stack([jnp.mean(error > tau, axis=(1, 2)) for tau in taus], axis=-1)


def error_counts(ab: jax.Array, ab_true: jax.Array) -> jax.Array:
    """Counts the pixels of each image by the lowest integer threshold not below `color_error`.

    Returns:
      [N, 152] int32: pixels within τ but not within τ - 1, for τ = 0, 1, …, 150; then the rest.
    """
    lowest = _lowest_threshold(ab, ab_true).astype(jnp.int32)
    return _counts(lowest.reshape(ab.shape[0], -1), MAX_TAU + 2)


def pixel_auc(ab: jax.Array, ab_true: jax.Array) -> jax.Array:
    """[N, H, W] share of the thresholds 0, 1, …, 150 that are not below `color_error`.

    Its mean over an image, times 100, is the AuC of Zhang, Isola and Efros, "Colorful image
    colorization" (2016).
    """
    return (MAX_TAU + 1.0 - _lowest_threshold(ab, ab_true)) / (MAX_TAU + 1.0)


def _lowest_threshold(ab: jax.Array, ab_true: jax.Array) -> jax.Array:
    """[N, H, W] lowest integer not below `color_error`, at most 151."""
    return jnp.ceil(jnp.minimum(color_error(ab, ab_true), MAX_TAU + 1.0))


def psnr(rgb: jax.Array, rgb_true: jax.Array) -> jax.Array:
    """[N] peak signal-to-noise ratio in dB, at most MAX_PSNR."""
    chex.assert_equal_shape([rgb, rgb_true])
    error = jnp.mean((rgb - rgb_true) ** 2, axis=(1, 2, 3))
    return -10.0 * jnp.log10(jnp.maximum(error, 10.0 ** (-MAX_PSNR / 10.0)))


def colorfulness(rgb: jax.Array) -> jax.Array:
    """Colourfulness of Hasler and Süsstrunk, "Measuring colourfulness in natural images" (2003).

    Their M⁽³⁾: with rg = R - G and yb = (R + G) / 2 - B, both signed and on the scale 0..255:
    sqrt(var rg + var yb) + 0.3 sqrt(mean(rg)² + mean(yb)²).

    Returns:
      [N]: 0 for grey, 15 for "slightly", 59 for "quite", 109 for "extremely" colourful.
    """
    chex.assert_shape(rgb, (None, None, None, 3))
    red, green, blue = 255.0 * rgb[..., 0], 255.0 * rgb[..., 1], 255.0 * rgb[..., 2]
    opponents = jnp.stack([red - green, 0.5 * (red + green) - blue], axis=-1)
    variance = jnp.sum(jnp.var(opponents, axis=(1, 2)), axis=-1)
    mean = jnp.sqrt(jnp.sum(jnp.mean(opponents, axis=(1, 2)) ** 2, axis=-1))
    return jnp.sqrt(variance) + 0.3 * mean


def ab_histogram(ab: jax.Array, width: int = BIN_WIDTH) -> jax.Array:
    """Histogram of the colours of each image in square bins. Histograms of images add up.

    Args:
      ab: a*b*; values outside [-110, 110) count in the outermost bins.
      width: side of a bin in Lab units; must divide 110.

    Returns:
      [N, 22, 22] int32 pixel counts (for a width of 10), a* by b*.
    """
    side = NUM_BINS * BIN_WIDTH // width
    return _counts(_color_bins(ab, width), side**2).reshape(-1, side, side)


def sums_by_color(values: jax.Array, ab: jax.Array) -> jax.Array:
    """Sums the values of each image over the bins of `ab_histogram`.

    Args:
      values: [N, H, W].
      ab: [N, H, W, 2] a*b* of the same pixels.

    Returns:
      [N, 484], in the order of the flattened histogram.
    """
    chex.assert_shape(values, ab.shape[:-1])
    sums = jax.vmap(partial(jnp.bincount, length=NUM_BINS**2))
    return sums(_color_bins(ab, BIN_WIDTH), values.reshape(values.shape[0], -1))


def _color_bins(ab: jax.Array, width: int) -> jax.Array:
    """[N, H * W] index of each pixel's bin; b* varies fastest."""
    chex.assert_shape(ab, (None, None, None, 2))
    side = NUM_BINS * BIN_WIDTH // width
    # Clipped as floats: casting a huge float to an integer is undefined.
    bins = jnp.clip(jnp.floor(ab / width) + side // 2, 0, side - 1).astype(jnp.int32)
    return (bins[..., 0] * side + bins[..., 1]).reshape(ab.shape[0], -1)


def _counts(index: jax.Array, length: int) -> jax.Array:
    """[N, length] int32: how often each of 0, …, length - 1 occurs in each row of [N, M]."""
    return jax.vmap(partial(jnp.bincount, length=length))(index)


def _check_pair(ab: jax.Array, ab_true: jax.Array) -> None:
    chex.assert_shape([ab, ab_true], (None, None, None, 2))
    chex.assert_equal_shape([ab, ab_true])


def ssim(rgb: jax.Array, rgb_true: jax.Array) -> jax.Array:
    """SSIM, averaged over channels and over all windows that lie within the image.

    Equals scikit-image's `structural_similarity` with gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False, data_range=1 and channel_axis=-1: the settings of the paper.

    Returns:
      [N] in [-1, 1]; 1 for equal images.

    Raises:
      ValueError: a side is smaller than the window, 11 pixels.
    """
    chex.assert_rank([rgb, rgb_true], 4)
    chex.assert_equal_shape([rgb, rgb_true])
    rows, columns = (_windows(side, rgb.dtype) for side in rgb.shape[1:3])

    def blur(x: jax.Array) -> jax.Array:
        # Two products with band matrices are several times faster than a convolution on a CPU.
        x = jnp.einsum("ih,nhwc->niwc", rows, x, precision="highest")
        return jnp.einsum("jw,niwc->nijc", columns, x, precision="highest")

    mean, mean_true = blur(rgb), blur(rgb_true)
    variances = blur(rgb**2 + rgb_true**2) - mean**2 - mean_true**2
    covariance = blur(rgb * rgb_true) - mean * mean_true
    luminance = (2.0 * mean * mean_true + _C1) / (mean**2 + mean_true**2 + _C1)
    return jnp.mean(luminance * (2.0 * covariance + _C2) / (variances + _C2), axis=(1, 2, 3))


def _windows(side: int, dtype: jnp.dtype) -> np.ndarray:
    """[side - 10, side]: row i holds the weights of the window that starts at pixel i."""
    if side <= 2 * RADIUS:
        raise ValueError(f"SSIM needs images of at least {2 * RADIUS + 1} pixels, not {side}")
    weights = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    matrix = np.zeros((side - 2 * RADIUS, side))
    for i in range(len(matrix)):
        matrix[i, i : i + len(weights)] = weights / weights.sum()
    return matrix.astype(dtype)
