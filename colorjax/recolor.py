"""From pixels and a*b* to coloured pixels, in jnp."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from colorjax.lab import clip_chroma, fits_srgb, lab_to_rgb, lightness
from colorjax.state import Variables
from colorjax.steps import Predictor


@partial(jax.jit, static_argnums=0)
def colorize(
    predict: Predictor, variables: Variables, images: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Images of the model's own size in grey, and coloured by a predictor.

    Colours that sRGB cannot show lose chroma until they fit; the lightness stays.

    Args:
      predict: see `steps.Predictor`.
      variables: the predictor's.
      images: [N, H, W, 3] uint8 sRGB, of which only the lightness is used.

    Returns:
      Two [N, H, W, 3] uint8 sRGB.
    """
    return paint(images, predict(variables, lightness(images)))


@jax.jit
def paint(images: jax.Array, ab: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The images in grey, and with a*b* [N, h, w, 2], brought to their size: see `colorize`."""
    l = lightness(images)
    if ab.shape[1:3] != l.shape[1:3]:
        ab = jax.image.resize(ab, (*l.shape[:-1], 2), "linear")
    colored = lab_to_rgb(clip_chroma(jnp.concatenate([l, ab], axis=-1)))
    return paint_grey(l), _quantized(colored, jnp.uint8)


@jax.jit
def paint_grey(l: jax.Array) -> jax.Array:
    """L [..., 1] in [0, 100] as grey [..., 3] uint8 sRGB."""
    grey = lab_to_rgb(jnp.concatenate([l, jnp.zeros((*l.shape[:-1], 2))], axis=-1))
    # One channel for all: the standard's rounded matrix puts some blues a level higher.
    return _quantized(jnp.repeat(grey[..., 1:2], 3, axis=-1), jnp.uint8)


@partial(jax.jit, static_argnames="clip")
def color_by_lines(pixels: jax.Array, lines: jax.Array, clip: bool) -> tuple[jax.Array, jax.Array]:
    """Gives pixels the colours that their lines say belong to their lightness.

    Args:
      pixels: [n, 1 or 3] uint8 or uint16 sRGB, of which only the lightness is used.
      lines: [n, 4]: a*b* = lines[:, :2] · L + lines[:, 2:].
      clip: whether colours that sRGB cannot show lose chroma until they fit. That costs as much as
        all the rest, for a few pixels.

    Returns:
      [n, 3] of the same type, and [n] whether sRGB can show the colour.
    """
    levels = int(jnp.iinfo(pixels.dtype).max)
    l = lightness(pixels)
    lab = jnp.concatenate([l, lines[:, :2] * l + lines[:, 2:]], axis=-1)
    fits = fits_srgb(lab, levels)
    return _quantized(lab_to_rgb(clip_chroma(lab, levels) if clip else lab), pixels.dtype), fits


def _quantized(rgb: jax.Array, dtype: Any) -> jax.Array:
    return jnp.round(jnp.clip(rgb, 0, 1) * jnp.iinfo(dtype).max).astype(dtype)
