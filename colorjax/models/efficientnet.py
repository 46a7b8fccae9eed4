"""A generator with EfficientNet-Lite0 as the encoder of L and a deconvolution decoder to a*b*."""

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
    Prediction,
    given_hints,
    kernel_init,
    scale_width,
)

STEM = 32
# For each stage: expansion of the channels, kernel size, strides, features and number of blocks.
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
EPSILON = 1e-3


class FrozenConv(nn.Module):
    """A convolution and BatchNorm with statistics that training does not change.

    Both are computed as one convolution with a bias, which saves the passes over the feature maps
    that statistics of a batch need. Scale and bias are parameters. Padding is TensorFlow's "same"
    for even sizes.

    Attributes:
      features: number of output channels; None for a convolution of each channel by itself.
      kernel_size: side of the kernel.
      strides: of both axes.
      dtype: of the computation; parameters are float32.
      kernels: see `layers.Conv`.
    """

    features: int | None
    kernel_size: int = 1
    strides: int = 1
    dtype: Dtype = jnp.float32
    kernels: str = "plain"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Args: x: [N, H, W, C], H and W even. Returns [N, H / strides, W / strides, features]."""
        size, channels = self.kernel_size, x.shape[-1]
        depthwise = self.features is None
        features = channels if depthwise else self.features
        inputs = 1 if depthwise else channels
        kernel = self.param("kernel", kernel_init, (size, size, inputs, features))
        scale = self.param("scale", nn.initializers.ones, (features,))
        bias = self.param("bias", nn.initializers.zeros, (features,))
        mean = self.variable("batch_stats", "mean", jnp.zeros, features).value
        var = self.variable("batch_stats", "var", jnp.ones, features).value
        factor = scale * jax.lax.rsqrt(var + EPSILON)
        kernel = (kernel * factor.reshape(1, 1, 1, -1)).astype(self.dtype)
        bias = (bias - mean * factor).astype(self.dtype).reshape(1, 1, 1, -1)
        before = (size - self.strides) // 2
        pad = before, size - self.strides - before
        x = x.astype(self.dtype)
        if size > 1:
            x = jnp.pad(x, ((0, 0), pad, pad, (0, 0)))
        forms = FORMS[self.kernels]
        if depthwise:
            return forms.depthwise(x, kernel, self.strides) + bias
        return forms.convolve(x, kernel, self.strides, 0) + bias


class InvertedBottleneck(nn.Module):
    """The block of MobileNetV2 (Sandler et al. 2018): 1×1 to more channels, depthwise, 1×1 to few.

    Attributes:
      expansion: factor of the channels in between.
      kernel_size: of the depthwise convolution.
      strides: of both axes.
      features: number of output channels.
      conv: `FrozenConv` with its dtype and kernels.
    """

    expansion: int
    kernel_size: int
    strides: int
    features: int
    conv: type[FrozenConv] | functools.partial[FrozenConv]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Args: x: [N, H, W, C]. Returns [N, H / strides, W / strides, features]."""
        y = x
        if self.expansion > 1:
            y = nn.relu6(self.conv(self.expansion * x.shape[-1], name="expand_conv")(y))
        y = self.conv(None, self.kernel_size, self.strides, name="depthwise_conv")(y)
        y = self.conv(self.features, name="project_conv")(nn.relu6(y))
        return x + y if y.shape == x.shape else y


class EfficientNetLite0(nn.Module):
    """The EfficientNet-Lite0 encoder: EfficientNet (Tan and Le 2019) without squeeze-and-excitation
    and with ReLU6, https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite.

    BatchNorm's statistics are those of the weights it is given. Without weights they do nothing.
    """

    width: float = 1.0
    dtype: Dtype = jnp.float32
    kernels: str = "plain"

    @nn.compact
    def __call__(self, x: jax.Array, hints: jax.Array | None = None) -> Sequence[jax.Array]:
        """Encodes.

        Args:
          x: [N, H, W, 3], grey levels in [0, 255] less 127 and divided by 128.
          hints: [N, H/2, W/2, STEM], added to the first layer's output; or None.

        Returns:
          Feature maps at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size, the last [N, H/32, W/32, 320].
        """
        conv = functools.partial(FrozenConv, dtype=self.dtype, kernels=self.kernels)
        x = conv(scale_width(STEM, self.width), 3, 2, name="conv_stem")(x)
        x = nn.relu6(x if hints is None else x + hints)
        maps, index = [], 0
        for expansion, kernel_size, strides, features, blocks in STAGES:
            if strides == 2:
                maps.append(x)
            for block in range(blocks):
                x = InvertedBottleneck(
                    expansion,
                    kernel_size,
                    strides if block == 0 else 1,
                    scale_width(features, self.width),
                    conv,
                    name=f"block{index}",
                )(x)
                index += 1
        return [*maps, x]


class EfficientNetGenerator(Generator):
    """L to a*b*: EfficientNet-Lite0 as the encoder, deconvolutions as the decoder."""

    @nn.compact
    def __call__(
        self, l: jax.Array, hints: jax.Array | None = None, train: bool = False
    ) -> Prediction:
        """See `Generator`."""
        chex.assert_shape(l, (None, None, None, 1))
        grey = jnp.repeat((127.5 * (l + 1) - 127) / 128, 3, axis=-1)
        encoder = EfficientNetLite0(self.width, self.dtype, self.kernels, name="encoder")
        hints = given_hints(self, hints, l)
        hinted = None
        if hints is not None:
            stem, zeros = scale_width(STEM, self.width), nn.initializers.zeros
            conv = functools.partial(Conv, dtype=self.dtype, kernels=self.kernels)
            hinted = conv(stem, strides=2, kernel_init=zeros, name=HINTS)(hints)
        *skips, x = encoder(grey, hinted)
        # The blocks end in linear layers: their outputs have standard deviations of 3 to 9.
        return self.decode(x, [*skips[::-1], l], hints, train, normalize_skips=True)
