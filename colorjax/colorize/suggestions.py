"""The likeliest colours of a pixel, as text."""

from collections import defaultdict

import jax
import jax.numpy as jnp
import numpy as np

from colorjax.display import quantized
from colorjax.lab import clip_chroma, lab_to_rgb, lightness
from colorjax.models.answers import likeliest


def suggestions(
    probabilities: np.ndarray, pixel: np.ndarray, count: int
) -> list[tuple[str, float]]:
    """The modes of a distribution in sRGB.

    Args:
      probabilities: [Q] of the colours of the pixel, see `color_bins`.
      pixel: [1 or 3] uint8 or uint16 sRGB, of which only the lightness is used.
      count: at most as many are returned.

    Returns:
      ("#rrggbb", probability), the likeliest first. Colours outside sRGB lose chroma until they
      fit; of those that are then the same the probabilities are added.
    """
    probabilities = probabilities / probabilities.sum()
    # The logarithm of 0 is infinite.
    modes = likeliest(np.log(probabilities + 1e-30), len(probabilities))
    ab = np.zeros((1 << (len(modes) - 1).bit_length(), 2), np.float32)  # few sizes are compiled
    ab[: len(modes)] = [mode for mode, _ in modes]
    if (pixel == 0).all() or (pixel == np.iinfo(pixel.dtype).max).all():
        ab = 0 * ab  # as in coloured pictures, black and white have no colour
    rgb = np.asarray(_in_srgb(pixel, ab))[: len(modes)]
    shares: dict[str, float] = defaultdict(float)
    for colour, (_, share) in zip(rgb, modes, strict=True):
        shares[f"#{colour.tobytes().hex()}"] += share
    total = max(1.0, sum(shares.values()))
    ordered = sorted(shares.items(), key=lambda item: -item[1])[:count]
    return [(colour, share / total) for colour, share in ordered]


@jax.jit
def _in_srgb(pixel: jax.Array, ab: jax.Array) -> jax.Array:
    """[N, 3] uint8 sRGB of a*b* [N, 2] at the lightness of a pixel [1 or 3]."""
    l = jnp.broadcast_to(lightness(pixel), (len(ab), 1))
    return quantized(lab_to_rgb(clip_chroma(jnp.concatenate([l, ab], axis=-1))), np.uint8)
