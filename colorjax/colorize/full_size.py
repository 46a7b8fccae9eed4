"""From a small a*b* to one for every pixel of a large picture, guided by its lightness."""

from functools import partial

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from colorjax.display import quantized
from colorjax.lab import clip_chroma, fits_srgb, lab_to_rgb, lightness

# Differences of L below the root of this say little about differences of colour.
EPSILON = 16.0


def fit_coefficients(l: np.ndarray, ab: np.ndarray) -> np.ndarray:
    """Fits a local linear model of a* and b* in L around each pixel: a*b* = slope · L + intercept.

    Interpolated to a larger picture and applied to its L, the coefficients give a*b* that change
    where L does, as in a guided filter (He et al. 2010; He and Sun 2015 for the small maps), so
    colours stay within contours. Unlike there, each model passes through the colour of its own
    pixel, which keeps colours that L does not explain: for a*b* of photographs averaged over 4×4
    pixels the error is 0.4 to 0.8 of that of bilinear interpolation; the guided filter's is 0.8 to
    1.3.

    Args:
      l: [h, w] float32 in [0, 100].
      ab: [h, w, 2] float32.

    Returns:
      [h, w, 4] float32: slopes of a* and b*, intercepts of a* and b*.
    """

    def mean(x: np.ndarray) -> np.ndarray:
        return cv2.blur(x, (3, 3), borderType=cv2.BORDER_REPLICATE)

    mean_l = mean(l)
    variance = np.maximum(mean(l * l) - mean_l**2, 0)
    covariance = mean(l[..., None] * ab) - mean_l[..., None] * mean(ab)
    slope = mean(covariance / (variance + EPSILON)[..., None])
    return np.concatenate([slope, ab - slope * l[..., None]], axis=-1)


def interpolate_rows(maps: np.ndarray, shape: tuple[int, int], top: int, bottom: int) -> np.ndarray:
    """Some rows of what bilinear interpolation makes of maps.

    Args:
      maps: [h, w, C] float32.
      shape: (H, W) of the whole result.
      top: the first row.
      bottom: the row after the last.

    Returns:
      [bottom - top, W, C] float32.
    """
    height = maps.shape[0]
    rows = np.clip((np.arange(top, bottom) + 0.5) * height / shape[0] - 0.5, 0, height - 1)
    above = rows.astype(int)
    below = np.minimum(above + 1, height - 1)
    share = (rows - above).astype(np.float32)[:, None, None]
    narrow = (1 - share) * maps[above] + share * maps[below]
    return cv2.resize(narrow, (shape[1], bottom - top), interpolation=cv2.INTER_LINEAR)


@partial(jax.jit, static_argnames="clip")
def apply_coefficients(
    pixels: jax.Array, coefficients: jax.Array, clip: bool
) -> tuple[jax.Array, jax.Array]:
    """Gives pixels the colours that their coefficients say belong to their lightness.

    Args:
      pixels: [n, 1 or 3] uint8 or uint16 sRGB, of which only the lightness is used.
      coefficients: [n, 4]: a*b* = coefficients[:, :2] · L + coefficients[:, 2:].
      clip: whether colours that sRGB cannot show lose chroma until they fit. That costs as much as
        all the rest, for a few pixels.

    Returns:
      [n, 3] of the same type, and [n] whether sRGB can show the colour.
    """
    levels = int(jnp.iinfo(pixels.dtype).max)
    l = lightness(pixels)
    lab = jnp.concatenate([l, coefficients[:, :2] * l + coefficients[:, 2:]], axis=-1)
    fits = fits_srgb(lab, levels)
    return quantized(lab_to_rgb(clip_chroma(lab, levels) if clip else lab), pixels.dtype), fits
