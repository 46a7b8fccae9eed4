"""Building blocks of the models: convolution, deconvolution, normalisation and the decoder."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

Dtype = Any
ModuleDef = Callable[..., nn.Module]

# He initialisation, drawn uniformly: XLA takes seconds to compile a truncated normal.
kernel_init = nn.initializers.variance_scaling(2.0, "fan_in", "uniform")


def scale_width(channels: int, width: float) -> int:
    """The channel count of a layer, at least 1, in a model scaled by `width`."""
    return max(1, round(channels * width))


def _convolve(x: jax.Array, kernel: jax.Array, strides: int, pad: int) -> jax.Array:
    """A convolution of [N, H, W, C] with the same padding on all sides."""
    size, _, _, features = kernel.shape
    # XLA's CPU convolution with its own padding has slower gradients: the CNN's step at 64×64 took
    # 1180 ms, and takes 350 this way.
    x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    height, width = ((side - size) // strides + 1 for side in x.shape[1:3])
    if height * width > 16:
        return lax.conv_general_dilated(
            x, kernel, 2 * (strides,), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    # One matrix product: forward and backward, XLA's CPU convolution to a 2×2 map with stride 2
    # takes 440 ms and this 12; to a 4×4 map it takes 65 ms and this 40.
    patches = [
        x[:, i : i + strides * height : strides, j : j + strides * width : strides]
        for i in range(size)
        for j in range(size)
    ]
    return jnp.concatenate(patches, axis=-1) @ kernel.reshape(-1, features)


class Conv(nn.Module):
    """A convolution with symmetric padding, as PyTorch's with padding (kernel_size - 1) // 2."""

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
        if size == 1:
            # XLA's CPU gradients of a 1×1 convolution take up to twice as long as a product's.
            x = x[:, ::strides, ::strides] @ kernel[0, 0]
        else:
            x = _convolve(x, kernel, strides, (size - 1) // 2)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            x = x + bias.astype(self.dtype).reshape(1, 1, 1, -1)
        return x


def max_pool(x: jax.Array) -> jax.Array:
    """3×3, stride 2, of [N, H, W, C]: `nn.max_pool` with padding 1, six times as fast on a CPU.

    Rows are pooled before columns. The gradient then selects; that of a window's maximum scatters.
    """
    for axis in (1, 2):
        padding = [(1, 1) if i == axis else (0, 0) for i in range(4)]
        padded, size = jnp.pad(x, padding, constant_values=-jnp.inf), (x.shape[axis] + 1) // 2
        shifted = [lax.slice_in_dim(padded, i, i + 2 * size - 1, 2, axis) for i in range(3)]
        x = functools.reduce(jnp.maximum, shifted)
    return x


def deconvolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Deconvolution (transposed convolution) with a 4×4 kernel and stride 2; doubles the size.

    Equal to `lax.conv_transpose(x, kernel, (2, 2), "SAME")`. Each of the four output phases is a
    2×2 convolution, so one 2×2 convolution to four times the channels computes all of them. On a
    CPU its weight gradient runs at 50 GFLOP/s and more; that of `lax.conv_transpose` at 1.

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
    y = _convolve(x, phases.reshape(2, 2, channels, 4 * features), strides=1, pad=1)
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
        # An output pixel depends on 4 of the 16 taps: its fan-in is a quarter of the kernel's.
        init = nn.initializers.variance_scaling(8.0, "fan_in", "uniform")
        kernel = self.param("kernel", init, (4, 4, x.shape[-1], self.features))
        return deconvolve(x.astype(self.dtype), kernel.astype(self.dtype))


def batch_norm(train: bool, axis_name: str | None, dtype: Dtype) -> ModuleDef:
    """BatchNorm with torchvision's constants, synchronised over the devices of `axis_name`."""
    return functools.partial(
        nn.BatchNorm,
        use_running_average=not train,
        momentum=0.9,
        epsilon=1e-5,
        axis_name=axis_name,
        dtype=dtype,
    )


class Decoder(nn.Module):
    """Deconvolutions from the encoder's last feature maps to a*b* at the size of the image.

    Each layer doubles the size. With skip connections its output is concatenated with the encoder's
    feature maps of that size; a 1×1 convolution first reduces them to as many channels, if they
    have more. The last layer starts at zero, so that training starts from grey.
    """

    features: Sequence[int]
    norm: ModuleDef
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, skips: Sequence[jax.Array] | None) -> jax.Array:
        """Decodes.

        Args:
          x: [N, h, w, C], the encoder's last feature maps.
          skips: for each layer the encoder's feature maps at its output size; or None.

        Returns:
          [N, h * 2**len(features), w * 2**len(features), 2], float32: a*b* / 110.
        """
        for i, features in enumerate(self.features):
            x = Deconv(features, self.dtype, name=f"deconv{i}")(x)
            x = nn.relu(self.norm(name=f"bn{i}")(x))
            if skips is not None:
                skip = skips[i]
                if skip.shape[-1] > features:
                    skip = Conv(features, 1, dtype=self.dtype, name=f"skip{i}")(skip)
                x = jnp.concatenate([x, skip.astype(self.dtype)], axis=-1)
        ab = nn.Conv(
            2, (3, 3), padding=1, dtype=self.dtype, kernel_init=nn.initializers.zeros, name="ab"
        )(x)
        return ab.astype(jnp.float32)
