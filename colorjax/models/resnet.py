"""ResNet-50 as the encoder of L, and the generator that decodes its feature maps to a*b*."""

from collections.abc import Sequence

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from colorjax.models.layers import BatchNorm, Conv, Decoder, Dtype, max_pool, scale_width

STAGES = (3, 4, 6, 3)
BOTTLENECK = 512
DECODER = (256, 128, 64, 32, 16)
# What torchvision's and timm's weights expect of an RGB image in [0, 1].
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STDDEV = (0.229, 0.224, 0.225)


class Bottleneck(nn.Module):
    """The residual block of ResNet v1.5: the stride is on the 3×3 convolution."""

    features: int
    strides: int
    axis_name: str | None = None
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Args: x: [N, H, W, C]. Returns [N, H / strides, W / strides, 4 * features]."""
        out = 4 * self.features

        def norm(name: str, scale_init: nn.initializers.Initializer = nn.initializers.ones):
            return BatchNorm(train, self.axis_name, self.dtype, scale_init, name=name)

        y = nn.relu(norm("bn1")(Conv(self.features, 1, dtype=self.dtype, name="conv1")(x)))
        y = Conv(self.features, 3, self.strides, self.dtype, name="conv2")(y)
        y = nn.relu(norm("bn2")(y))
        y = Conv(out, 1, dtype=self.dtype, name="conv3")(y)
        # A scale of zero: at the start every block is the identity (Goyal et al. 2017).
        y = norm("bn3", nn.initializers.zeros)(y)
        if x.shape != y.shape:
            x = Conv(out, 1, self.strides, self.dtype, name="downsample_conv")(x)
            x = norm("downsample_bn")(x)
        return nn.relu(x + y)


class ResNet50(nn.Module):
    """The ResNet-50 v1.5 encoder (He et al. 2016; stride on the 3×3 as in torchvision).

    23,508,032 parameters at width 1 with three channels in and no head.
    """

    width: float = 1.0
    axis_name: str | None = None
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> Sequence[jax.Array]:
        """Encodes.

        Args:
          x: [N, H, W, 3], normalised by ImageNet's mean and standard deviation.
          train: whether BatchNorm uses the batch's statistics and updates its own.

        Returns:
          Feature maps at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size, the last [N, H/32, W/32, 2048].
        """
        x = Conv(scale_width(64, self.width), 7, 2, self.dtype, name="conv1")(x)
        x = nn.relu(BatchNorm(train, self.axis_name, self.dtype, name="bn1")(x))
        maps = [x]
        x = max_pool(x)
        for stage, blocks in enumerate(STAGES):
            features = scale_width(64 * 2**stage, self.width)
            for block in range(blocks):
                strides = 2 if stage > 0 and block == 0 else 1
                x = Bottleneck(
                    features,
                    strides,
                    self.axis_name,
                    self.dtype,
                    name=f"layer{stage + 1}_{block}",
                )(x, train)
            maps.append(x)
        return maps


class ResNetGenerator(nn.Module):
    """L to a*b*: ResNet-50 as the encoder, deconvolutions as the decoder.

    Attributes:
      width: multiplies every channel count.
      skip_connections: whether the decoder also sees the encoder's feature maps of its size.
      axis_name: the device axis over which BatchNorm is synchronised.
      dtype: the type of the computation; parameters and statistics are float32.
    """

    width: float = 1.0
    skip_connections: bool = True
    axis_name: str | None = None
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, l: jax.Array, train: bool = False) -> jax.Array:
        """Args: l: [N, H, W, 1], L / 50 - 1. Returns [N, H, W, 2], a*b* / 110."""
        chex.assert_shape(l, (None, None, None, 1))
        mean = jnp.asarray(IMAGENET_MEAN).reshape(1, 1, 1, 3)
        stddev = jnp.asarray(IMAGENET_STDDEV).reshape(1, 1, 1, 3)
        rgb = ((l + 1) / 2 - mean) / stddev
        *skips, x = ResNet50(self.width, self.axis_name, self.dtype, name="encoder")(rgb, train)
        # From 2048 to 512 channels before the first deconvolution halves the generator's cost.
        x = Conv(scale_width(BOTTLENECK, self.width), 1, dtype=self.dtype, name="bottleneck")(x)
        x = nn.relu(BatchNorm(train, self.axis_name, self.dtype, name="bn")(x))
        features = [scale_width(features, self.width) for features in DECODER]
        maps = [*skips[::-1], l] if self.skip_connections else None
        return Decoder(features, self.axis_name, self.dtype, name="decoder")(x, maps, train)
