"""A generator with ResNet-50 as the encoder of L and a deconvolution decoder to a*b*."""

import functools
from collections.abc import Sequence

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from colorjax.models.layers import (
    FORMS,
    HINTS,
    Conv,
    Dtype,
    Generator,
    ModuleDef,
    Prediction,
    batch_norm,
    given_hints,
    scale_width,
)

STEM = 64
STAGES = (3, 4, 6, 3)
BOTTLENECK = 512
# Of RGB in [0, 1]; torchvision's and timm's weights expect images normalised by them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STDDEV = (0.229, 0.224, 0.225)


class Bottleneck(nn.Module):
    """The residual block of ResNet v1.5: the stride is on the 3×3 convolution."""

    features: int
    strides: int
    conv: ModuleDef
    norm: ModuleDef

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Args: x: [N, H, W, C]. Returns [N, H / strides, W / strides, 4 * features]."""
        out = 4 * self.features
        y = self.conv(self.features, 1, name="conv1")(x)
        y = nn.relu(self.norm(name="bn1")(y))
        y = self.conv(self.features, 3, self.strides, name="conv2")(y)
        y = nn.relu(self.norm(name="bn2")(y))
        y = self.conv(out, 1, name="conv3")(y)
        # With a scale of zero, every block starts as the identity (Goyal et al. 2017).
        y = self.norm(name="bn3", scale_init=nn.initializers.zeros)(y)
        if self.strides != 1 or x.shape[-1] != out:
            x = self.conv(out, 1, self.strides, name="downsample_conv")(x)
            x = self.norm(name="downsample_bn")(x)
        return nn.relu(x + y)


class ResNet50(nn.Module):
    """The ResNet-50 v1.5 encoder (He et al. 2016; stride on the 3×3 as in torchvision).

    23,508,032 parameters at width 1, with three input channels and without the head.
    """

    width: float = 1.0
    axis_name: str | None = None
    dtype: Dtype = jnp.float32
    kernels: str = "plain"

    @nn.compact
    def __call__(
        self, x: jax.Array, hints: jax.Array | None = None, train: bool = False
    ) -> Sequence[jax.Array]:
        """Encodes.

        Args:
          x: [N, H, W, 3], normalised by ImageNet's mean and standard deviation.
          hints: [N, H/2, W/2, 64], added to the first layer's output; or None.
          train: whether BatchNorm uses the batch's statistics and updates its own.

        Returns:
          Feature maps at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size, the last [N, H/32, W/32, 2048].
        """
        conv = functools.partial(Conv, dtype=self.dtype, kernels=self.kernels)
        norm = batch_norm(train, self.axis_name, self.dtype)
        x = conv(scale_width(STEM, self.width), 7, 2, name="conv1")(x)
        x = nn.relu(norm(name="bn1")(x if hints is None else x + hints))
        maps = [x]
        x = FORMS[self.kernels].max_pool(x)
        for stage, blocks in enumerate(STAGES):
            features = scale_width(64 * 2**stage, self.width)
            for block in range(blocks):
                strides = 2 if stage > 0 and block == 0 else 1
                name = f"layer{stage + 1}_{block}"
                x = Bottleneck(features, strides, conv, norm, name=name)(x)
            maps.append(x)
        return maps


class ResNetGenerator(Generator):
    """L to a*b*: ResNet-50 as the encoder, deconvolutions as the decoder."""

    @nn.compact
    def __call__(
        self, l: jax.Array, hints: jax.Array | None = None, train: bool = False
    ) -> Prediction:
        """See `Generator`."""
        chex.assert_shape(l, (None, None, None, 1))
        mean = jnp.asarray(IMAGENET_MEAN).reshape(1, 1, 1, 3)
        stddev = jnp.asarray(IMAGENET_STDDEV).reshape(1, 1, 1, 3)
        rgb = ((l + 1) / 2 - mean) / stddev
        conv = functools.partial(Conv, dtype=self.dtype, kernels=self.kernels)
        hints = given_hints(self, hints, l)
        hinted = None
        if hints is not None:
            stem = scale_width(STEM, self.width)
            hinted = conv(stem, 7, 2, kernel_init=nn.initializers.zeros, name=HINTS)(hints)
        encoder = ResNet50(self.width, self.axis_name, self.dtype, self.kernels, name="encoder")
        *skips, x = encoder(rgb, hinted, train)
        # Reducing 2048 channels to 512 before the first deconvolution halves the generator's cost.
        channels = scale_width(BOTTLENECK, self.width)
        x = conv(channels, 1, name="bottleneck")(x)
        x = nn.relu(batch_norm(train, self.axis_name, self.dtype)(name="bn")(x))
        return self.decode(x, [*skips[::-1], l], hints, train)
