"""Operations counted by hand, and by XLA in its program."""

import jax
import jax.numpy as jnp
import pytest
from support import tiny_config

from colorjax.benchmark.flops import layer_flops, step_flops
from colorjax.models.discriminator import Discriminator
from colorjax.models.encoder_decoder import EncoderDecoder
from colorjax.models.layers import Conv, Deconv
from colorjax.models.resnet import ResNetGenerator


def placeholders(size, *channels):
    return [jax.ShapeDtypeStruct((2, size, size, count), jnp.float32) for count in channels]


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (Conv(5, 3), 2 * 2 * 8 * 8 * 9 * 3 * 5),
        (Conv(5, 4, 2), 2 * 2 * 4 * 4 * 16 * 3 * 5),
        # Each of the 16×16 pixels sums over four elements of the kernel.
        (Deconv(5), 2 * 2 * 16 * 16 * 4 * 3 * 5),
    ],
)
def test_a_layer_needs_two_operations_for_each_kernel_element_and_pixel(layer, expected):
    assert layer_flops(layer, *placeholders(8, 3)) == [expected]


@pytest.mark.parametrize(
    ("model", "channels"),
    [(EncoderDecoder(), (1,)), (ResNetGenerator(), (1,)), (Discriminator(), (1, 2))],
)
def test_a_forward_pass_is_what_xla_counts(model, channels):
    """XLA adds normalization, activations, and the border that a deconvolution crops."""
    inputs = placeholders(128, *channels)
    variables = jax.eval_shape(model.init, jax.random.key(0), *inputs)
    theirs = jax.jit(model.apply).lower(variables, *inputs).cost_analysis()["flops"]
    assert sum(layer_flops(model, *inputs)) == pytest.approx(theirs, rel=0.1)


def test_a_regression_step_is_three_forward_passes_without_the_gradient_of_the_image():
    config = tiny_config("cnn")
    shape = config.batch_size, config.image_size, config.image_size, 1
    model = EncoderDecoder(config.model.width)
    first, *others = layer_flops(model, jax.ShapeDtypeStruct(shape, jnp.float32))
    assert step_flops(config) == 2 * first + 3 * sum(others)
