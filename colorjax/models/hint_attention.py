"""Attention that carries hints to all places that look alike."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

# Rows of queries that are computed at once: bounds the memory for large images.
ROWS = 8


class HintAttention(nn.Module):
    """Adds to feature maps what they say about the hints at places that look alike.

    Each place attends to the places of hints, by the similarity of learned features and by
    distance: a hint on a shirt is for the shirt and not for the wall. What is added starts at zero.

    Attributes:
      features: number of features that are compared.
      conv: `layers.Conv` with its dtype and kernels.
    """

    features: int
    conv: Any

    @nn.compact
    def __call__(self, x: jax.Array, hints: jax.Array) -> jax.Array:
        """Adds hints.

        Args:
          x: [N, h, w, C] feature maps at a quarter of the size, h and w even.
          hints: [N, 4h, 4w, 3], a*b* / 110 where they are known, and 1 there; 0 elsewhere.

        Returns:
          [N, h, w, C].
        """
        batch, height, width, channels = x.shape
        queries = self.conv(self.features, 1, name="query")(x).astype(jnp.float32)
        keys = self.conv(self.features, 1, name="key")(x).astype(jnp.float32)
        places = jnp.broadcast_to(_places(height, width), (batch, height, width, 2))

        def cells(y: jax.Array) -> jax.Array:
            """Means over the hints in cells of 8×8 pixels: [N, hw/4, channels of y]."""
            means = _pool(y * mask, 2) / jnp.maximum(_pool(mask, 2), 1e-6)
            return means.reshape(batch, height * width // 4, y.shape[-1])

        seen = _pool(hints, 4)
        mask = seen[..., 2:]
        colors = cells(seen[..., :2] / jnp.maximum(mask, 1e-6))
        keys, key_places = cells(keys), cells(places)
        amount = _pool(mask, 2).reshape(batch, 1, -1)

        sharpness = self.param("sharpness", nn.initializers.constant(4.0), ())
        offset = self.param("offset", nn.initializers.constant(2.0), ())
        # A hint weighs as much as the pixels that it covers.
        bias = jnp.where(amount > 0, offset + jnp.log(jnp.maximum(amount, 1e-6)), -jnp.inf)
        values = jnp.concatenate([colors, jnp.ones_like(colors[..., :1])], axis=-1)

        def attend(queries: jax.Array, places: jax.Array) -> jax.Array:
            """[N, w, ...] of one row -> [N, w, 3]: mean colour times its weight, and the weight."""
            scores = jnp.einsum("nqf,nkf->nqk", queries, keys) / self.features**0.5
            distances = jnp.sum((places[:, :, None] - key_places[:, None]) ** 2, -1)
            scores = scores - sharpness * distances + bias
            # Beside the hints stands "none of them", with score 0.
            weights = jax.nn.softmax(jnp.pad(scores, ((0, 0), (0, 0), (0, 1))))[..., :-1]
            return jnp.einsum("nqk,nkc->nqc", weights, values)

        rows = (jnp.moveaxis(queries, 1, 0), jnp.moveaxis(places, 1, 0))
        spread = jax.lax.map(lambda row: attend(*row), rows, batch_size=min(ROWS, height))
        spread = jnp.moveaxis(spread, 0, 1)
        y = jnp.concatenate([x, spread.astype(x.dtype)], axis=-1)
        y = nn.relu(self.conv(self.features, use_bias=True, name="conv0")(y))
        y = self.conv(channels, kernel_init=nn.initializers.zeros, name="conv1")(y)
        # Nothing without hints.
        return x + spread[..., 2:].astype(x.dtype) * y


def _places(height: int, width: int) -> jax.Array:
    """[height, width, 2]: row and column in units of the shorter side."""
    rows, columns = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
    return jnp.stack([rows, columns], axis=-1) / min(height, width)


def _pool(x: jax.Array, factor: int) -> jax.Array:
    """Means over squares of [N, H, W, C], whose sides are multiples of the factor."""
    batch, height, width, channels = x.shape
    shape = batch, height // factor, factor, width // factor, factor, channels
    return x.reshape(shape).mean((2, 4))
