"""Steps of a generator with a distribution and hints: over devices, in parts, and in a GAN."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import support
import tiny
from flax.traverse_util import flatten_dict, unflatten_dict
from tiny import UNIT_SGD, batch, compiled, taken

from colorjax.models import color_bins
from colorjax.models.encoder_decoder import EncoderDecoder
from colorjax.models.variables import init_variables
from colorjax.parallel.devices import AXIS
from colorjax.training.losses import generator_loss, regression_loss
from colorjax.training.state import create_train_state, net_state


@pytest.fixture(autouse=True, scope="module")
def _quick():
    with support.quick_compilation():
        yield


LOSS = generator_loss(regression_loss("l1", 1.0), 1.0, 0.1)


def generator(axis_name=AXIS):
    return EncoderDecoder(1 / 32, axis_name=axis_name, distribution=True, hints=True)


def start(discriminator=False):
    """Random everywhere, also where training starts at zero."""
    variables = init_variables(generator(None), jax.random.key(0), 1, image_size=32)
    rng = np.random.default_rng(0)
    flat = flatten_dict(variables)
    for path in flat:
        if path[-1] in ("kernel", "scale") and {"hints", "decoder"} & set(path):
            flat[path] += 0.1
    variables = unflatten_dict(flat)
    weights = rng.uniform(0.5, 2, len(color_bins.centers())).astype(np.float32)
    variables["batch_stats"]["decoder"]["bin_weights"] = jnp.asarray(weights)
    d_net = tiny.state(discriminator_optimizer=UNIT_SGD).discriminator if discriminator else None
    return create_train_state(jax.random.key(1), net_state(variables, UNIT_SGD), d_net)


def step(kind, **changes):
    arguments = {"generator": generator(), "optimizer": UNIT_SGD, "loss": LOSS, "hints": 0.7}
    if kind == "regression":
        return compiled(tiny.regression_step(**arguments | changes))
    return compiled(tiny.gan_step(**arguments | changes, discriminator_optimizer=UNIT_SGD))


@pytest.mark.parametrize("kind", ["regression", "gan"])
def test_eight_devices_equal_one(kind):
    """Each image has the same hints on any device."""
    state, images = start(kind == "gan"), tiny.images(16)
    one, many = (step(kind)(state, batch(images, devices)) for devices in (1, 8))
    chex.assert_trees_all_close(one, many, rtol=2e-3, atol=2e-5)
    for net in (one[0].generator, one[0].ema):
        kept = net.batch_stats if hasattr(net, "batch_stats") else net["batch_stats"]
        np.testing.assert_allclose(
            kept["decoder"]["bin_weights"],
            state.generator.batch_stats["decoder"]["bin_weights"],
            rtol=1e-6,
        )


def test_every_parameter_has_a_gradient():
    state = start()
    after, _ = step("regression")(state, batch(tiny.images(16)))
    gradients = flatten_dict(taken(state.generator, after.generator), sep="/")
    assert {"hints/kernel", "decoder/logits/kernel", "decoder/logits/bias"} < set(gradients)
    assert all(np.abs(gradient).max() > 0 for gradient in gradients.values())


def test_without_hints_their_kernel_has_no_gradient():
    state = start()
    after, _ = step("regression", hints=0.0)(state, batch(tiny.images(16)))
    gradients = taken(state.generator, after.generator)
    assert np.abs(gradients["hints"]["kernel"]).max() == 0
    assert np.abs(gradients["conv0"]["kernel"]).max() > 0


def test_the_generator_of_a_gan_gets_the_gradients_of_both_losses():
    """As the sum of a regression step and of the adversarial gradient alone."""
    state, images = start(discriminator=True), batch(tiny.images(8))
    after, scalars = step("gan")(state, images)
    alone, _ = step("gan", loss=lambda prediction, ab: 0 * jnp.sum(prediction.ab))(state, images)
    regression, values = step("regression")(state, images)
    expected = jax.tree.map(
        jnp.add,
        taken(state.generator, alone.generator),
        taken(state.generator, regression.generator),
    )
    chex.assert_trees_all_close(
        taken(state.generator, after.generator), expected, rtol=1e-3, atol=1e-5
    )
    np.testing.assert_allclose(scalars["loss"], values["loss"], rtol=1e-4)
    assert optax.tree.norm(taken(state.generator, alone.generator)) > 1e-3
