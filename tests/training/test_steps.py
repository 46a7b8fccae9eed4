"""Training steps on one device, compared with plain `jax.grad` and NumPy."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from skimage import color
from tiny import UNIT_SGD, batch, compiled, taken

from colorjax.models.variables import model_predictor
from colorjax.training import augment, steps
from colorjax.training.losses import ADVERSARIAL, generator_loss, regression_loss


def normalized(images):
    lab = color.rgb2lab(images).astype(np.float32)
    return lab[..., :1] / 50 - 1, lab[..., 1:] / 110


def applied(module, params, batch_stats, *inputs):
    variables = {"params": params, "batch_stats": batch_stats}
    return module.apply(variables, *inputs, train=True, mutable=["batch_stats"])


@partial(jax.jit, static_argnames="name")
def naive_gan(state, l, ab, name):
    """Separate losses of generator and discriminator, each with its own forward pass.

    Returns:
      Gradients of both, their new batch_stats, and the losses and logits.
    """
    adversarial, generator = ADVERSARIAL[name], tiny.Generator(axis_name=None)
    g_net, d_net = state.generator, state.discriminator

    def judge(d_params, ab):
        return applied(tiny.Discriminator(), d_params, d_net.batch_stats, l, ab)

    def g_loss(g_params):
        fake, updated = applied(generator, g_params, g_net.batch_stats, l)
        l1 = 3.0 * jnp.mean(jnp.abs(fake.ab - ab))
        value = adversarial.generator(judge(d_net.params, fake.ab)[0])
        return l1 + value, (l1, value, updated["batch_stats"])

    def d_loss(d_params):
        fake, _ = applied(generator, g_net.params, g_net.batch_stats, l)
        logits_real, updated = judge(d_params, ab)
        logits_fake, _ = judge(d_params, jax.lax.stop_gradient(fake.ab))
        value = adversarial.discriminator(logits_real, logits_fake)
        return value, (value, logits_real, logits_fake, updated["batch_stats"])

    g_grads, (l1, adversarial_value, g_stats) = jax.grad(g_loss, has_aux=True)(g_net.params)
    d_grads, (d_value, real, fake, d_stats) = jax.grad(d_loss, has_aux=True)(d_net.params)
    computed = {
        "loss": l1,
        "adversarial_loss": adversarial_value,
        "discriminator_loss": d_value,
        "logits_real": real,
        "logits_fake": fake,
    }
    return g_grads, d_grads, g_stats, d_stats, computed


def norm(tree):
    return np.sqrt(sum(np.sum(np.square(leaf, dtype=np.float64)) for leaf in jax.tree.leaves(tree)))


@pytest.mark.parametrize("name", sorted(ADVERSARIAL))
def test_gan_step_equals_the_gradients_of_two_separate_losses(name):
    images, state = tiny.images(8), tiny.state()
    step = tiny.gan_step(
        adversarial=ADVERSARIAL[name], optimizer=UNIT_SGD, discriminator_optimizer=UNIT_SGD
    )
    after, scalars = compiled(step)(state, batch(images))
    g_grads, d_grads, g_stats, d_stats, expected = naive_gan(state, *normalized(images), name)
    assert min(norm(g_grads), norm(d_grads)) > 1e-2
    close = partial(chex.assert_trees_all_close, rtol=1e-3, atol=1e-5)
    close(taken(state.generator, after.generator), g_grads)
    close(taken(state.discriminator, after.discriminator), d_grads)
    close(after.generator.batch_stats, g_stats)
    close(after.discriminator.batch_stats, d_stats)
    for scalar in ("loss", "adversarial_loss", "discriminator_loss"):
        np.testing.assert_allclose(scalars[scalar], expected[scalar], rtol=1e-4)
    np.testing.assert_allclose(scalars["grad_norm"], norm(g_grads), rtol=1e-3)
    np.testing.assert_allclose(scalars["discriminator_grad_norm"], norm(d_grads), rtol=1e-3)
    # Logits near zero would make accuracies a matter of rounding.
    real, fake = np.asarray(expected["logits_real"]), np.asarray(expected["logits_fake"])
    assert min(np.abs(real).min(), np.abs(fake).min()) > 1e-4
    np.testing.assert_allclose(scalars["accuracy_real"], np.mean(real > 0), rtol=1e-6)
    np.testing.assert_allclose(scalars["accuracy_fake"], np.mean(fake < 0), rtol=1e-6)
    assert 0 < np.mean(real > 0) < 1


def test_judge_step_on_training_images_gives_the_accuracies_of_gan_step():
    """With converged running statistics, and the same random numbers."""

    def darken(rngs, l):
        return l * jax.vmap(jax.random.uniform)(rngs).reshape(-1, 1, 1, 1)

    seen = {
        "augment": partial(augment.translate_and_cut, max_shift=0.25, cut=0.5),
        "damage": darken,
    }
    frozen = {"optimizer": tiny.FROZEN, "discriminator_optimizer": tiny.FROZEN}
    images, state = tiny.images(8), tiny.state(**frozen)
    # Damage differs from step to step, and so would the running statistics.
    settle = compiled(tiny.gan_step(**frozen, augment=seen["augment"]))
    for _ in range(100):
        state, _ = settle(state, batch(images))
    numbered = {"image": jnp.asarray(images), "index": jnp.arange(8)}
    networks = {"generator": tiny.Generator(), "discriminator": tiny.Discriminator()}
    judged = jax.jit(partial(steps.judge_step, **networks, augment=seen["augment"]))(
        state, numbered
    )
    _, expected = settle(state, batch(images))
    for key in ("accuracy_real", "accuracy_fake"):
        assert judged[key].shape == (8,)
        np.testing.assert_allclose(judged[key].mean(), expected[key], atol=1e-6)
        assert 0 < expected[key] < 1
    judge = jax.jit(partial(steps.judge_step, **networks, **seen))
    darkened = judge(state, numbered)
    # Accuracy on real images does not depend on BatchNorm.
    _, expected = compiled(tiny.gan_step(**frozen, **seen))(state, batch(images))
    np.testing.assert_allclose(
        darkened["accuracy_real"].mean(), expected["accuracy_real"], atol=1e-6
    )
    assert abs(float(darkened["accuracy_real"].mean() - judged["accuracy_real"].mean())) > 0.01
    backwards = judge(state, jax.tree.map(lambda x: x[::-1], numbered))
    for key, values in backwards.items():
        np.testing.assert_allclose(values[::-1], darkened[key], atol=1e-6)


@pytest.mark.parametrize("name", ["l1", "l2", "huber"])
def test_regression_step_equals_jax_grad_of_its_loss(name):
    images, state = tiny.images(8), tiny.state(discriminator=False)
    loss = regression_loss(name, 0.1)
    step = tiny.regression_step(optimizer=UNIT_SGD, loss=generator_loss(loss, 1.0, 0.0))
    after, scalars = compiled(step)(state, batch(images))
    l, ab = normalized(images)

    @jax.jit
    @partial(jax.value_and_grad, has_aux=True)
    def expected(params):
        generator = tiny.Generator(axis_name=None)
        fake, updated = applied(generator, params, state.generator.batch_stats, l)
        return loss(fake.ab, ab), updated["batch_stats"]

    (value, batch_stats), grads = expected(state.generator.params)
    np.testing.assert_allclose(scalars["loss"], value, rtol=1e-4)
    np.testing.assert_allclose(scalars["grad_norm"], norm(grads), rtol=1e-3)
    close = partial(chex.assert_trees_all_close, rtol=1e-3, atol=1e-5)
    close(taken(state.generator, after.generator), grads)
    close(after.generator.batch_stats, batch_stats)


def test_a_regression_step_does_not_change_the_discriminator():
    adam = optax.adam(1e-3)
    state = tiny.state(discriminator_optimizer=adam)
    after, _ = compiled(tiny.regression_step())(state, batch(tiny.images(8)))
    chex.assert_trees_all_equal(after.discriminator, state.discriminator)
    assert norm(taken(state.generator, after.generator)) > 1e-3
    alone, _ = compiled(tiny.regression_step())(
        tiny.state(discriminator=False), batch(tiny.images(8))
    )
    assert alone.discriminator is None
    chex.assert_trees_all_close(alone.generator, after.generator, atol=1e-6)


@pytest.mark.parametrize("ema_decay", [0.0, 0.5, 0.999])
def test_the_ema_is_a_weighted_sum_of_all_states_with_a_growing_decay(ema_decay):
    """The decay is min(ema_decay, (1 + t) / (10 + t)); it reaches 0.5 at t = 8."""
    step, state = compiled(tiny.regression_step(ema_decay=ema_decay)), tiny.state(False)
    history = [state]
    for seed in range(12):
        state, _ = step(state, batch(tiny.images(4, seed)))
        history.append(state)
    decays = [min(ema_decay, (1 + t) / (10 + t)) for t in range(12)]
    # The weight of the state after update t, left after all later updates.
    kept = [1.0 - d for d in [0.0, *decays]]
    kept[0] = 1.0
    weights = [w * np.prod(decays[t:]) for t, w in enumerate(kept)]
    np.testing.assert_allclose(sum(weights), 1)

    def weighted_sum(*leaves):
        terms = [w * np.asarray(leaf, np.float64) for w, leaf in zip(weights, leaves, strict=True)]
        return sum(terms).astype(np.float32)

    for kind in ("params", "batch_stats"):
        values = [getattr(past.generator, kind) for past in history]
        chex.assert_trees_all_close(
            state.ema[kind], jax.tree.map(weighted_sum, *values), rtol=1e-5, atol=1e-6
        )


SHIFT_AND_CUT = partial(augment.translate_and_cut, max_shift=0.125, cut=0.25)


def test_random_numbers_of_a_step_depend_on_the_key_and_the_step():
    step, images = compiled(tiny.gan_step(augment=SHIFT_AND_CUT)), batch(tiny.images(8))
    state = tiny.state()
    after, scalars = step(state, images)
    again, scalars_again = step(state, images)
    chex.assert_trees_all_equal((after, scalars), (again, scalars_again))
    np.testing.assert_array_equal(after.rng, state.rng)
    assert after.step == 1
    assert after.step.dtype == jnp.int32
    for other in (state.replace(step=state.step + 1), state.replace(rng=jax.random.PRNGKey(7))):
        _, other_scalars = step(other, images)
        assert other_scalars["discriminator_loss"] != scalars["discriminator_loss"]


def test_each_image_and_network_and_step_has_its_own_random_numbers():
    """All images are equal, so only random numbers can differ."""
    drawn = []

    def noted(rngs, images):
        values = jax.vmap(jax.random.normal)(rngs)
        jax.debug.callback(lambda x: drawn.extend(np.ravel(x).tolist()), values)
        return images

    step, state = compiled(tiny.gan_step(augment=noted)), tiny.state()
    images = batch(np.tile(tiny.images(1), (16, 1, 1, 1)), devices=8)
    for _ in range(2):
        state, _ = step(state, images)
    jax.block_until_ready(state)
    jax.effects_barrier()
    assert len(drawn) == 2 * 2 * 16
    assert len(set(drawn)) == len(drawn)


def test_the_discriminator_sees_augmented_images():
    """Blank images give logits of 0, and no gradient for the generator."""
    step = tiny.gan_step(
        augment=lambda rng, images: 0 * images,
        loss=lambda prediction, ab_true: 0 * jnp.mean(prediction.ab),
    )
    _, scalars = compiled(step)(tiny.state(), batch(tiny.images(8)))
    assert scalars["grad_norm"] == 0
    np.testing.assert_allclose(scalars["adversarial_loss"], np.log(2), rtol=1e-5)
    np.testing.assert_allclose(scalars["discriminator_loss"], 2 * np.log(2), rtol=1e-5)


def test_a_model_predicts_in_lab_units_with_its_running_statistics():
    state = tiny.state(False).generator
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    generator = tiny.Generator(axis_name=None)
    l = 50 * (normalized(tiny.images(4))[0] + 1)
    predicted = model_predictor(generator)(variables, l)
    expected = generator.apply(variables, l / 50 - 1).ab
    np.testing.assert_allclose(predicted, 110 * expected, rtol=1e-5)
    alone = model_predictor(generator)(variables, l[:1])
    np.testing.assert_allclose(predicted[:1], alone, rtol=1e-4, atol=1e-4)


def test_damage_changes_the_input_and_not_the_target():
    """A step with inverted L is a plain step on images of inverted L."""
    images = tiny.images(8)
    state = tiny.state(discriminator=False)
    keys = []

    def invert(rngs, l):
        keys.append(rngs)
        return 100.0 - l

    damaged, _ = compiled(tiny.regression_step(optimizer=UNIT_SGD, damage=invert))(
        state, batch(images)
    )
    l, ab = normalized(images)

    def loss(params):
        prediction, _ = applied(
            tiny.Generator(axis_name=None), params, state.generator.batch_stats, -l
        )
        return jnp.mean((prediction.ab - ab) ** 2)

    grads = jax.grad(loss)(state.generator.params)
    expected = jax.tree.map(jnp.subtract, state.generator.params, grads)
    chex.assert_trees_all_close(damaged.generator.params, expected, atol=2e-5)
    assert len(keys) == 1


@pytest.mark.parametrize(("kind", "value"), [("regression", jnp.inf), ("gan", jnp.nan)])
def test_a_non_finite_step_and_all_steps_after_it_update_nothing(kind, value):
    step = {"regression": tiny.regression_step, "gan": tiny.gan_step}[kind]
    loss = step().keywords["loss"]
    good = compiled(step(optimizer=optax.adam(1e-3)))
    bad = compiled(
        step(optimizer=optax.adam(1e-3), loss=lambda ab, ab_true: value * loss(ab, ab_true))
    )
    images = batch(tiny.images(8))
    state, _ = good(tiny.state(kind == "gan", optimizer=optax.adam(1e-3)), images)
    assert state.step == 1
    halted, bad_scalars = bad(state, images)
    assert not np.isfinite(bad_scalars["loss"])
    again, _ = bad(halted, images)
    for later in (halted, again, good(again, images)[0]):
        assert not later.is_finite
        chex.assert_trees_all_equal(later.replace(is_finite=state.is_finite), state)
    # With the flag reset, training continues as if nothing had happened.
    expected, _ = good(state, images)
    reset = halted.replace(is_finite=state.is_finite)
    chex.assert_trees_all_equal(good(reset, images)[0], expected)
    assert norm(taken(state.generator, expected.generator)) > 1e-4
