"""Hints made from a true image: squares that show their mean colour."""

import jax
import jax.numpy as jnp


def show_squares(
    ab: jax.Array, corners: jax.Array, sides: jax.Array, shown: jax.Array
) -> jax.Array:
    """The hints that squares of one image give.

    Args:
      ab: [H, W, 2] true a*b*, in any unit.
      corners: [P, 2], the first row and column of each square, which lies within the image.
      sides: [P], their sides in pixels.
      shown: [P] bool, whether each is shown.

    Returns:
      [H, W, 3]: the mean a*b* of each square, and 1; 0 elsewhere. Where squares overlap, the mean
      of their colours.
    """
    height, width, _ = ab.shape

    def covered(starts: jax.Array, length: int) -> jax.Array:
        """[P, length]: 1 within the squares."""
        pixels = jnp.arange(length)[None, :] - starts[:, None]
        return ((pixels >= 0) & (pixels < sides[:, None])).astype(ab.dtype)

    def product(form: str, *of: jax.Array) -> jax.Array:
        return jnp.einsum(form, *of, precision="highest")

    rows, columns = covered(corners[:, 0], height), covered(corners[:, 1], width)
    # Ones in a third channel count the squares over a pixel.
    pixels = jnp.concatenate([ab, jnp.ones((height, width, 1), ab.dtype)], axis=-1)
    means = product("ph,hwc,pw->pc", rows, pixels, columns) / sides[:, None] ** 2
    total = product("ph,pw,pc->hwc", rows, columns, means * shown[:, None])
    return total / jnp.maximum(total[..., 2:], 1)
