"""Random hints for training: colours of the true image at a few places."""

import jax
import jax.numpy as jnp

# Zhang et al., "Real-time user-guided image colorization with learned deep priors" (2017): the
# number of points is geometric, their squares have sides of 1 to 9 pixels, their positions a
# standard deviation of a quarter of the side, and one image in 100 shows everything.
POINT_RATE = 1 / 8
MAX_SIDE = 9
SPREAD = 1 / 4
EVERYTHING = 1 / 100
# One image in 5,000 would have more points.
MAX_POINTS = 64


def draw_hints(rngs: jax.Array, ab: jax.Array, share: float) -> jax.Array:
    """Draws hints for each image.

    Args:
      rngs: [N] keys, one for each image.
      ab: [N, H, W, 2] true a*b* / 110.
      share: of the images that get hints, in [0, 1].

    Returns:
      [N, H, W, 3]: the mean a*b* / 110 within each square, and 1; 0 elsewhere. Where squares
      overlap, the mean of their colours.
    """
    _, height, width, _ = ab.shape

    def draw(rng: jax.Array, ab: jax.Array) -> jax.Array:
        has_hints, number, side, position, everything = jax.random.split(rng, 5)
        count = jnp.where(
            jax.random.bernoulli(has_hints, share), jax.random.geometric(number, POINT_RATE), 0
        )
        sides = jax.random.randint(side, (MAX_POINTS,), 1, MAX_SIDE + 1)
        centres = 0.5 + SPREAD * jax.random.normal(position, (2, MAX_POINTS))
        used = jnp.arange(MAX_POINTS) < count

        def covered(centre: jax.Array, length: int) -> jax.Array:
            """[points, length]: 1 within the squares."""
            start = jnp.clip(jnp.round(centre * length - sides / 2), 0, length - sides)
            pixel = jnp.arange(length)[None, :] - start[:, None]
            return ((pixel >= 0) & (pixel < sides[:, None])).astype(ab.dtype)

        rows, columns = covered(centres[0], height), covered(centres[1], width)
        # Ones in a third channel count the squares over a pixel.
        pixels = jnp.concatenate([ab, jnp.ones((height, width, 1))], axis=-1)
        means = jnp.einsum("ph,hwc,pw->pc", rows, pixels, columns) / sides[:, None] ** 2
        total = jnp.einsum("ph,pw,pc->hwc", rows, columns, means * used[:, None])
        hints = total / jnp.maximum(total[..., 2:], 1)
        shows_all = (count > 0) & jax.random.bernoulli(everything, EVERYTHING)
        return jnp.where(shows_all, pixels, hints)

    return jax.vmap(draw)(rngs, ab)
