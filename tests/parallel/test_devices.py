"""Eight devices, compared with one."""

import types
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from jax import lax

from colorjax.parallel import devices
from colorjax.parallel.devices import AXIS
from colorjax.training import augment, steps

STEPS = {"regression": tiny.regression_step, "gan": tiny.gan_step}


def on_one_device(step):
    """The step as `devices` compiles it, but for the complete batch on the first device."""
    compiled = jax.pmap(
        step, axis_name=AXIS, in_axes=(None, 0), out_axes=(None, None), devices=jax.devices()[:1]
    )
    return lambda state, images: compiled(state, {"image": images[None]})


def on_all_devices(step):
    compiled = devices.compile_train_step(step)
    return lambda state, images: compiled(
        devices.replicate(state), devices.shard({"image": images})
    )


def trained(compiled, state, num_steps):
    """The state after `num_steps` steps, and the scalars of each."""
    scalars = []
    for seed in range(num_steps):
        state, values = compiled(state, tiny.images(16, seed))
        scalars.append(jax.device_get(values))
    return jax.device_get(state), scalars


@pytest.mark.parametrize("kind", sorted(STEPS))
def test_a_step_over_eight_devices_equals_one_device(kind):
    """The whole state (parameters, statistics, averages) and the logged scalars."""
    state = tiny.state(discriminator=kind == "gan")
    before = jax.device_get(state)
    one, scalars_one = trained(on_one_device(STEPS[kind]()), state, 1)
    eight, scalars_eight = trained(on_all_devices(STEPS[kind]()), state, 1)
    chex.assert_trees_all_close(eight, one, rtol=1e-4, atol=1e-6)
    chex.assert_trees_all_close(scalars_eight, scalars_one, rtol=1e-4)
    # Everything changed by more than the tolerance, except sigma: 1 for an initial kernel.
    for part in ("params", "batch_stats"):
        for net in ("generator", "discriminator") if kind == "gan" else ("generator",):
            pair = (getattr(getattr(s, net), part) for s in (before, eight))
            for old, new in zip(*map(jax.tree.leaves, pair), strict=True):
                assert old.ndim == 0 or np.abs(new - old).max() > 1e-4


@pytest.mark.parametrize("kind", sorted(STEPS))
def test_ten_steps_over_eight_devices_equal_one_device_in_float64(kind):
    with jax.enable_x64(True):
        state = tiny.state(discriminator=kind == "gan", dtype=np.float64)
        one, scalars_one = trained(on_one_device(STEPS[kind]()), state, 10)
        eight, scalars_eight = trained(on_all_devices(STEPS[kind]()), state, 10)
    assert jax.tree.leaves(one.generator.params)[0].dtype == np.float64
    # Lab conversion is in float32.
    chex.assert_trees_all_close(eight, one, rtol=1e-6, atol=1e-9)
    chex.assert_trees_all_close(scalars_eight, scalars_one, rtol=1e-6)


def differing(tree):
    """The paths of the leaves whose copies on the devices differ in any bit."""
    paths = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        copies = [np.asarray(shard.data).tobytes() for shard in leaf.addressable_shards]
        assert len(copies) == 8
        if len(set(copies)) > 1:
            paths.append(jax.tree_util.keystr(path))
    return paths


def augmented_gan_step():
    return tiny.gan_step(augment=partial(augment.translate_and_cut, max_shift=0.125, cut=0.25))


def after_ten_steps(step):
    compiled, state = devices.compile_train_step(step), devices.replicate(tiny.state())
    for seed in range(10):
        # Virtual devices that run ahead of each other would exhaust the CPU's threads.
        state, scalars = jax.block_until_ready(
            compiled(state, devices.shard({"image": tiny.images(16, seed)}))
        )
    return state, scalars


def test_replicas_stay_bit_identical_through_ten_steps_with_augmentation():
    assert differing(after_ten_steps(augmented_gan_step())) == []


def test_a_forgotten_pmean_would_make_replicas_differ(monkeypatch):
    forgetful = types.SimpleNamespace(**{**vars(lax), "pmean": lambda tree, axis: tree})
    monkeypatch.setattr(steps, "lax", forgetful)
    state, scalars = after_ten_steps(augmented_gan_step())
    paths = differing(state)
    for net in (".generator.params", ".discriminator.params", ".ema['params']"):
        assert any(path.startswith(net) for path in paths), net
    assert "['discriminator_loss']" in differing(scalars)


def aval(x):
    return x.shape, x.dtype, x.weak_type


@pytest.mark.parametrize("kind", sorted(STEPS))
def test_a_step_is_traced_once_and_its_state_donated(kind):
    step = STEPS[kind]()
    chex.clear_trace_counter()

    @partial(chex.assert_max_traces, n=1)
    def counted(state, batch):
        return step(state, batch)

    compiled = devices.compile_train_step(counted)
    state = devices.replicate(tiny.state(discriminator=kind == "gan"))
    for seed in range(3):
        batch, before = devices.shard({"image": tiny.images(16, seed)}), state
        state, scalars = jax.block_until_ready(compiled(state, batch))
        kept = [
            jax.tree_util.keystr(path)
            for path, leaf in jax.tree_util.tree_leaves_with_path(before)
            if not leaf.is_deleted()
        ]
        # The singular value is only written, so it is not donated.
        assert [path for path in kept if "sigma" not in path] == []
        assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((state, scalars, batch)))
        # Another type, or a weak one, would be traced again.
        assert jax.tree.map(aval, state) == jax.tree.map(aval, before)
    assert state.step == 3


def test_shard_gives_each_device_the_next_images_and_gather_undoes_it():
    batch = {"image": tiny.images(24), "mask": np.arange(24) < 20}
    sharded = devices.shard(batch)
    chex.assert_shape(sharded["image"], (8, 3, 32, 32, 3))
    for i, device in enumerate(jax.local_devices()):
        (part,) = (s.data for s in sharded["image"].addressable_shards if s.device == device)
        np.testing.assert_array_equal(part[0], batch["image"][3 * i : 3 * i + 3])
    chex.assert_trees_all_equal(devices.gather(sharded), batch)


def test_an_eval_step_gives_each_image_s_value_in_order():
    step = devices.compile_eval_step(
        lambda variables, batch: variables["scale"] * jnp.mean(batch["image"], axis=(1, 2, 3))
    )
    images = tiny.images(16)
    values = devices.gather(
        step(devices.replicate({"scale": jnp.float32(2)}), devices.shard({"image": images}))
    )
    np.testing.assert_allclose(values, 2 * images.mean(axis=(1, 2, 3)), rtol=1e-5)
