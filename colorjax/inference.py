"""Colouring images with a trained generator."""

from functools import partial

import jax
import jax.numpy as jnp

from colorjax.lab import clip_chroma, lab_to_rgb, rgb_to_lab
from colorjax.state import Variables
from colorjax.steps import Predictor, to_float


@partial(jax.jit, static_argnums=0)
def colorize(
    predict: Predictor, variables: Variables, images: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The images in grey, and coloured by a predictor.

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
    lab = jnp.concatenate([l, ab], axis=-1)
    grey = lab_to_rgb(jnp.concatenate([l, jnp.zeros_like(ab)], axis=-1))
    # One channel for all: the standard's rounded matrix puts some blues a level higher.
    grey = jnp.repeat(grey[..., 1:2], 3, axis=-1)
    return _to_bytes(grey), _to_bytes(lab_to_rgb(clip_chroma(lab)))


def _to_bytes(rgb: jax.Array) -> jax.Array:
    return jnp.round(jnp.clip(rgb, 0, 1) * 255).astype(jnp.uint8)
