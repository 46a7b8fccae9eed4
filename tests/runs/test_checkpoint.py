"""Checkpoints: what is saved is restored, and a corrupt one is noticed."""

import resource
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import support

from colorjax.parallel import devices
from colorjax.runs.checkpoint import Checkpoints, restore_generator
from colorjax.terminal.errors import InputError
from colorjax.training.state import create_train_state, net_state

RESUME_POINT = {"next_index": 17, "nested": {"list": [1, 2], "text": "Zürich"}}


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
    """A state with moments and averages that differ from the initial ones."""
    optimizer = optax.adamw(1e-3)
    d_net = net_state(_variables(seed + 1), optimizer) if discriminator else None
    state = create_train_state(jax.random.key(seed), net_state(_variables(seed), optimizer), d_net)
    rng = np.random.default_rng(seed)
    state = jax.tree.map(lambda x: (x + rng.integers(1, 9)).astype(x.dtype), state)
    return devices.replicate(state)


def _assert_equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("discriminator", [False, True])
def test_state_and_resume_point_are_restored_on_all_devices(tmp_path, discriminator):
    state = _state(1, discriminator)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.latest_step is None
        checkpoints.save(7, state, RESUME_POINT)
    like = _state(2, discriminator)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.latest_step == 7
        _, restored, resume_point = checkpoints.restore(like)
    _assert_equal(restored, state)
    assert resume_point == RESUME_POINT
    for x in jax.tree.leaves(restored):
        assert len(x.sharding.device_set) == jax.local_device_count()


def test_the_state_may_be_donated_once_save_returns(tmp_path):
    state = _state(1)
    expected = jax.device_get(state)
    overwrite = jax.jit(lambda x: jax.tree.map(jnp.zeros_like, x), donate_argnums=0)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(1, state, RESUME_POINT)
        jax.block_until_ready(overwrite(state))
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        _assert_equal(checkpoints.restore(_state(2))[1], expected)


def test_the_newest_checkpoints_are_kept_and_the_newest_is_restored(tmp_path):
    with Checkpoints(tmp_path, max_to_keep=2) as checkpoints:
        for step in (2, 4, 10):
            checkpoints.save(step, _state(step), {"step": step})
        checkpoints.save(10, _state(3), {})  # a step is saved once
        assert checkpoints.latest_step == 10
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["10", "4"]
    assert _restored(tmp_path) == (10, [])


def test_a_partial_checkpoint_of_a_killed_run_is_ignored(tmp_path):
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(3, _state(3), RESUME_POINT)
    half = tmp_path / "checkpoints" / "6.part"
    (half / "state").mkdir(parents=True)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.latest_step == 3
        _assert_equal(checkpoints.restore(_state(0))[1], _state(3))
        checkpoints.save(6, _state(6), RESUME_POINT)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.latest_step == 6


def _two_checkpoints(folder):
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(3, _state(3), {"step": 3})
        checkpoints.save(6, _state(6), {"step": 6})
    return [path for path in sorted((folder / "6").rglob("*")) if path.is_file()]


def _restored(folder):
    notes = []
    with Checkpoints(folder, note=notes.append) as checkpoints:
        step, state, resume_point = checkpoints.restore(_state(0))
    _assert_equal(state, _state(step))
    assert resume_point == {"step": step}
    return step, notes


def _flip(path, rng):
    data = bytearray(path.read_bytes())
    data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    path.write_bytes(data)


def _truncate(path, rng):
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _remove(path, rng):
    path.unlink()


def test_the_checkpoint_before_a_corrupt_one_is_restored_whichever_file_is_corrupt(tmp_path, capfd):
    """Orbax alone would restore wrong numbers from some files and log pages about others."""
    files = _two_checkpoints(tmp_path / "intact")
    assert len(files) > 8
    rng = np.random.default_rng(0)
    for number, file in enumerate(files):
        name = file.relative_to(tmp_path / "intact")
        for corrupt in (_flip, (_truncate, _remove)[number % 2]):
            shutil.copytree(tmp_path / "intact", folder := tmp_path / f"{number}{corrupt.__name__}")
            corrupt(folder / name, rng)
            step, (note,) = _restored(folder)
            assert step == 3
            assert note.startswith("The checkpoint of step 6 is corrupt (")
            assert "\n" not in note
            assert name.name in note or name.name == "sha256.json"
            # The step can be saved again, and the corrupt files are not lost.
            assert not (folder / "6").exists()
            assert (folder / "6.corrupt").is_dir()
    assert capfd.readouterr() == ("", "")


