"""The CNN: strided convolutions extract features from L, deconvolutions build a*b*."""

import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from colorjax.models.layers import Conv, Decoder, Dtype, batch_norm, scale_width

ENCODER = (64, 128, 256, 512, 512)
DECODER = (256, 128, 64, 32, 16)


class EncoderDecoder(nn.Module):
    """A CNN encoder-decoder; with skip connections a U-Net (Ronneberger et al. 2015).

    Its attributes are those of `ResNetGenerator`.
    """

    width: float = 1.0
    skip_connections: bool = True
    axis_name: str | None = None
    dtype: Dtype = jnp.float32
    kernels: str = "plain"
    output_stride: int = 1

    @nn.compact
    def __call__(self, l: jax.Array, train: bool = False) -> jax.Array:
        """Args: l: [N, H, W, 1], L / 50 - 1. Returns [N, H, W, 2], a*b* / 110."""
        chex.assert_shape(l, (None, None, None, 1))
        conv = functools.partial(Conv, dtype=self.dtype, kernels=self.kernels)
        norm = batch_norm(train, self.axis_name, self.dtype)
        x = conv(scale_width(32, self.width), name="conv0")(l)
        x = nn.relu(norm(name="bn0")(x))
        maps = [x]
        for i, features in enumerate(ENCODER, 1):
            x = conv(scale_width(features, self.width), strides=2, name=f"conv{i}")(x)
            x = nn.relu(norm(name=f"bn{i}")(x))
            maps.append(x)
        *skips, x = maps
        widths = [scale_width(features, self.width) for features in DECODER]
        decoder = Decoder(
            widths, norm, self.dtype, self.kernels, self.output_stride, name="decoder"
        )
        return decoder(x, skips[::-1] if self.skip_connections else None)
