"""Building blocks of the models: convolution, deconvolution, normalisation and the decoder."""

import functools
from collections.abc import Sequence
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

Dtype = Any

# He initialisation drawn uniformly: at start-up a truncated normal costs XLA seconds to compile.
kernel_init = nn.initializers.variance_scaling(2.0, "fan_in", "uniform")


def scale_width(channels: int, width: float) -> int:
    """The channel count of a model whose every layer is `width` times as wide."""
    return max(1, round(channels * width))


def _sum_of_products(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A stride 1 convolution without padding, as one matrix product for each tap of the kernel."""
    rows, columns = kernel.shape[:2]
    height, width = x.shape[1] - rows + 1, x.shape[2] - columns + 1
    products = [
        x[:, i : i + height, j : j + width] @ kernel[i, j]
        for i in range(rows)
        for j in range(columns)
    ]
    return functools.reduce(jnp.add, products)


class Conv(nn.Module):
    """A convolution that pads symmetrically, as PyTorch's with padding (kernel_size - 1) // 2."""

    features: int
    kernel_size: int = 3
    strides: int = 1
    dtype: Dtype = jnp.float32
    use_bias: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Args: x: [N, H, W, C]. Returns [N, ceil(H / strides), ceil(W / strides), features]."""
        size, strides = self.kernel_size, self.strides
        kernel = self.param("kernel", kernel_init, (size, size, x.shape[-1], self.features))
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        pad = (size - 1) // 2
        if size == 1:
            # As a product: XLA's CPU gradients of a 1×1 convolution take up to twice as long.
            x = x[:, ::strides, ::strides] @ kernel[0, 0]
        elif strides == 1 and size % 2 and x.shape[1] * x.shape[2] <= 4:
            # XLA's CPU convolution runs a 3×3 kernel over a 2×2 map at 2 GFLOP/s, this at 100.
            x = _sum_of_products(_pad(x, pad), kernel)
        else:
            padding = ((pad, pad), (pad, pad))
            x = lax.conv_general_dilated(
                x, kernel, 2 * (strides,), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            x = x + bias.astype(self.dtype).reshape(1, 1, 1, -1)
        return x


def _pad(x: jax.Array, pad: int) -> jax.Array:
    return jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))


def deconvolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Deconvolution (transposed convolution) with a 4×4 kernel and stride 2, twice the size.

    Equal to `lax.conv_transpose(x, kernel, (2, 2), "SAME")`. Each of the four output phases is a
    2×2 convolution, so all of them are one 2×2 convolution to four times the channels, of which
    each phase is read off at its own offset; and that is four matrix products. On a CPU, XLA's
    weight gradient of `lax.conv_transpose` runs at 1 GFLOP/s, that of this at 50 and more.

    Args:
      x: [N, H, W, C].
      kernel: [4, 4, C, features].

    Returns:
      [N, 2H, 2W, features].
    """
    chex.assert_shape(kernel, (4, 4, x.shape[-1], None))
    batch, height, width, channels = x.shape
    features = kernel.shape[-1]
    phases = kernel.reshape(2, 2, 2, 2, channels, features).transpose(0, 2, 4, 1, 3, 5)
    y = _sum_of_products(_pad(x, 1), phases.reshape(2, 2, channels, 4 * features))
    y = y.reshape(batch, height + 1, width + 1, 2, 2, features)
    rows = [
        jnp.stack([y[:, a : a + height, b : b + width, a, b] for b in (0, 1)], axis=3)
        for a in (0, 1)
    ]
    return jnp.stack(rows, axis=2).reshape(batch, 2 * height, 2 * width, features)


class Deconv(nn.Module):
    """A 4×4, stride 2 deconvolution without bias: see `deconvolve`."""

    features: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Args: x: [N, H, W, C]. Returns [N, 2H, 2W, features]."""
        # Of the 16 taps, 4 meet in an output pixel: fan-in is a quarter of the kernel's.
        init = nn.initializers.variance_scaling(8.0, "fan_in", "uniform")
        kernel = self.param("kernel", init, (4, 4, x.shape[-1], self.features))
        return deconvolve(x.astype(self.dtype), kernel.astype(self.dtype))


class BatchNorm(nn.Module):
    """Batch normalisation over the devices of `axis_name`, with torchvision's constants."""

    train: bool
    axis_name: str | None = None
    dtype: Dtype = jnp.float32
    scale_init: nn.initializers.Initializer = nn.initializers.ones

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.BatchNorm(
            use_running_average=not self.train,
            momentum=0.9,
            epsilon=1e-5,
            axis_name=self.axis_name,
            dtype=self.dtype,
            scale_init=self.scale_init,
            name="bn",
        )(x)


class Decoder(nn.Module):
    """Deconvolutions from the encoder's last feature maps to a*b* at the size of the image.

    Each step doubles the size. With skip connections the encoder's feature maps of that size are
    brought to as many channels as the deconvolution gives, by a 1×1 convolution, and both go on
    together. The last layer starts at zero, so that training starts from grey.
    """

    features: Sequence[int]
    axis_name: str | None = None
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, skips: Sequence[jax.Array] | None, train: bool) -> jax.Array:
        """Decodes.

        Args:
          x: [N, h, w, C], the encoder's last feature maps.
          skips: for each step the encoder's feature maps at its output size; or None.
          train: whether BatchNorm uses the batch's statistics and updates its own.

        Returns:
          [N, h * 2**len(features), w * 2**len(features), 2], float32: a*b* / 110.
        """
        for i, features in enumerate(self.features):
            x = Deconv(features, self.dtype, name=f"deconv{i}")(x)
            x = nn.relu(BatchNorm(train, self.axis_name, self.dtype, name=f"bn{i}")(x))
            if skips is not None:
                skip = skips[i]
                if skip.shape[-1] > features:
                    skip = Conv(features, 1, dtype=self.dtype, name=f"skip{i}")(skip)
                x = jnp.concatenate([x, skip.astype(self.dtype)], axis=-1)
        ab = nn.Conv(
            2, (3, 3), padding=1, dtype=self.dtype, kernel_init=nn.initializers.zeros, name="ab"
        )(x)
        return ab.astype(jnp.float32)