def test_a_checkpoint_without_sums_is_corrupt(tmp_path):
    _two_checkpoints(tmp_path)
    (tmp_path / "6" / "sha256.json").unlink()
    step, (note,) = _restored(tmp_path)
    assert step == 3
    assert "sha256.json" in note


def test_a_run_with_nothing_but_corrupt_checkpoints_is_refused(tmp_path):
    for file in [*_two_checkpoints(tmp_path), tmp_path / "3" / "resume_point.json"]:
        file.write_bytes(b"")
    before = support.files(tmp_path)
    for _ in range(2):  # nor is it a new run the next time
        with (
            Checkpoints(tmp_path, note=lambda line: None) as checkpoints,
            pytest.raises(InputError, match=r"every checkpoint in .* is corrupt; choose another"),
        ):
            checkpoints.restore(_state(0))
    assert support.files(tmp_path) == before


# TensorStore calls back into the event loop that orbax has closed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_is_noted_and_the_checkpoint_before_stays(tmp_path):
    """A limit on the size of files stands for a full disk."""
    notes = []
    with Checkpoints(tmp_path, note=notes.append) as checkpoints:
        checkpoints.save(3, _state(3), {"step": 3})
        checkpoints.wait()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))
        try:
            checkpoints.save(6, _state(6), {"step": 6})
            checkpoints.wait()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        (note,) = notes
        assert note.startswith("Saving step 6 failed (")
        assert note.endswith("Training continues; step 3 is kept.")
        assert checkpoints.latest_step == 3
        # With room again, saving works.
        checkpoints.save(9, _state(9), {"step": 9})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "9"]
    assert _restored(tmp_path) == (9, [])


def test_the_best_checkpoint_is_kept_as_well_as_the_newest(tmp_path):
    metrics = {1: 3.0, 2: 1.0, 3: 2.0, 5: 1.5}  # step 4 has none

    def best(steps):
        return min((step for step in steps if step in metrics), key=metrics.get, default=None)

    left = []
    with Checkpoints(tmp_path, max_to_keep=1) as checkpoints:
        checkpoints.best = best
        for step in range(1, 6):
            checkpoints.save(step, _state(step), {"step": step})
            checkpoints.wait()
            left.append(sorted(int(path.name) for path in tmp_path.iterdir()))
    assert left == [[1], [2], [2, 3], [2, 4], [2, 5]]


def test_a_run_is_not_started_from_a_corrupt_checkpoint(tmp_path):
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(5, _state(1), RESUME_POINT)
    (tmp_path / "checkpoints" / "5" / "state" / "_METADATA").write_text("{}")
    with pytest.raises(InputError, match=r"checkpoints/5 is corrupt \(state/_METADATA differs\)"):
        restore_generator(tmp_path, _variables(0))


def test_the_generator_of_another_run_is_its_newest_average(tmp_path):
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        for step in (1, 3):
            checkpoints.save(step, _state(step), RESUME_POINT)
    restored = restore_generator(tmp_path, _variables(9))
    _assert_equal(restored, jax.device_get(_state(3).ema))
    assert not np.array_equal(
        restored["params"]["out"]["bias"], _state(3).generator.params["out"]["bias"]
    )


def test_a_generator_of_another_shape_is_refused_with_both_shapes(tmp_path):
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(5, _state(1), RESUME_POINT)
    with pytest.raises(InputError) as error:
        restore_generator(tmp_path, _variables(0, features=4))
    assert f"{tmp_path}, step 5: conv/kernel has shape (2, 3), this model needs (2, 4)" in str(
        error.value
    )
