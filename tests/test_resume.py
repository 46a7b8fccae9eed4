"""Stop-and-go equals straight through, bit for bit."""

import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import chex
import jax
import pytest
import support

from colorjax import parallel, train
from colorjax.errors import InputError


@pytest.fixture(autouse=True)
def _forget_compiled():
    """After each test, not after the module as elsewhere: each compiles whole runs of its own."""
    yield
    jax.clear_caches()


def _config(name, **overrides):
    if name == "small_gan":
        return support.small_gan(**overrides)
    return support.tiny_config(name, **overrides)


def _assert_same_run(config, workdir, straight):
    state, position = support.restored(config, workdir)
    expected, expected_position = support.restored(config, straight)
    assert int(state.step) == support.NUM_STEPS
    # All there is: params, batch_stats and opt_state of each network, averages, step, key.
    assert state.generator.opt_state is not None
    chex.assert_trees_all_equal(jax.device_get(state), jax.device_get(expected))
    assert position == expected_position
    assert support.rows_but_rate(workdir) == support.rows_but_rate(straight)
    results, expected_results = (
        json.loads((folder / "report" / "results.json").read_text())
        for folder in (workdir, straight)
    )
    assert results == expected_results
    for png in ("samples/0000003.png", "samples/0000006.png", "report/grid.png"):
        assert (workdir / png).read_bytes() == (straight / png).read_bytes()
    assert not list(workdir.rglob("*.part"))


# The adversarial phase of the tiny GAN begins after step 3.
@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("cnn", 2),
        pytest.param("cnn", 4, marks=pytest.mark.slow),
        ("small_gan", 2),
        ("small_gan", 3),
        ("small_gan", 4),
    ],
)
def test_a_run_that_goes_on_from_a_checkpoint_ends_as_one_straight_through(tmp_path, name, step):
    straight = support.trained(name)
    workdir = support.copy_until(straight, step, tmp_path / "run")
    support.train(_config(name), workdir)
    _assert_same_run(_config(name), workdir, straight)


def _count_steps(monkeypatch, stop_at=math.inf):
    """Counts the steps that are taken; raises KeyboardInterrupt instead of taking step `stop_at`.

    It comes while that step's batch is read, so that none of what follows the last step is done.
    """
    taken = []
    step_at = train.Run.step_at

    def counted(run, step):
        if step == stop_at:
            raise KeyboardInterrupt
        taken.append(step)
        return step_at(run, step)

    monkeypatch.setattr(train.Run, "step_at", counted)
    return taken


@pytest.mark.parametrize(
    ("name", "stop_at"), [("cnn", 3), pytest.param("small_gan", 5, marks=pytest.mark.slow)]
)
def test_an_interrupted_run_goes_on_from_its_newest_checkpoint(
    tmp_path, monkeypatch, name, stop_at
):
    workdir, config = tmp_path / "run", _config(name)
    with monkeypatch.context() as patch:
        _count_steps(patch, stop_at)
        with pytest.raises(KeyboardInterrupt):
            support.train(config, workdir)
    newest = {"cnn": 2, "small_gan": 5}[name]
    assert support.checkpoint_steps(workdir)[-1] == newest
    assert not (workdir / "report").exists()
    with monkeypatch.context() as patch:
        taken = _count_steps(patch)
        support.train(config, workdir)
    assert taken == list(range(newest, support.NUM_STEPS))
    _assert_same_run(config, workdir, support.trained(name))


