"""How many floating-point operations the mathematics of a step needs, whatever computes it."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from colorjax.models import build_discriminator, build_generator
from colorjax.models.layers import Conv, Deconv


def layer_flops(module: nn.Module, *inputs: Any) -> list[int]:
    """Of one forward pass, for each convolution and deconvolution in the order of the network.

    Two for each product of a kernel's tap with a pixel, those with the padding's zeros too; a 4×4
    deconvolution is one, however it is computed. All else (normalisation, activations, Lab) is
    not counted: a hundredth of it.

    Args:
      module: takes `inputs`; nothing is computed.
      *inputs: arrays or `jax.ShapeDtypeStruct`s.
    """
    counts = []

    def count(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        layer, y = context.module, call(*args, **kwargs)
        if isinstance(layer, Conv | Deconv | nn.Conv) and context.method_name == "__call__":
            # All taps meet each pixel that a convolution gives, or that a deconvolution takes.
            pixels = math.prod((args[0] if isinstance(layer, Deconv) else y).shape[:-1])
            counts.append(2 * pixels * layer.variables["params"]["kernel"].size)
        return y

    variables = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    with nn.intercept_methods(count):
        jax.eval_shape(module.apply, variables, *inputs)
    return counts


def step_flops(config: ConfigDict) -> int:
    """Of one training step of `config.batch_size` images, as `steps.py` does it.

    A network's forward pass, the gradient of its kernels and that of its inputs need as many each,
    but nobody needs the gradient of what the first layer sees. Of a GAN the discriminator runs
    forward twice, its kernels get gradients from both, and the generator's loss goes back through
    it once more, to the image but not to the kernels. Optimizers are not counted.

    Args:
      config: of a run; with `config.gan`, its adversarial step.
    """
    pixels = config.batch_size, config.image_size, config.image_size
    l, ab = (jax.ShapeDtypeStruct((*pixels, channels), jnp.float32) for channels in (1, 2))
    first, *others = layer_flops(build_generator(config.model), l)
    total = 2 * first + 3 * sum(others)
    if "gan" in config:
        discriminator = build_discriminator(config.gan, config.model.dtype)
        first, *others = layer_flops(discriminator, l, ab)
        total += 5 * first + 7 * sum(others)
    return total
