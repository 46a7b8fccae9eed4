"""A filter that carries the colours of hints to places that look alike."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from colorjax.models.color_bins import block_means

FEATURES = 16
# Initial values, in units of the features and of the shorter side.
INITIAL_SHARPNESS, INITIAL_OFFSET = 5.0, 4.0
# Rows that are computed at once: bounds the memory for large images.
ROWS = 8
TINY = 1e-6


class Spread(NamedTuple):
    """What hints say about each place.

    Attributes:
      change: [N, h, w, 2], to be added to a*b* / 110.
      weight: [N, h, w, 1], how much the hints count there, in [0, 1); 0 without hints.
    """

    change: jax.Array
    weight: jax.Array


class HintFilter(nn.Module):
    """Spreads the differences between hints and the prediction at their places.

    A bilateral filter (Tomasi and Manduchi 1998) with learned features: the weight of a hint falls
    with the distance in features and position, so that a hint on a shirt colours the shirt and not
    the wall.

    Attributes:
      conv: `layers.Conv` with its dtype and kernels.
    """

    conv: Any

    @nn.compact
    def __call__(self, x: jax.Array, hints: jax.Array, ab: jax.Array) -> Spread:
        """Filters.

        Args:
          x: [N, h, w, C], feature maps at a quarter of the size, h and w even.
          hints: [N, 4h, 4w, 3], a*b* / 110 where they are known, and 1 there; 0 elsewhere.
          ab: [N, h, w, 2], the prediction without this filter.
        """
        batch, height, width, _ = ab.shape
        small = nn.initializers.variance_scaling(0.1, "fan_in", "uniform")
        features = self.conv(FEATURES, 1, kernel_init=small, name="features")(x)
        sharpness = self.param("sharpness", nn.initializers.constant(INITIAL_SHARPNESS), ())
        offset = self.param("offset", nn.initializers.constant(INITIAL_OFFSET), ())
        places = jnp.broadcast_to(sharpness * _places(height, width), (batch, height, width, 2))
        features = jnp.concatenate([features.astype(jnp.float32), places], axis=-1)

        seen = block_means(hints, 4)
        mask = seen[..., 2:]
        change = seen[..., :2] / jnp.maximum(mask, TINY) - ab
        cells = block_means(
            mask * jnp.concatenate([features, change, jnp.ones_like(mask)], axis=-1), 2
        )
        cells = cells.reshape(batch, -1, cells.shape[-1])
        amount = cells[..., -1:]
        means = cells[..., :-1] / jnp.maximum(amount, TINY)
        keys, change = means[..., :-2], means[..., -2:]
        # A hint weighs as much as the pixels that it covers.
        bias = jnp.where(amount > 0, offset + jnp.log(jnp.maximum(amount, TINY)), -jnp.inf)
        values = jnp.concatenate([change, jnp.ones_like(amount)], axis=-1)

        def of_row(queries: jax.Array) -> jax.Array:
            """[N, w, features] -> [N, w, 3]: the mean change times its weight, and the weight."""
            products = jnp.einsum("nqf,nkf->nqk", queries, keys, precision="highest")
            lengths = jnp.sum(queries**2, -1)[:, :, None] + jnp.sum(keys**2, -1)[:, None]
            squares = jnp.maximum(lengths - 2 * products, 0)
            # Beside the hints stands "none of them", with score 0.
            scores = jnp.pad(jnp.swapaxes(bias, 1, 2) - squares, ((0, 0), (0, 0), (0, 1)))
            weights = jax.nn.softmax(scores)[..., :-1]
            return jnp.einsum("nqk,nkc->nqc", weights, values, precision="highest")

        rows = jnp.swapaxes(features, 0, 1)
        spread = jnp.swapaxes(jax.lax.map(of_row, rows, batch_size=min(ROWS, height)), 0, 1)
        return Spread(spread[..., :2], spread[..., 2:])


def _places(height: int, width: int) -> jax.Array:
    """[height, width, 2]: row and column in units of the shorter side."""
    rows, columns = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
    return jnp.stack([rows, columns], axis=-1) / min(height, width)
