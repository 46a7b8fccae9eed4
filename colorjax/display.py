"""Conversions between 8-bit sRGB and what the network sees and predicts."""

from typing import Any

import chex
import jax
import jax.numpy as jnp

from colorjax.lab import clip_chroma, lab_to_rgb, lightness, rgb_to_lab


@jax.jit
def colorized(images: jax.Array, ab: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Grey and coloured versions of images.

    Args:
      images: [N, H, W, 1 or 3] uint8 or uint16 sRGB, of which only the lightness is used.
      ab: [N, h, w, 2] a*b*, resized to the images; colours outside sRGB lose chroma.

    Returns:
      Two arrays [N, H, W, 3] uint8.
    """
    l = lightness(images)
    if ab.shape[1:3] != l.shape[1:3]:
        ab = jax.image.resize(ab, (*l.shape[:-1], 2), "linear")
    colored = lab_to_rgb(clip_chroma(jnp.concatenate([l, ab], axis=-1)))
    return as_grey(l), quantized(colored, jnp.uint8)


@jax.jit
def as_grey(l: jax.Array) -> jax.Array:
    """L [..., 1] in [0, 100] as grey [..., 3] uint8 sRGB."""
    grey = lab_to_rgb(jnp.concatenate([l, jnp.zeros((*l.shape[:-1], 2))], axis=-1))
    # Green for all channels: the standard's rounded matrix makes some blues a level higher.
    return quantized(jnp.repeat(grey[..., 1:2], 3, axis=-1), jnp.uint8)


def quantized(rgb: jax.Array, dtype: Any) -> jax.Array:
    """Rounds sRGB in [0, 1] to the levels of uint8 or uint16; clips values outside."""
    return jnp.round(jnp.clip(rgb, 0, 1) * jnp.iinfo(dtype).max).astype(dtype)


def to_float(image: jax.Array) -> jax.Array:
    """8-bit sRGB as floats in [0, 1]."""
    return image.astype(jnp.float32) / 255.0


def displayed(l: jax.Array, ab: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Colours as a user sees them: Lab to sRGB, clipped and rounded to 8 bits, and back to Lab.

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
