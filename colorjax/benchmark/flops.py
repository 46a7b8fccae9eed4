"""Floating-point operations of a step, counted by its mathematics, not by its implementation."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from colorjax.models import build_discriminator, build_generator
from colorjax.models.layers import Conv, Deconv


def layer_flops(module: nn.Module, *inputs: Any) -> list[int]:
    """Counts those of each convolution and deconvolution of a forward pass, in order.

    Each product of a kernel's element with a pixel counts as two, padding included. Everything
    else (normalization, activations, Lab) is about a hundredth of it, and is not counted.

    Args:
      module: is traced only, not run.
      *inputs: its arguments, as arrays or `jax.ShapeDtypeStruct`s.
    """
    counts = []

    def count(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        layer, y = context.module, call(*args, **kwargs)
        if isinstance(layer, Conv | Deconv) and context.method_name == "__call__":
            # The kernel is applied at each output pixel, of a deconvolution at each input pixel.
            pixels = math.prod((args[0] if isinstance(layer, Deconv) else y).shape[:-1])
            counts.append(2 * pixels * layer.variables["params"]["kernel"].size)
        return y

    variables = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    with nn.intercept_methods(count):
        jax.eval_shape(module.apply, variables, *inputs)
    return counts


def step_flops(config: ConfigDict) -> int:
    """Counts those of a training step of `config.batch_size` images, of a GAN the adversarial one.

    The forward pass, the gradient of the kernels and that of the inputs need the same number each;
    the first layer needs no gradient of its input. The discriminator runs forward twice, both with
    gradients of its kernels, and once more backward to the image for the generator's loss.
    Optimizers are not counted.
    """
    pixels = config.batch_size, config.image_size, config.image_size
    l, ab = (jax.ShapeDtypeStruct((*pixels, channels), jnp.float32) for channels in (1, 2))
    first, *others = layer_flops(build_generator(config), l)
    total = 2 * first + 3 * sum(others)
    if "gan" in config:
        discriminator = build_discriminator(config.gan, config.model.dtype)
        first, *others = layer_flops(discriminator, l, ab)
        total += 5 * first + 7 * sum(others)
    return total