def test_a_run_interrupted_before_its_first_checkpoint_starts_anew(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        _count_steps(patch, stop_at=1)
        with pytest.raises(KeyboardInterrupt):
            support.train(_config("cnn"), tmp_path / "run")
    support.train(_config("cnn"), tmp_path / "run")
    _assert_same_run(_config("cnn"), tmp_path / "run", support.trained("cnn"))


@pytest.mark.parametrize("name", ["cnn", "small_gan"])
def test_a_finished_run_is_not_trained_again_but_reported_again(tmp_path, monkeypatch, name):
    straight = support.trained(name)
    shutil.copytree(straight, workdir := tmp_path / "run")
    shutil.rmtree(workdir / "report")
    taken = _count_steps(monkeypatch)
    support.train(_config(name), workdir)
    assert taken == []
    assert support.rows(workdir) == support.rows(straight)
    _assert_same_run(_config(name), workdir, straight)


def test_lines_past_the_checkpoint_are_dropped_and_written_again(tmp_path):
    workdir = support.copy_until(support.trained("cnn"), 2, tmp_path / "run")
    lines = [json.dumps(row | {"loss": -1.0}) for row in support.rows(workdir) if row["step"] > 2]
    kept = [row for row in support.rows(workdir) if row["step"] <= 2]
    text = "".join(f"{line}\n" for line in [*map(json.dumps, kept), *lines]) + '{"step": 6, "spl'
    (workdir / "metrics.jsonl").write_text(text)
    support.train(_config("cnn"), workdir)
    rows = support.rows(workdir)
    assert rows[: len(kept)] == kept
    assert all(row.get("loss", 0) >= 0 for row in rows)
    assert support.rows_but_rate(workdir) == support.rows_but_rate(support.trained("cnn"))


@pytest.mark.slow
def test_a_run_may_be_lengthened(tmp_path, monkeypatch):
    shutil.copytree(support.trained("cnn"), workdir := tmp_path / "run")
    taken = _count_steps(monkeypatch)
    support.train(_config("cnn", num_steps=8, log_every=1, checkpoint_every=1), workdir)
    assert taken == [6, 7]
    assert support.checkpoint_steps(workdir) == [2, 4, 6, 7, 8]
    assert json.loads((workdir / "config.json").read_text())["num_steps"] == 8
    report = json.loads((workdir / "report" / "results.json").read_text())
    assert report["about"]["step"] == 8


def test_a_run_may_be_shortened_to_less_than_it_has_done(tmp_path, monkeypatch):
    """The report is of the newest checkpoint, whose step had no evaluation yet."""
    workdir = support.copy_until(support.trained("cnn"), 4, tmp_path / "run")
    taken = _count_steps(monkeypatch)
    results = support.train(_config("cnn", num_steps=2), workdir)
    assert taken == []
    report = json.loads((workdir / "report" / "results.json").read_text())
    assert report["about"]["step"] == 4
    third = next(row for row in support.rows(workdir) if row["split"] == "validation")
    assert third["step"] == 3
    assert results["encoder_decoder"]["mse"] != third["mse"]


def test_a_run_may_be_shortened_before_its_first_evaluation(tmp_path):
    workdir = support.copy_until(support.trained("cnn"), 2, tmp_path / "run")
    results = support.train(_config("cnn", num_steps=2), workdir)
    assert math.isfinite(results["encoder_decoder"]["mse"])


@pytest.mark.slow
@pytest.mark.parametrize(("step", "pretrain_steps", "begins"), [(2, 1, 2), (4, 1, 3)])
def test_the_pretraining_of_a_gan_may_be_cut_to_less_than_it_has_done(
    tmp_path, step, pretrain_steps, begins
):
    """Its adversarial phase begins at once, unless it has begun, and has a regression to beat."""
    workdir = support.copy_until(support.trained("small_gan"), step, tmp_path / "run")
    config = _config("small_gan", generator_pretrain_steps=pretrain_steps)
    results = support.train(config, workdir)
    assert math.isfinite(results[train.REGRESSION]["mse"])
    rows = support.rows(workdir)
    assert [row["step"] for row in rows if "regression" in row["split"]] == [begins, begins]
    adversarial = [row["step"] for row in rows if "adversarial_loss" in row]
    assert adversarial == list(range(begins + 1, support.NUM_STEPS + 1))


def test_a_gan_may_be_shortened_to_less_than_its_pretraining(tmp_path, monkeypatch):
    workdir = support.copy_until(support.trained("small_gan"), 2, tmp_path / "run")
    taken = _count_steps(monkeypatch)
    results = support.train(_config("small_gan", num_steps=2), workdir)
    assert taken == []
    assert math.isfinite(results["gan"]["mse"])
    assert (workdir / "report" / "results.md").exists()


def test_a_gan_interrupted_before_its_first_checkpoint_starts_from_the_regression_again(
    tmp_path, monkeypatch
):
    """Not from random parameters, although the folder of checkpoints is there."""
    config = _config("small_gan", init_from=str(support.trained("cnn")))
    with monkeypatch.context() as patch:
        _count_steps(patch, stop_at=0)
        with pytest.raises(KeyboardInterrupt):
            support.train(config, tmp_path / "run")
    states = []

    def stop(run, step):
        raise KeyboardInterrupt

    def replicate(state, replicate=parallel.replicate):
        states.append(state)
        return replicate(state)

    monkeypatch.setattr(train.Run, "step_at", stop)
    monkeypatch.setattr(parallel, "replicate", replicate)
    with pytest.raises(KeyboardInterrupt):
        support.train(config, tmp_path / "run")
    monkeypatch.undo()
    regression, _ = support.restored(_config("cnn"), support.trained("cnn"))
    chex.assert_trees_all_equal(states[0].generator.params, regression.ema["params"])


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"seed": 3}, r"seed \(0 there, 3 now\)"),
        ({"model__width": 1 / 8}, r"model\.width \(0\.0625 there, 0\.125 now\)"),
        ({"loss": "l2", "batch_size": 16}, r"batch_size \(8 there, 16 now\), loss \(l1"),
    ],
)
def test_a_workdir_of_another_run_is_refused_and_left_as_it_was(tmp_path, overrides, named):
    shutil.copytree(support.trained("cnn"), workdir := tmp_path / "run")
    before = support.files(workdir), (workdir / "config.json").read_bytes()
    with pytest.raises(InputError, match=f"holds another run: {named}"):
        support.train(_config("cnn", **overrides), workdir)
    assert (support.files(workdir), (workdir / "config.json").read_bytes()) == before


