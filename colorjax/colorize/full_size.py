"""Guided upsampling: from a small prediction of a*b* to the colour of every pixel."""

import math
from functools import partial, reduce

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from colorjax.display import quantized
from colorjax.lab import clip_chroma, fits_srgb, lab_to_rgb, lightness

# Regularises the slope where L hardly varies, in squared units of L.
EPSILON = 16.0
# Pixels coloured per call: large enough for few calls, small enough to bound the memory.
CHUNK = 1 << 20


def fit_coefficients(lab: np.ndarray) -> np.ndarray:
    """Fits a local linear model a*b* = slope · L + intercept around each pixel.

    Interpolated to a larger picture and applied to its L, the coefficients give colours that stay
    within contours, as in a guided filter (He et al. 2010; He and Sun 2015 for the small maps).
    Unlike there, each model passes through the colour of its own pixel, which keeps colours that L
    does not explain: for a*b* of photographs averaged over 4×4 pixels, the error is 0.4 to 0.8
    times that of bilinear interpolation; the guided filter's is 0.8 to 1.3 times.

    Args:
      lab: [h, w, 3] float32, L in [0, 100].

    Returns:
      [h, w, 4] float32: slopes of a* and b*, intercepts of a* and b*.
    """

    def mean(x: np.ndarray) -> np.ndarray:
        return cv2.blur(x, (3, 3), borderType=cv2.BORDER_REPLICATE)

    l, ab = lab[..., 0].copy(), lab[..., 1:].copy()
    mean_l = mean(l)
    variance = np.maximum(mean(l * l) - mean_l**2, 0)
    covariance = mean(l[..., None] * ab) - mean_l[..., None] * mean(ab)
    slope = mean(covariance / (variance + EPSILON)[..., None])
    return np.concatenate([slope, ab - slope * l[..., None]], axis=-1)


def apply_coefficients(
    picture: np.ndarray,
    coefficients: np.ndarray,
    device: jax.Device,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Colours every pixel, a band of rows at a time, because pictures may be large.

    Args:
      picture: [H, W, 1 or 3] uint8 or uint16 sRGB, of which only the lightness is used.
      coefficients: [h, w, 4] float32, see `fit_coefficients`; interpolated to [H, W, 4].
      device: where the colours are computed.
      out: array for the result; may be `picture` if it has three channels.

    Returns:
      [H, W, 3] of the type of `picture`: `out`, or a new array. Colours outside sRGB lose chroma
      until they fit. Black and white pixels remain exactly black and white.
    """
    height, width, channels = picture.shape
    coloured = np.empty((height, width, 3), picture.dtype) if out is None else out
    rows = max(1, CHUNK // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        pixels = picture[top:bottom].reshape(-1, channels)
        # Most photographs to be coloured are grey: one look-up a pixel instead of three.
        if all(np.array_equal(pixels[:, 0], pixels[:, i]) for i in range(1, channels)):
            pixels = pixels[:, :1]
        local = interpolate_rows(coefficients, (height, width), top, bottom).reshape(-1, 4)
        band, fits = _color(pixels, local, device)
        # Reducing chroma takes as long as everything else, and few pixels need it.
        outside = np.flatnonzero(~fits)
        if outside.size:
            clipped, _ = _color(pixels[outside], local[outside], device, clip=True)
        coloured[top:bottom] = band.reshape(-1, width, 3)
        if outside.size:
            coloured[top:bottom][np.divmod(outside, width)] = clipped
    return coloured


def interpolate_rows(maps: np.ndarray, shape: tuple[int, int], top: int, bottom: int) -> np.ndarray:
    """Resizes maps [h, w, C] bilinearly to `shape` (H, W) and returns rows top to bottom - 1."""
    height = maps.shape[0]
    rows = np.clip((np.arange(top, bottom) + 0.5) * height / shape[0] - 0.5, 0, height - 1)
    above = rows.astype(int)
    below = np.minimum(above + 1, height - 1)
    share = (rows - above).astype(np.float32)[:, None, None]
    narrow = (1 - share) * maps[above] + share * maps[below]
    return cv2.resize(narrow, (shape[1], bottom - top), interpolation=cv2.INTER_LINEAR)


def area_mean(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Shrinks a picture, a band of rows at a time.

    Args:
      picture: [H, W, C].
      size: w, h of the result, at most W and H.

    Returns:
      [h, w, C] of the type of `picture`, as OpenCV's INTER_AREA to within a level.
    """
    height, width, channels = picture.shape
    step = height / size[1]
    shrunk = np.empty((size[1], size[0], channels), picture.dtype)
    rows = max(1, int(CHUNK / width / step))
    for top in range(0, size[1], rows):
        # The edges of the resulting rows, in rows of the picture.
        edges = step * np.arange(top, min(top + rows, size[1]) + 1)
        first, last = int(edges[0]), min(height, math.ceil(edges[-1]))
        source = np.arange(first, last)
        overlap = np.minimum(edges[1:, None], source + 1) - np.maximum(edges[:-1, None], source)
        weights = (np.maximum(overlap, 0) / step).astype(np.float32)
        band = picture[first:last].astype(np.float32)
        narrow = cv2.resize(band, (size[0], last - first), interpolation=cv2.INTER_AREA)
        mean = weights @ narrow.reshape(last - first, -1)
        shrunk[top : top + rows] = np.rint(mean).reshape(-1, size[0], channels)
    return shrunk


def _color(
    pixels: np.ndarray, coefficients: np.ndarray, device: jax.Device, clip: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """`_color_pixels`, padded to a power of two so that few sizes are compiled."""
    count = len(pixels)
    padding = ((0, max(CHUNK >> 6, 1 << (count - 1).bit_length()) - count), (0, 0))
    padded = np.pad(pixels, padding), np.pad(coefficients, padding)
    colours, fits = _color_pixels(*jax.device_put(padded, device), clip=clip)
    return np.asarray(colours)[:count], np.asarray(fits)[:count]


@partial(jax.jit, static_argnames="clip")
def _color_pixels(
    pixels: jax.Array, coefficients: jax.Array, clip: bool
) -> tuple[jax.Array, jax.Array]:
    """Colours [n, 3] of pixels [n, 1 or 3], and whether each is within sRGB."""
    levels = int(jnp.iinfo(pixels.dtype).max)
    l = lightness(pixels)
    lab = jnp.concatenate([l, coefficients[:, :2] * l + coefficients[:, 2:]], axis=-1)
    rgb = quantized(lab_to_rgb(clip_chroma(lab, levels) if clip else lab), pixels.dtype)
    # Neither has a colour: the paper stays white, and the frame black.
    channels = [pixels[:, i] for i in range(pixels.shape[1])]
    black, white = (
        reduce(jnp.logical_and, (channel == level for channel in channels)) for level in (0, levels)
    )
    rgb = jnp.where(black[:, None], 0, jnp.where(white[:, None], levels, rgb)).astype(rgb.dtype)
    return rgb, fits_srgb(lab, levels) | black | white
