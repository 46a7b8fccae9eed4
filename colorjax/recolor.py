"""From pixels and a*b* to coloured pixels, in jnp."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from colorjax.lab import clip_chroma, lab_to_rgb, rgb_to_lab
from colorjax.state import Variables
from colorjax.steps import Predictor, to_float


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
    return paint(images, predict(variables, rgb_to_lab(to_float(images))[..., :1]))


@jax.jit
def paint(images: jax.Array, ab: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The images in grey, and with a*b* [N, h, w, 2], brought to their size: see `colorize`."""
    l = rgb_to_lab(to_float(images))[..., :1]
    if ab.shape[1:3] != l.shape[1:3]:
        ab = jax.image.resize(ab, (*l.shape[:-1], 2), "linear")
    grey = lab_to_rgb(jnp.concatenate([l, jnp.zeros_like(ab)], axis=-1))
    # One channel for all: the standard's rounded matrix puts some blues a level higher.
    grey = jnp.repeat(grey[..., 1:2], 3, axis=-1)
    return _quantized(grey, jnp.uint8), _shown(l, ab, jnp.uint8)


@jax.jit
def color_by_lines(pixels: jax.Array, lines: jax.Array) -> jax.Array:
    """Gives pixels the colours that their lines say belong to their lightness.

    Args:
      pixels: [n, 1 or 3] uint8 or uint16 sRGB, of which only the lightness is used.
      lines: [n, 4]: a*b* = lines[:, :2] · L + lines[:, 2:].

    Returns:
      [n, 3] of the same type.
    """
    rgb = jnp.broadcast_to(pixels, (len(pixels), 3)) / jnp.float32(jnp.iinfo(pixels.dtype).max)
    l = rgb_to_lab(rgb)[..., :1]
    return _shown(l, lines[:, :2] * l + lines[:, 2:], pixels.dtype)


def _shown(l: jax.Array, ab: jax.Array, dtype: Any) -> jax.Array:
    levels = int(jnp.iinfo(dtype).max)
    rgb = lab_to_rgb(clip_chroma(jnp.concatenate([l, ab], axis=-1), levels))
    return _quantized(rgb, dtype)


def _quantized(rgb: jax.Array, dtype: Any) -> jax.Array:
    return jnp.round(jnp.clip(rgb, 0, 1) * jnp.iinfo(dtype).max).astype(dtype)
