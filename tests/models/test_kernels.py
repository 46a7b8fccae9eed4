"""The CPU's forms of the layers equal the plain ones, forward and backward."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from colorjax.models import kernels, layers

# The tolerances are relative to the largest value.
PRECISIONS = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(jnp.float32, 1e-5), (jnp.bfloat16, 1e-2)]
)


@pytest.fixture(autouse=True)
def _full_precision():
    with jax.default_matmul_precision("highest"):
        yield


def normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def assert_same(plain, cpu, shapes, dtype, tolerance):
    """Compares values, and gradients by all inputs for the same cotangent.

    The plain form computes in float32, from the same rounded numbers.
    """

    def values_and_gradients(function, *inputs):
        y, vjp = jax.vjp(function, *inputs)
        cotangent = jnp.asarray(normal(y.shape, seed=7), dtype).astype(y.dtype)
        return y, *vjp(cotangent)

    inputs = [jnp.asarray(normal(shape, seed), dtype) for seed, shape in enumerate(shapes)]
    run = jax.jit(values_and_gradients, static_argnums=0)
    found = run(cpu, *inputs)
    expected = run(plain, *(x.astype(jnp.float32) for x in inputs))
    for a, b in zip(found, expected, strict=True):
        chex.assert_equal_shape([a, b])
        assert a.dtype == dtype
        error = np.abs(a.astype(jnp.float32) - b).max() / np.abs(b).max()
        assert error < tolerance


@PRECISIONS
@pytest.mark.parametrize("size", [(8, 12), (2, 2), (9, 7)])
@pytest.mark.parametrize(("channels", "features"), [(5, 2), (5, 6), (40, 33), (128, 129)])
@pytest.mark.parametrize(
    ("kernel_size", "strides", "pad"), [(3, 1, 1), (3, 2, 1), (1, 2, 0), (4, 2, 1), (7, 2, 3)]
)
def test_convolution(size, channels, features, kernel_size, strides, pad, dtype, tolerance):
    def form(convolve):
        return lambda x, kernel: convolve(x, kernel, strides, pad)

    shapes = (2, *size, channels), (kernel_size, kernel_size, channels, features)
    plain, cpu = form(layers.convolve), form(kernels.convolve)
    assert_same(plain, cpu, shapes, dtype, tolerance)


@PRECISIONS
@pytest.mark.parametrize(
    ("shape", "features"),
    [
        ((2, 4, 4, 8), 16),
        ((1, 1, 1, 3), 2),
        ((2, 9, 2, 5), 1),
        ((3, 5, 7, 4), 6),
        ((2, 9, 5, 256), 64),
    ],
)
def test_deconvolution(shape, features, dtype, tolerance):
    shapes = shape, (4, 4, shape[-1], features)
    assert_same(layers.deconvolve, kernels.deconvolve, shapes, dtype, tolerance)


@PRECISIONS
@pytest.mark.parametrize("size", [(9, 12), (5, 5), (8, 7)])
@pytest.mark.parametrize(("kernel_size", "strides"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_depthwise_convolution(size, kernel_size, strides, dtype, tolerance):
    def form(depthwise):
        return lambda x, kernel: depthwise(x, kernel, strides)

    shapes = (3, *size, 6), (kernel_size, kernel_size, 1, 6)
    assert_same(form(layers.depthwise), form(kernels.depthwise), shapes, dtype, tolerance)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("shape", [(2, 8, 12, 1), (1, 7, 2, 1), (2, 1, 1, 2)])
def test_max_pool(shape, dtype):
    """Of numbers that differ in bfloat16 too: equal maxima share the gradient."""
    count = np.prod(shape)
    x = np.random.default_rng(0).permutation(count).reshape(shape) - count / 2
    results = [jax.vjp(form, jnp.asarray(x, dtype)) for form in (layers.max_pool, kernels.max_pool)]
    (expected, plain), (found, cpu) = results
    cotangent = jnp.asarray(normal(expected.shape), dtype)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(
        *(np.asarray(vjp(cotangent)[0], np.float32) for vjp in (cpu, plain)),
        atol=1e-6 if dtype == jnp.float32 else 2e-2,
    )


def test_wide_bfloat16_products_give_float32():
    """Else XLA computes them in float32, more slowly; narrow ones are faster as convolutions."""

    def program(channels):
        x = jnp.zeros((1, 8, 8, channels), jnp.bfloat16)
        kernel = jnp.zeros((3, 3, channels, channels), jnp.bfloat16)

        def loss(x, kernel):
            return kernels.convolve(x, kernel, 1, 1).sum()

        return str(jax.make_jaxpr(jax.value_and_grad(loss, (0, 1)))(x, kernel))

    products = program(256)
    assert products.count("preferred_element_type=float32") == products.count("dot_general") > 3
    assert "conv_general_dilated" not in products
    assert "conv_general_dilated" in program(8)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 3)])
def test_a_convolution_to_a_small_map_is_one_product(size):
    x, kernel = jnp.zeros((3, *size, 5)), jnp.zeros((3, 3, 5, 6))
    program = jax.make_jaxpr(lambda x, k: kernels.convolve(x, k, 1, 1))(x, kernel)
    assert "conv_general_dilated" not in str(program)
    assert str(program).count("dot_general") == 1


@pytest.mark.parametrize("module", [layers.Conv, layers.Deconv])
def test_the_parameters_of_both_forms_are_the_same(module):
    x = jnp.zeros((1, 8, 8, 3))
    plain, cpu = (module(4, kernels=k).init(jax.random.key(0), x) for k in ("plain", "cpu"))
    chex.assert_trees_all_equal(plain, cpu)
