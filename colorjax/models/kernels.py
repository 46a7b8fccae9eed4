"""A CPU's own forms of the layers' operations; no other file has any.

Each is equal to the plain form in layers.py, from the same parameters. Which form is taken where
was decided by measurement (forward and backward on two cores). In bfloat16 the products keep
their operands and give float32, which CPUs have instructions for. XLA computes every other
bfloat16 product or convolution in float32.
"""

import functools
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Convolution = Callable[[jax.Array, jax.Array, int, int], jax.Array]
NHWC = ("NHWC", "HWIO", "NHWC")
# From this many channels in and out a bfloat16 convolution is faster as products. On a Xeon with
# AMX single convolutions are 1.6 to 3 times as fast as XLA's float32 from 128 channels on, and
# slower below 64. Without AMX (EPYC 9005) the GAN's step took 1.88 CPU-seconds with 64, and 1.62
# with 128.
WIDE = 128
# From this many channels in and out the gradient by the kernel is faster as products.
MEDIUM = 32
# To at most this many channels a convolution is faster as one product.
NARROW = 4


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
    height, width = ((side + 2 * pad - size) // strides + 1 for side in x.shape[1:3])
    if height * width <= 16:
        # To a 2×2 map with stride 2, XLA's convolution takes 440 ms and one product 12; to a 4×4
        # map it takes 65 ms and the product 40.
        rows = _rows(x, size, strides, pad)
        return _product(jnp.concatenate(rows, axis=-1), kernel.reshape(-1, features))
    if features <= NARROW and strides == 1:
        return _to_few_channels(x, kernel, pad)
    if x.dtype == jnp.bfloat16 and min(channels, features) >= WIDE:
        rows = _rows(x, size, strides, pad)
        sums = [_dot(row, kernel[i].reshape(-1, features)) for i, row in enumerate(rows)]
        return functools.reduce(jnp.add, sums).astype(x.dtype)
    return _convolve(x, kernel, strides, pad)


def max_pool(x: jax.Array) -> jax.Array:
    """3×3, stride 2, padding 1, of [N, H, W, C]; six times as fast as a window's maximum.

    Rows are pooled before columns. The gradient then selects; that of a window's maximum scatters.
    Equal maxima share the gradient, which the plain form gives to one of them.
    """
    for axis in (1, 2):
        padding = [(1, 1) if i == axis else (0, 0) for i in range(4)]
        padded, size = jnp.pad(x, padding, constant_values=-jnp.inf), (x.shape[axis] + 1) // 2
        shifted = [lax.slice_in_dim(padded, i, i + 2 * size - 1, 2, axis) for i in range(3)]
        x = functools.reduce(jnp.maximum, shifted)
    return x


def deconvolve(x: jax.Array, kernel: jax.Array, convolve: Convolution = convolve) -> jax.Array:
    """A deconvolution with a 4×4 kernel and stride 2; doubles the size.

    Each of the four output phases is a 2×2 convolution, so one 2×2 convolution to four times the
    channels computes all of them. Its weight gradient runs at 50 GFLOP/s and more; that of
    `lax.conv_transpose` at 1.

    Args:
      x: [N, H, W, C].
      kernel: [4, 4, C, features].
      convolve: the function that convolves.

    Returns:
      [N, 2H, 2W, features].
    """
    batch, height, width, channels = x.shape
    features = kernel.shape[-1]
    phases = kernel.reshape(2, 2, 2, 2, channels, features).transpose(0, 2, 4, 1, 3, 5)
    y = convolve(x, phases.reshape(2, 2, channels, 4 * features), 1, 1)
    y = y.reshape(batch, height + 1, width + 1, 2, 2, features)
    rows = [
        jnp.stack([y[:, a : a + height, b : b + width, a, b] for b in (0, 1)], axis=3)
        for a in (0, 1)
    ]
    return jnp.stack(rows, axis=2).reshape(batch, 2 * height, 2 * width, features)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise(x: jax.Array, kernel: jax.Array, strides: int) -> jax.Array:
    """A convolution of each channel with its own kernel, as a sum of shifted maps.

    XLA's grouped convolution of 96 channels is hundreds of times as slow.

    Args:
      x: [N, H, W, C], padded.
      kernel: [size, size, 1, C], of the same dtype.
      strides: of both axes.

    Returns:
      [N, (H - size) // strides + 1, (W - size) // strides + 1, C].
    """
    size = len(kernel)
    height, width = ((side - size) // strides + 1 for side in x.shape[1:3])
    return _sum_of_taps(
        (_tap(x, i, j, strides, height, width), kernel[i, j])
        for i, j in itertools.product(range(size), repeat=2)
    )


def _depthwise_forward(x: jax.Array, kernel: jax.Array, strides: int) -> tuple[Any, Any]:
    return depthwise(x, kernel, strides), (x, kernel)


def _depthwise_backward(
    strides: int, residuals: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    size, (_, height, width, _) = len(kernel), cotangent.shape
    # Pixels whose row and column leave the same remainders see the same taps.
    rows, columns = (-(-side // strides) for side in x.shape[1:3])
    before = (size - 1) // strides
    padded = jnp.pad(
        cotangent, ((0, 0), (before, rows - height), (before, columns - width), (0, 0))
    )

    def phase(a: int, b: int) -> jax.Array:
        return _sum_of_taps(
            (
                _tap(padded, before - i // strides, before - j // strides, 1, rows, columns),
                kernel[i, j],
            )
            for i, j in itertools.product(range(a, size, strides), range(b, size, strides))
        )

    phases = [jnp.stack([phase(a, b) for b in range(strides)], 3) for a in range(strides)]
    by_x = jnp.stack(phases, 2).reshape(len(x), strides * rows, strides * columns, -1)

    def add(total: jax.Array, image: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        maps, cotangent = (part[None].astype(total.dtype) for part in image)
        products = [
            jnp.sum(_tap(maps, i, j, strides, height, width) * cotangent, axis=(0, 1, 2))
            for i, j in itertools.product(range(size), repeat=2)
        ]
        return total + jnp.stack(products).reshape(total.shape), None

    # One image after the other, whose maps stay in the cache: half the time.
    zeros = jnp.zeros(kernel.shape, jnp.promote_types(kernel.dtype, jnp.float32))
    by_kernel, _ = lax.scan(add, zeros, (x, cotangent))
    return by_x[:, : x.shape[1], : x.shape[2]], by_kernel.astype(kernel.dtype)


depthwise.defvjp(_depthwise_forward, _depthwise_backward)


def _sum_of_taps(terms: Iterable[tuple[jax.Array, jax.Array]]) -> jax.Array:
    """The sum of maps [N, H, W, C] times weights [1, C], in at least float32, of their dtype."""

    def product(maps: jax.Array, weights: jax.Array) -> jax.Array:
        wide = jnp.promote_types(maps.dtype, jnp.float32)
        return maps.astype(wide) * weights.astype(wide).reshape(1, 1, 1, -1)

    (first, *_), *_ = terms = list(terms)
    return functools.reduce(jnp.add, [product(*term) for term in terms]).astype(first.dtype)


def _padded(x: jax.Array, pad: int) -> jax.Array:
    return jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))


def _tap(x: jax.Array, i: int, j: int, strides: int, height: int, width: int) -> jax.Array:
    """What one tap of a kernel sees of padded maps, [N, height, width, C]."""
    return x[:, i : i + strides * height : strides, j : j + strides * width : strides]


def _rows(x: jax.Array, size: int, strides: int, pad: int) -> list[jax.Array]:
    """What each row of a kernel sees: the channels of its taps, concatenated."""
    x = _padded(x, pad)
    height, width = ((side - size) // strides + 1 for side in x.shape[1:3])
    columns = jnp.concatenate(
        [x[:, :, j : j + strides * width : strides] for j in range(size)], axis=-1
    )
    return [columns[:, i : i + strides * height : strides] for i in range(size)]


def _to_few_channels(x: jax.Array, kernel: jax.Array, pad: int) -> jax.Array:
    """A convolution as one product by all taps; each result is then shifted to its place.

    From 32 channels to 2 at 128×128 it takes 56 CPU-ms, forward and backward, and 117 otherwise.
    """
    size, _, channels, features = kernel.shape
    y = _padded(_dot(x, kernel.transpose(2, 0, 1, 3).reshape(channels, -1)), pad)
    height, width = (side - size + 1 for side in y.shape[1:3])
    taps = [
        _tap(y[..., features * n : features * (n + 1)], i, j, 1, height, width)
        for n, (i, j) in enumerate(itertools.product(range(size), repeat=2))
    ]
    return functools.reduce(jnp.add, taps).astype(x.dtype)


def _xla_convolve(x: jax.Array, kernel: jax.Array, strides: int, pad: int) -> jax.Array:
    # With its own padding XLA's convolution has slower gradients: the CNN's step at 64×64 took
    # 1180 ms, and takes 350 this way.
    return lax.conv_general_dilated(
        _padded(x, pad), kernel, 2 * (strides,), "VALID", dimension_numbers=NHWC
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(x: jax.Array, kernel: jax.Array, strides: int, pad: int) -> jax.Array:
    """XLA's convolution, of which some gradients are computed in faster ways."""
    return _xla_convolve(x, kernel, strides, pad)


def _convolve_forward(x: jax.Array, kernel: jax.Array, strides: int, pad: int) -> tuple[Any, Any]:
    return _convolve(x, kernel, strides, pad), (x, kernel)


def _convolve_backward(
    strides: int, pad: int, residuals: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    size, _, channels, features = kernel.shape
    _, height, width, _ = cotangent.shape
    is_halved = (strides, pad) == (2, 1) and x.shape[1:3] == (2 * height, 2 * width)
    if is_halved and size <= 4 and channels <= 2 * MEDIUM:
        # A deconvolution. XLA puts zeros between the cotangents, and multiplies by them: from 64
        # channels to 128 at 64×64, kernel 4×4, its three products take 205 CPU-ms, and these 141.
        whole = jnp.pad(kernel, ((0, 4 - size), (0, 4 - size), (0, 0), (0, 0)))
        by_x = deconvolve(cotangent, whole[::-1, ::-1].swapaxes(2, 3))
    else:
        (by_x,) = jax.linear_transpose(lambda x: _xla_convolve(x, kernel, strides, pad), x)(
            cotangent
        )
    if min(channels, features) < MEDIUM:
        transpose = jax.linear_transpose(lambda k: _xla_convolve(x, k, strides, pad), kernel)
        return by_x, *transpose(cotangent)
    padded, rows = _padded(x, pad), cotangent.reshape(-1, features)
    products = [
        _contract(_tap(padded, i, j, strides, height, width).reshape(-1, channels), rows, 0, 0)
        for i, j in itertools.product(range(size), repeat=2)
    ]
    return by_x, jnp.stack(products).reshape(kernel.shape).astype(kernel.dtype)


_convolve.defvjp(_convolve_forward, _convolve_backward)


def _product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """[..., C] times [C, features], of the dtype of x."""
    return _dot(x, kernel).astype(x.dtype)


@jax.custom_vjp
def _dot(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """[..., C] times [C, features] in at least float32; so are the gradients' products."""
    return _contract(x, kernel, x.ndim - 1, 0)


def _contract(x: jax.Array, y: jax.Array, x_axis: int, y_axis: int) -> jax.Array:
    dimensions = (((x_axis,), (y_axis,)), ((), ()))
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    return lax.dot_general(x, y, dimensions, preferred_element_type=dtype)


def _dot_forward(x: jax.Array, kernel: jax.Array) -> tuple[Any, Any]:
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
