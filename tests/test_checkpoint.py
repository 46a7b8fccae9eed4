"""Checkpoints: what is saved comes back, and what does not fit is named."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from colorjax import parallel
from colorjax.checkpoint import Checkpoints, check_like, restore_generator
from colorjax.errors import InputError
from colorjax.state import create_train_state, net_state

POSITION = {"next_index": 17, "nested": {"list": [1, 2], "text": "Zürich"}}


def _variables(seed, features=3):
    rng = np.random.default_rng(seed)
    return {
        "params": {
            "conv": {"kernel": jnp.asarray(rng.normal(size=(2, features)), jnp.float32)},
            "out": {"bias": jnp.asarray(rng.normal(size=features), jnp.float32)},
        },
        "batch_stats": {"bn": {"mean": jnp.asarray(rng.normal(size=features), jnp.float32)}},
    }


def _state(seed, discriminator=True):
    """A state of which no two leaves are equal, as after some updates."""
    optimizer = optax.adamw(1e-3)
    d_net = net_state(_variables(seed + 1), optimizer) if discriminator else None
    state = create_train_state(jax.random.key(seed), net_state(_variables(seed), optimizer), d_net)
    rng = np.random.default_rng(seed)
    # As if updated: moments and averages that differ from the initial ones.
    state = jax.tree.map(lambda x: (x + rng.integers(1, 9)).astype(x.dtype), state)
    return parallel.replicate(state)


def _assert_equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("discriminator", [False, True])
def test_state_and_position_come_back_as_they_were_saved_on_all_devices(tmp_path, discriminator):
    state = _state(1, discriminator)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.latest_step is None
        checkpoints.save(7, state, POSITION)
    like = _state(2, discriminator)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.latest_step == 7
        _, restored, position = checkpoints.restore(like)
    _assert_equal(restored, state)
    assert position == POSITION
    for x in jax.tree.leaves(restored):
        assert len(x.sharding.device_set) == jax.local_device_count()


def test_the_state_may_be_donated_once_save_returns(tmp_path):
    state = _state(1)
    expected = jax.device_get(state)
    overwrite = jax.jit(lambda x: jax.tree.map(jnp.zeros_like, x), donate_argnums=0)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(1, state, POSITION)
        jax.block_until_ready(overwrite(state))
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        _assert_equal(checkpoints.restore(_state(2))[1], expected)


def test_the_newest_checkpoints_are_kept_and_the_newest_is_restored(tmp_path):
    with Checkpoints(tmp_path / "checkpoints", max_to_keep=2) as checkpoints:
        for step in (2, 4, 10):
            checkpoints.save(step, _state(step), {"step": step})
        assert checkpoints.latest_step == 10
    names = sorted(folder.name for folder in (tmp_path / "checkpoints").iterdir())
    assert names == ["10", "4"]
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        _, restored, position = checkpoints.restore(_state(0))
    _assert_equal(restored, _state(10))
    assert position == {"step": 10}


def test_saving_a_step_again_changes_nothing(tmp_path):
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(3, _state(3), POSITION)
        checkpoints.save(3, _state(4), {})
        _, restored, position = checkpoints.restore(_state(0))
    _assert_equal(restored, _state(3))
    assert position == POSITION


def test_a_checkpoint_that_a_killed_run_wrote_half_of_is_not_taken_for_one(tmp_path):
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(3, _state(3), POSITION)
    half = tmp_path / "checkpoints" / "6.orbax-checkpoint-tmp"
    (half / "state").mkdir(parents=True)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.latest_step == 3
        _assert_equal(checkpoints.restore(_state(0))[1], _state(3))
        checkpoints.save(6, _state(6), POSITION)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.latest_step == 6


@pytest.mark.parametrize("discriminator", [False, True])
def test_the_generator_of_another_run_is_its_averages(tmp_path, discriminator):
    state = _state(1, discriminator)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, _state(step, discriminator), POSITION)
    restored = restore_generator(tmp_path, _variables(9))
    _assert_equal(restored, jax.device_get(_state(2, discriminator).ema))
    assert not np.array_equal(
        restored["params"]["out"]["bias"], state.generator.params["out"]["bias"]
    )


def test_a_generator_of_another_shape_is_refused_with_both_shapes(tmp_path):
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(5, _state(1), POSITION)
    with pytest.raises(InputError) as error:
        restore_generator(tmp_path, _variables(0, features=4))
    assert f"{tmp_path}, step 5: conv/kernel has shape (2, 3), this model wants (2, 4)" in str(
        error.value
    )


def test_a_folder_without_a_checkpoint_is_refused_and_left_as_it_was(tmp_path):
    with pytest.raises(InputError, match="is no run"):
        restore_generator(tmp_path, _variables(0))
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(InputError, match="no checkpoint yet"):
        restore_generator(tmp_path, _variables(0))
    assert list(tmp_path.rglob("*")) == [tmp_path / "checkpoints"]


def test_the_first_parameter_that_differs_is_named():
    tree = {"a": np.zeros(2), "b": {"c": np.zeros((3, 1)), "d": np.zeros(())}}
    check_like(tree, tree, "here")
    for other, message in [
        ({**tree, "a": np.zeros(5)}, r"here: a has shape \(5,\), this model wants \(2,\)"),
        ({**tree, "a": np.zeros(5), "b": {}}, r"here: a has shape \(5,\)"),
        (
            {**tree, "b": {**tree["b"], "c": np.zeros((1, 3))}},
            r"b/c has shape \(1, 3\), this model wants \(3, 1\)",
        ),
        ({**tree, "b": {"c": tree["b"]["c"]}}, r"b/d has shape none \(it is missing\).*\(\)"),
        ({**tree, "z": np.zeros(1)}, r"z has shape \(1,\), this model wants no such parameter"),
    ]:
        with pytest.raises(InputError, match=message):
            check_like(other, tree, "here")
