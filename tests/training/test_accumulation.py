"""Gradients accumulated over parts of a batch."""

from functools import partial

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import support
import tiny
from tiny import UNIT_SGD, batch, compiled, taken

from colorjax.models.layers import Prediction
from colorjax.models.variables import init_variables
from colorjax.training.augment import translate_and_cut
from colorjax.training.state import create_train_state, net_state


class Plain(nn.Module):
    """A generator without BatchNorm."""

    @nn.compact
    def __call__(self, l, hints=None, train=False):
        x = nn.relu(nn.Conv(6, (5, 5), strides=2)(l))
        return Prediction(0.3 * nn.ConvTranspose(2, (4, 4), strides=(2, 2))(x), None)


def _accumulating(kind, generator, count, devices=1):
    optimizers = {"optimizer": optax.adam(1e-3)}
    if kind == "gan":
        optimizers |= {
            "discriminator_optimizer": UNIT_SGD,
            "augment": partial(translate_and_cut, max_shift=0.125, cut=0.25),
        }
    step = {"regression": tiny.regression_step, "gan": tiny.gan_step}[kind](
        generator=generator, accumulate_steps=count, **optimizers
    )
    variables = init_variables(generator, jax.random.key(3), 1, image_size=32)
    state = tiny.state(kind == "gan", discriminator_optimizer=UNIT_SGD, dtype=np.float64)
    net = net_state(jax.tree.map(lambda x: jnp.array(x, np.float64), variables), optax.adam(1e-3))
    state = create_train_state(jax.random.key(0), net, state.discriminator)
    for seed in range(2):
        state, scalars = compiled(step)(state, batch(tiny.images(16, seed), devices))
    return jax.device_get((state, scalars))


@pytest.mark.parametrize("kind", ["regression", "gan"])
def test_accumulated_gradients_equal_those_of_the_full_batch_without_batch_norm(kind):
    """Two updates with Adam, spectral normalisation, and each image's own augmentation."""
    with jax.enable_x64(True), support.quick_compilation():
        whole = _accumulating(kind, Plain(), 1)
        parts = _accumulating(kind, Plain(), 4, devices=2)
    chex.assert_trees_all_close(parts, whole, rtol=1e-5, atol=1e-9)


def test_batch_norm_normalises_each_part_separately():
    """As steps on the parts in sequence: gradients at the same parameters, averaged."""
    images, state = tiny.images(16), tiny.state(False, optimizer=UNIT_SGD)
    step = compiled(tiny.regression_step(optimizer=UNIT_SGD, accumulate_steps=2))
    after, scalars = step(state, batch(images))
    single, grads, losses = compiled(tiny.regression_step(optimizer=UNIT_SGD)), [], []
    moved = state
    for part in (images[:8], images[8:]):
        one, values = single(moved, batch(part))
        grads.append(taken(moved.generator, one.generator))
        losses.append(values["loss"])
        statistics = one.generator.batch_stats
        moved = moved.replace(generator=moved.generator.replace(batch_stats=statistics))
    mean = jax.tree.map(lambda a, b: (a + b) / 2, *grads)
    chex.assert_trees_all_close(taken(state.generator, after.generator), mean, atol=1e-6)
    chex.assert_trees_all_close(after.generator.batch_stats, statistics, atol=1e-6)
    np.testing.assert_allclose(scalars["loss"], np.mean(losses), rtol=1e-5)
