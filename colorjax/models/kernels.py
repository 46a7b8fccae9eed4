"""A CPU's own forms of the layers' operations; no other file has any.

Each is equal to the plain form in layers.py, from the same parameters. Which form is taken where
was decided by measurement (forward and backward on two cores). In bfloat16 the products keep
their operands and give float32, which CPUs have instructions for. XLA computes every other
bfloat16 product or convolution in float32.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

# From this many channels in and out a bfloat16 convolution is faster as products. With 64 the GAN's
# step at 128×128 took 1.88 CPU-seconds, with 128 it takes 1.62.
WIDE = 128


def convolve(x: jax.Array, kernel: jax.Array, strides: int, pad: int) -> jax.Array:
    """A convolution with the same padding on all sides.

    Args:
      x: [N, H, W, C].
      kernel: [size, size, C, features], of the same dtype.
      strides: of both axes.
      pad: zeros on each side.

    Returns:
      [N, (H + 2 pad - size) // strides + 1, (W + 2 pad - size) // strides + 1, features].
    """
    size, _, channels, features = kernel.shape
    if size == 1 and pad == 0:
        # XLA's gradients of a 1×1 convolution take up to twice as long as a product's.
        return _product(x[:, ::strides, ::strides], kernel[0, 0])
    # XLA's convolution with its own padding has slower gradients: the CNN's step at 64×64 took
    # 1180 ms, and takes 350 this way.
    x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    height, width = ((side - size) // strides + 1 for side in x.shape[1:3])
    is_small = height * width <= 16
    if not is_small and not (x.dtype == jnp.bfloat16 and min(channels, features) >= WIDE):
        return lax.conv_general_dilated(
            x, kernel, 2 * (strides,), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    shifted = [x[:, :, j : j + strides * width : strides] for j in range(size)]
    columns = jnp.concatenate(shifted, axis=-1)
    rows = [columns[:, i : i + strides * height : strides] for i in range(size)]
    if is_small:
        # To a 2×2 map with stride 2, XLA's convolution takes 440 ms and one product 12; to a 4×4
        # map it takes 65 ms and the product 40.
        return _product(jnp.concatenate(rows, axis=-1), kernel.reshape(-1, features))
    sums = [_dot(row, kernel[i].reshape(-1, features)) for i, row in enumerate(rows)]
    return functools.reduce(jnp.add, sums).astype(x.dtype)


def _product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """[..., C] times [C, features], of the dtype of x."""
    return _dot(x, kernel).astype(x.dtype) if x.dtype == jnp.bfloat16 else x @ kernel


@jax.custom_vjp
def _dot(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """[..., C] times [C, features], both bfloat16, in float32; so are the gradients' products."""
    return _contract(x, kernel, x.ndim - 1, 0)


def _contract(x: jax.Array, y: jax.Array, x_axes: int, y_axes: int) -> jax.Array:
    dimensions = (((x_axes,), (y_axes,)), ((), ()))
    return lax.dot_general(x, y, dimensions, preferred_element_type=jnp.float32)


def _dot_forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _dot(x, kernel), (x, kernel)


def _dot_backward(
    residuals: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    cotangent = cotangent.astype(x.dtype)
    rows = cotangent.reshape(-1, cotangent.shape[-1])
    return (
        _contract(cotangent, kernel, x.ndim - 1, 1).astype(x.dtype),
        _contract(x.reshape(-1, x.shape[-1]), rows, 0, 0).astype(x.dtype),
    )


_dot.defvjp(_dot_forward, _dot_backward)


def max_pool(x: jax.Array) -> jax.Array:
    """3×3, stride 2, padding 1, of [N, H, W, C]; six times as fast as a window's maximum.

    Rows are pooled before columns. The gradient then selects; that of a window's maximum scatters.
    """
    for axis in (1, 2):
        padding = [(1, 1) if i == axis else (0, 0) for i in range(4)]
        padded, size = jnp.pad(x, padding, constant_values=-jnp.inf), (x.shape[axis] + 1) // 2
        shifted = [lax.slice_in_dim(padded, i, i + 2 * size - 1, 2, axis) for i in range(3)]
        x = functools.reduce(jnp.maximum, shifted)
    return x


def deconvolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A deconvolution with a 4×4 kernel and stride 2; doubles the size.

    Each of the four output phases is a 2×2 convolution, so one 2×2 convolution to four times the
    channels computes all of them. Its weight gradient runs at 50 GFLOP/s and more; that of
    `lax.conv_transpose` at 1.

    Args:
      x: [N, H, W, C].
      kernel: [4, 4, C, features].

    Returns:
      [N, 2H, 2W, features].
    """
    batch, height, width, channels = x.shape
    features = kernel.shape[-1]
    phases = kernel.reshape(2, 2, 2, 2, channels, features).transpose(0, 2, 4, 1, 3, 5)
    y = convolve(x, phases.reshape(2, 2, channels, 4 * features), strides=1, pad=1)
    y = y.reshape(batch, height + 1, width + 1, 2, 2, features)
    rows = [
        jnp.stack([y[:, a : a + height, b : b + width, a, b] for b in (0, 1)], axis=3)
        for a in (0, 1)
    ]
    return jnp.stack(rows, axis=2).reshape(batch, 2 * height, 2 * width, features)
