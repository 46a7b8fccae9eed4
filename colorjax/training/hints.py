"""Random hints for training: colours of the true image at a few places."""

import jax
import jax.numpy as jnp

from colorjax.models.hint_squares import show_squares

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
        size = jnp.array([[height, width]])
        centers = (0.5 + SPREAD * jax.random.normal(position, (MAX_POINTS, 2))) * size
        corners = jnp.clip(jnp.round(centers - sides[:, None] / 2), 0, size - sides[:, None])
        hints = show_squares(ab, corners, sides, jnp.arange(MAX_POINTS) < count)
        everything_shown = jnp.concatenate([ab, jnp.ones((height, width, 1))], axis=-1)
        shows_all = (count > 0) & jax.random.bernoulli(everything, EVERYTHING)
        return jnp.where(shows_all, everything_shown, hints)

    return jax.vmap(draw)(rngs, ab)
