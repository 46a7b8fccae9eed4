"""Structural similarity of images: Wang, Bovik, Sheikh and Simoncelli (2004)."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

SIGMA = 1.5
RADIUS = 5  # the Gaussian is cut off after 3.5 σ: a window of 11 × 11
_C1, _C2 = 0.01**2, 0.03**2


def ssim(rgb: jax.Array, rgb_true: jax.Array) -> jax.Array:
    """SSIM, averaged over the channels and over all windows that lie within the image.

    That is scikit-image's `structural_similarity` with gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False, data_range=1 and channel_axis=-1: the settings of the paper.

    Args:
      rgb: [N, H, W, C] in [0, 1]; sides of at least 11.
      rgb_true: [N, H, W, C] likewise.

    Returns:
      [N] in [-1, 1]; 1 for equal images.
    """
    chex.assert_rank([rgb, rgb_true], 4)
    chex.assert_equal_shape([rgb, rgb_true])
    rows, columns = (_windows(side, rgb.dtype) for side in rgb.shape[1:3])

    def blur(x: jax.Array) -> jax.Array:
        # Products with two band matrices: on a CPU several times faster than a convolution.
        x = jnp.einsum("ih,nhwc->niwc", rows, x, precision="highest")
        return jnp.einsum("jw,niwc->nijc", columns, x, precision="highest")

    mean, mean_true = blur(rgb), blur(rgb_true)
    variances = blur(rgb**2 + rgb_true**2) - mean**2 - mean_true**2
    covariance = blur(rgb * rgb_true) - mean * mean_true
    luminance = (2.0 * mean * mean_true + _C1) / (mean**2 + mean_true**2 + _C1)
    return jnp.mean(luminance * (2.0 * covariance + _C2) / (variances + _C2), axis=(1, 2, 3))


def _windows(side: int, dtype: jnp.dtype) -> np.ndarray:
    """[side - 10, side]: row i holds the weights of the window that begins at pixel i."""
    if side <= 2 * RADIUS:
        raise ValueError(f"SSIM needs images of at least {2 * RADIUS + 1} pixels, not {side}")
    weights = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    matrix = np.zeros((side - 2 * RADIUS, side))
    for i in range(len(matrix)):
        matrix[i, i : i + len(weights)] = weights / weights.sum()
    return matrix.astype(dtype)
