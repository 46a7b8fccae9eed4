"""The CNN: strided convolutions extract features from L, deconvolutions build a*b*."""

import functools

import chex
import flax.linen as nn
import jax

from colorjax.models.layers import (
    HINTS,
    Conv,
    Generator,
    Prediction,
    batch_norm,
    given_hints,
    scale_width,
)

STEM = 32
ENCODER = (64, 128, 256, 512, 512)


class EncoderDecoder(Generator):
    """A CNN encoder-decoder; with skip connections a U-Net (Ronneberger et al. 2015)."""

    @nn.compact
    def __call__(
        self, l: jax.Array, hints: jax.Array | None = None, train: bool = False
    ) -> Prediction:
        """See `Generator`."""
        chex.assert_shape(l, (None, None, None, 1))
        conv = functools.partial(Conv, dtype=self.dtype, kernels=self.kernels)
        norm = batch_norm(train, self.axis_name, self.dtype)
        stem = scale_width(STEM, self.width)
        hints = given_hints(self, hints, l)
        x = conv(stem, name="conv0")(l)
        if hints is not None:
            x += conv(stem, kernel_init=nn.initializers.zeros, name=HINTS)(hints)
        x = nn.relu(norm(name="bn0")(x))
        maps = [x]
        for i, features in enumerate(ENCODER, 1):
            x = conv(scale_width(features, self.width), strides=2, name=f"conv{i}")(x)
            x = nn.relu(norm(name=f"bn{i}")(x))
            maps.append(x)
        *skips, x = maps
        return self.decode(x, skips[::-1], hints, train)
