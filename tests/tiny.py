"""Two networks that compile in a moment, their state, and the steps that train them."""

import functools
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from colorjax.models.layers import Prediction
from colorjax.models.variables import init_variables
from colorjax.parallel.devices import AXIS
from colorjax.training import steps
from colorjax.training.losses import ADVERSARIAL, generator_loss, regression_loss
from colorjax.training.state import create_train_state, net_state

IMAGE_SIZE = 32
SGD = optax.sgd(0.5)
FROZEN = optax.set_to_zero()
# With this the difference of the parameters is the gradient.
UNIT_SGD = optax.sgd(1.0)


class Generator(nn.Module):
    """With BatchNorm: the output depends on the entire batch."""

    axis_name: str | None = AXIS

    @nn.compact
    def __call__(self, l, hints=None, train=False):
        x = nn.Conv(6, (5, 5), strides=2, use_bias=False)(l)
        x = nn.BatchNorm(not train, momentum=0.9, axis_name=self.axis_name)(x)
        return Prediction(0.3 * nn.ConvTranspose(2, (4, 4), strides=(2, 2))(nn.relu(x)), None)


class Discriminator(nn.Module):
    """With spectral normalisation: it has statistics."""

    @nn.compact
    def __call__(self, l, ab, train=False):
        x = jnp.concatenate([l, ab], axis=-1)
        x = nn.SpectralNorm(nn.Conv(8, (4, 4), strides=4))(x, update_stats=train)
        return nn.Conv(1, (3, 3))(nn.leaky_relu(2 * x))


def images(count=16, seed=0) -> np.ndarray:
    """[count, 32, 32, 3] uint8, each with colours of its own, so that parts of a batch differ."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(30, 226, (count, 1, 1, 3))
    return (colours + rng.integers(-30, 30, (count, IMAGE_SIZE, IMAGE_SIZE, 3))).astype(np.uint8)


@functools.cache
def _variables(module, *channels):
    variables = init_variables(module, jax.random.key(3), *channels, image_size=IMAGE_SIZE)
    return jax.device_get(variables)


def state(discriminator=True, optimizer=SGD, discriminator_optimizer=SGD, dtype=np.float32):
    """The state before the first step, the same every time."""

    def net(module, optimizer, *channels):
        variables = _variables(module, *channels)
        return net_state(jax.tree.map(lambda x: jnp.array(x, dtype), variables), optimizer)

    d_net = net(Discriminator(), discriminator_optimizer, 1, 2) if discriminator else None
    g_net = net(Generator(axis_name=None), optimizer, 1)
    return create_train_state(jax.random.key(0), g_net, d_net)


def regression_step(**changes):
    arguments = {
        "generator": Generator(),
        "optimizer": SGD,
        "loss": generator_loss(regression_loss("l2", 1.0), 1.0, 0.0),
        "ema_decay": 0.9,
    }
    return partial(steps.regression_step, **arguments | changes)


def gan_step(**changes):
    arguments = {
        "generator": Generator(),
        "discriminator": Discriminator(),
        "optimizer": SGD,
        "discriminator_optimizer": SGD,
        "loss": generator_loss(regression_loss("l1", 1.0), 3.0, 0.0),
        "adversarial": ADVERSARIAL["non_saturating"],
        "augment": lambda rng, images: images,
        "ema_decay": 0.9,
    }
    return partial(steps.gan_step, **arguments | changes)


def compiled(step):
    """Compiles a step for a batch [devices, N, ...], with vmap in place of devices."""
    return jax.jit(jax.vmap(step, axis_name=AXIS, in_axes=(None, 0), out_axes=(None, None)))


def batch(images, devices=1):
    return {"image": jnp.asarray(images).reshape(devices, -1, *images.shape[1:])}


def taken(before, after):
    """The gradient that SGD with a learning rate of 1 has subtracted."""
    return jax.tree.map(jnp.subtract, before.params, after.params)