def test_a_workdir_trained_on_other_images_is_refused_and_images_may_move(tmp_path):
    workdir = support.copy_until(support.trained("cnn"), 6, tmp_path / "run")
    shutil.copytree(support.faces(), moved := tmp_path / "moved")
    assert support.train(_config("cnn", dataset__path=str(moved)), workdir)
    (moved / "person 0" / "0.png").unlink()
    with pytest.raises(InputError, match=r"another run: data \(image_folder/\w+.* there, image_f"):
        support.train(_config("cnn", dataset__path=str(moved)), workdir)


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_with_the_same_parameters(tmp_path):
    """A process that gets SIGKILL three times, each time later than the first checkpoint."""
    overrides = {"num_steps": 40, "eval_every": 10, "checkpoint_every": 1, "log_every": 1}
    straight = tmp_path / "straight"
    support.train(_config("cnn", **overrides), straight)
    workdir = tmp_path / "killed"
    command = [sys.executable, "-m", "colorjax.main", f"--workdir={workdir}"]
    command += support.flags("cnn", **overrides)
    seconds = random.Random(0)
    killed = 0
    for _ in range(3):
        before = _newest(workdir)
        with subprocess.Popen(
            command,
            env=support.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            limit = time.monotonic() + 240
            while process.poll() is None and _newest(workdir) <= before:
                if time.monotonic() > limit:
                    process.kill()
                    pytest.fail("no checkpoint in 4 minutes")
                time.sleep(0.01)
            time.sleep(seconds.uniform(0, 0.3))
            process.kill()
            errors = process.communicate()[1]
        assert process.returncode in (0, -signal.SIGKILL), errors
        killed += process.returncode == -signal.SIGKILL
    assert killed
    done = subprocess.run(
        command, env=support.environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    config = _config("cnn", **overrides)
    states = [jax.device_get(support.restored(config, folder)) for folder in (straight, workdir)]
    chex.assert_trees_all_equal(*(state for state, _ in states))
    assert states[0][1] == states[1][1]  # the positions
    assert support.rows_but_rate(workdir) == support.rows_but_rate(straight)


def _newest(workdir):
    names = os.listdir(workdir / "checkpoints") if (workdir / "checkpoints").is_dir() else []
    return max((int(name) for name in names if name.isdigit()), default=0)
