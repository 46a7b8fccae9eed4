"""Where the skin of a face is, and its tone, so that results can be given for each tone.

Skin is found by a rule, not by a model: the pixels of the truth within a central ellipse whose
chroma is that of skin (Chai and Ngan, "Face segmentation using skin-color map in videophone
applications", 1999: Cb in [77, 127], Cr in [133, 173]). Limits: the face must be in the middle and
fill about half the image; lips, blond hair, wood and sand count as skin; very dark, very pale,
painted or strongly lit skin may not. The tone is that of the image, which light and white balance
change: it says how a face was photographed, not whose it is.

The tone is the individual typology angle, atan((L* - 50) / b*) in degrees, in the six classes of
Chardon, Cretois and Hourseau (1991) as extended by Del Bino and Bernerd (2013).
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

# The lower bound of each class, in degrees.
TONES = {
    "very light": 55.0,
    "light": 41.0,
    "intermediate": 28.0,
    "tan": 10.0,
    "brown": -30.0,
    "dark": -np.inf,
}
NO_SKIN = "no skin found"
# Half axes of the ellipse, as shares of the image's height and width.
HALF_HEIGHT, HALF_WIDTH = 0.36, 0.26
# If skin covers less of the ellipse than this, the image has no tone.
MIN_SHARE = 0.1


def skin_mask(rgb: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Finds skin.

    Args:
      rgb: [N, H, W, 3] sRGB in [0, 1].

    Returns:
      mask: [N, H, W] bool.
      share: [N] share of the ellipse that is skin.
    """
    chex.assert_shape(rgb, (None, None, None, 3))
    height, width = rgb.shape[1:3]
    y = (np.arange(height) + 0.5) / height - 0.5
    x = (np.arange(width) + 0.5) / width - 0.5
    ellipse = (y[:, None] / HALF_HEIGHT) ** 2 + (x[None, :] / HALF_WIDTH) ** 2 < 1.0
    # ITU-R BT.601 in full range, as in JPEG.
    red, green, blue = 255.0 * rgb[..., 0], 255.0 * rgb[..., 1], 255.0 * rgb[..., 2]
    cb = 128.0 - 0.168736 * red - 0.331264 * green + 0.5 * blue
    cr = 128.0 + 0.5 * red - 0.418688 * green - 0.081312 * blue
    found = (cb >= 77.0) & (cb <= 127.0) & (cr >= 133.0) & (cr <= 173.0) & ellipse[None]
    return found, jnp.sum(found, axis=(1, 2)) / max(1, int(ellipse.sum()))


def mean_over(mask: jax.Array, values: jax.Array) -> jax.Array:
    """Means [N, ...] of values [N, H, W, ...] over a mask [N, H, W]; 0 for an empty mask."""
    weights = mask.reshape(*mask.shape, *(1,) * (values.ndim - 3)).astype(values.dtype)
    return jnp.sum(weights * values, axis=(1, 2)) / jnp.maximum(jnp.sum(weights, axis=(1, 2)), 1.0)


def typology_angle(l: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The individual typology angle in degrees, (-180, 180], of mean L* and b*."""
    return np.degrees(np.arctan2(l - 50.0, b))


def tone_of(angle: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The skin tone of each image.

    Args:
      angle: [N] degrees.
      share: [N] as `skin_mask` returns it.

    Returns:
      [N] names of TONES, or NO_SKIN.
    """
    tones = np.full(len(angle), NO_SKIN, dtype=object)
    # Lowest bound first: the highest bound that holds is assigned last.
    for name, bound in reversed(TONES.items()):
        tones[(share >= MIN_SHARE) & (angle > bound)] = name
    return tones
