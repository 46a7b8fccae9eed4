"""Differentiable augmentation of the discriminator's input."""

import chex
import jax
import jax.numpy as jnp


def translate_and_cut(
    rngs: jax.Array, images: jax.Array, max_shift: float, cut: float
) -> jax.Array:
    """Shifts each image and blanks a square of it; differentiable in the images.

    Applied to real and generated images alike, it keeps the discriminator from memorising a small
    data set without leaking into the generated images (Zhao et al. 2020, "Differentiable
    Augmentation for Data-Efficient GAN Training"). Colours are not changed, because they are what
    the discriminator judges.

    Args:
      rngs: [N] keys, one for each image.
      images: [N, H, W, C] floats.
      max_shift: largest shift as a fraction of the side; pixels shifted in are zero.
      cut: side of the square that is set to zero, as a fraction of the side.

    Returns:
      [N, H, W, C].
    """
    chex.assert_rank(images, 4)
    _, height, width, _ = images.shape
    limit = jnp.array([round(height * max_shift), round(width * max_shift)])
    side = jnp.array([round(height * cut), round(width * cut)])

    def augment(image: jax.Array, rng: jax.Array) -> jax.Array:
        shift_rng, cut_rng = jax.random.split(rng)
        shift = jax.random.randint(shift_rng, (2,), -limit, limit + 1)
        corner = jax.random.randint(
            cut_rng, (2,), -(side // 2), jnp.array([height, width]) - side // 2
        )
        keep = []
        for axis, length in enumerate((height, width)):
            position = jnp.arange(length)
            moved_in = (position < shift[axis]) | (position >= length + shift[axis])
            blank = (position >= corner[axis]) & (position < corner[axis] + side[axis])
            keep.append((~moved_in, ~blank))
        (rows, rows_left), (columns, columns_left) = keep
        mask = (rows[:, None] & columns[None, :]) & (rows_left[:, None] | columns_left[None, :])
        return jnp.roll(image, shift, axis=(0, 1)) * mask[..., None].astype(image.dtype)

    return jax.vmap(augment)(images, rngs)
