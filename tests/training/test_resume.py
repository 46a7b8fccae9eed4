"""A run that is stopped and resumed equals an uninterrupted one, bit for bit."""

import contextlib
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
from waiting import wait

from colorjax.parallel import devices, stopping
from colorjax.runs.workdir import read_rows
from colorjax.terminal.errors import InputError
from colorjax.training.setup import TrainingPlan, resumed_plan


@pytest.fixture(autouse=True)
def _forget_compiled():
    """After each test, not after the module as elsewhere: each test compiles entire runs."""
    yield
    jax.clear_caches()


def _config(name, **overrides):
    if name == "small_gan":
        return support.small_gan(**overrides)
    return support.tiny_config(name, **overrides)


def _assert_same_run(config, workdir, straight):
    state, resume_point = support.restored(config, workdir)
    expected, expected_point = support.restored(config, straight)
    assert int(state.step) == support.NUM_STEPS
    assert state.generator.opt_state is not None
    chex.assert_trees_all_equal(jax.device_get(state), jax.device_get(expected))
    assert resume_point == expected_point
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
        pytest.param("small_gan", 3, marks=pytest.mark.slow),
        pytest.param("small_gan", 4, marks=pytest.mark.slow),
    ],
)
def test_a_run_resumed_from_a_checkpoint_equals_an_uninterrupted_one(tmp_path, name, step):
    straight = support.trained(name)
    workdir = support.copy_until(straight, step, tmp_path / "run")
    support.train(_config(name), workdir)
    _assert_same_run(_config(name), workdir, straight)


def _count_steps(monkeypatch, stop_at=math.inf):
    """Records the steps that are run; raises KeyboardInterrupt in place of step `stop_at`."""
    taken = []
    step_at = TrainingPlan.step_at

    def counted(run, step):
        if step == stop_at:
            raise KeyboardInterrupt
        taken.append(step)
        return step_at(run, step)

    monkeypatch.setattr(TrainingPlan, "step_at", counted)
    return taken


@pytest.mark.parametrize(
    ("name", "stop_at"), [("cnn", 3), pytest.param("small_gan", 5, marks=pytest.mark.slow)]
)
def test_an_interrupted_run_resumes_from_its_newest_checkpoint(
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


@pytest.mark.parametrize("name", ["cnn", "small_gan"])
def test_a_finished_run_is_not_trained_again_but_its_report_is_written(tmp_path, monkeypatch, name):
    straight = support.trained(name)
    shutil.copytree(straight, workdir := tmp_path / "run")
    shutil.rmtree(workdir / "report")
    taken = _count_steps(monkeypatch)
    support.train(_config(name), workdir)
    assert taken == []
    assert support.rows(workdir) == support.rows(straight)
    _assert_same_run(_config(name), workdir, straight)


@pytest.mark.slow
def test_a_run_may_be_lengthened(tmp_path, monkeypatch):
    shutil.copytree(support.trained("cnn"), workdir := tmp_path / "run")
    taken = _count_steps(monkeypatch)
    support.train(_config("cnn", num_steps=8, log_every=1, checkpoint_every=1), workdir)
    assert taken == [6, 7]
    assert support.checkpoint_steps(workdir) == [2, 4, 6, 7, 8]
    assert json.loads((workdir / "config.json").read_text())["num_steps"] == 8
    report = json.loads((workdir / "report" / "results.json").read_text())
    assert report["about"]["runs"] == "encoder_decoder (step 8)"


def test_a_run_may_be_shortened_to_less_than_it_has_done(tmp_path, monkeypatch):
    """The report is of the newest checkpoint, which was not validated before."""
    workdir = support.copy_until(support.trained("cnn"), 4, tmp_path / "run")
    taken = _count_steps(monkeypatch)
    results = support.train(_config("cnn", num_steps=2), workdir)
    assert taken == []
    report = json.loads((workdir / "report" / "results.json").read_text())
    assert report["about"]["runs"] == "encoder_decoder (step 4)"
    third = next(row for row in support.rows(workdir) if row["split"] == "validation")
    assert third["step"] == 3
    assert results["encoder_decoder"]["mse"] != third["mse"]


@pytest.mark.parametrize("begun", [3, 20])
def test_the_plan_of_a_gan_that_is_shortened_to_less_than_it_has_done(begun):
    plan = resumed_plan(_config("small_gan", num_steps=5), 20, begun)
    assert plan.adversarial_from == begun


@pytest.mark.slow
@pytest.mark.parametrize(("step", "pretrain_steps", "begins"), [(2, 1, 2), (4, 1, 3)])
def test_the_pretraining_of_a_gan_may_be_shortened_on_resume(
    tmp_path, step, pretrain_steps, begins
):
    """Its adversarial phase begins at once, unless it has begun already."""
    workdir = support.copy_until(support.trained("small_gan"), step, tmp_path / "run")
    config = _config("small_gan", generator_pretrain_steps=pretrain_steps)
    results = support.train(config, workdir)
    assert math.isfinite(results["gan before its adversarial phase"]["mse"])
    rows = support.rows(workdir)
    assert begins in [row["step"] for row in rows if row["split"] == "validation"]
    adversarial = [row["step"] for row in rows if "adversarial_loss" in row]
    assert adversarial == list(range(begins + 1, support.NUM_STEPS + 1))


def test_a_gan_that_is_prolonged_trains_its_discriminator_to_the_end(tmp_path):
    """Its learning rate falls over the whole phase, also where the config would begin it later."""
    finished = support.trained("small_gan")
    shutil.copytree(finished, workdir := tmp_path / "run")
    config = _config("small_gan", num_steps=9, generator_pretrain_steps=6)
    support.train(config, workdir)
    (before, _), (after, _) = (support.restored(config, run) for run in (finished, workdir))
    assert int(after.step) == 9
    changed = jax.tree.map(
        lambda x, y: (x != y).any(), before.discriminator.params, after.discriminator.params
    )
    assert jax.tree.all(changed)


def test_a_gan_interrupted_before_its_first_checkpoint_starts_from_the_regression_again(
    tmp_path, monkeypatch
):
    """Not from random parameters, although the checkpoints folder exists."""
    config = _config("small_gan", init_from=str(support.trained("cnn")))
    with monkeypatch.context() as patch:
        _count_steps(patch, stop_at=0)
        with pytest.raises(KeyboardInterrupt):
            support.train(config, tmp_path / "run")
    states = []

    def stop(run, step):
        raise KeyboardInterrupt

    def replicate(state, replicate=devices.replicate):
        states.append(state)
        return replicate(state)

    monkeypatch.setattr(TrainingPlan, "step_at", stop)
    monkeypatch.setattr(devices, "replicate", replicate)
    with pytest.raises(KeyboardInterrupt):
        support.train(config, tmp_path / "run")
    monkeypatch.undo()
    regression, _ = support.restored(_config("cnn"), support.trained("cnn"))
    chex.assert_trees_all_equal(states[0].generator.params, regression.ema["params"])


def test_a_workdir_trained_on_other_images_is_refused_and_images_may_move(tmp_path):
    workdir = support.copy_until(support.trained("cnn"), 6, tmp_path / "run")
    shutil.copytree(support.faces(), moved := tmp_path / "moved")
    assert support.train(_config("cnn", dataset__path=str(moved)), workdir)
    (moved / "person 0" / "0.png").unlink()
    with pytest.raises(InputError, match=r"another run: data \(image_folder/\w+.* there, image_f"):
        support.train(_config("cnn", dataset__path=str(moved)), workdir)


# Forks a process for each command line, so that imports are done once.
SERVER = """
import json, os, runpy, sys
import orbax.checkpoint, tensorflow_datasets
import colorjax.training.train, colorjax.data.image_folder.builder
for line in sys.stdin:
    child = os.fork()
    if not child:
        sys.argv = ["main.py", *json.loads(line)]
        status = 1
        try:
            runpy.run_module("colorjax.main", run_name="__main__", alter_sys=True)
        except SystemExit as error:
            status = error.code
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status or 0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@contextlib.contextmanager
def _runs(folder):
    """Gives a function that starts a run and returns its pid, and one that waits for its status."""
    with (
        (folder / "err").open("w") as err,
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", SERVER],
            env=support.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
        ) as server,
    ):

        def start(arguments):
            server.stdin.write(json.dumps(arguments) + "\n")
            server.stdin.flush()
            return int(_own(server.stdout))

        yield start, lambda: int(_own(server.stdout))
        server.stdin.close()


def _own(lines):
    """The next line of the server, whose children write to the same pipe."""
    return next(line for line in lines if line.strip().lstrip("-").isdigit())


def _last_step(workdir):
    """Of metrics.jsonl, whose last line may be incomplete."""
    return read_rows(workdir / "metrics.jsonl")[-1]["step"]


@pytest.mark.parametrize("kills", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_a_run_killed_and_stopped_at_any_moment_ends_with_the_same_parameters(tmp_path, kills):
    """SIGKILL several times, each after a checkpoint; then SIGTERM, long before the next one."""
    steps = {"num_steps": 10 * kills + 60, "eval_every": 50, "checkpoint_every": 1, "log_every": 1}
    config = _config("cnn", **steps)
    straight, workdir = tmp_path / "straight", tmp_path / "killed"
    support.train(config, straight)
    arguments = [f"--workdir={workdir}", *support.flags("cnn", **steps)]
    moments = random.Random(kills)
    with _runs(tmp_path) as (start, status):
        for _ in range(kills):
            before = _newest(workdir)
            process = start(arguments)
            wait(lambda before=before: _newest(workdir) > before, 240)
            time.sleep(moments.uniform(0, 0.15))
            os.kill(process, signal.SIGKILL)
            assert status() == -signal.SIGKILL, (tmp_path / "err").read_text()
        # The killed run may have written lines that this one drops.
        before = max(_newest(workdir), _last_step(workdir))
        flags = ["--config.checkpoint_every=1000", "--stopped_status=75"]
        process = start([*arguments, *flags])
        wait(lambda: _last_step(workdir) > before, 240)
        os.kill(process, signal.SIGTERM)
        assert status() == 75, (tmp_path / "err").read_text()
        assert before < _newest(workdir) == support.rows(workdir)[-1]["step"]
        start(arguments)
        assert status() == 0, (tmp_path / "err").read_text()
    lines = (tmp_path / "err").read_text().splitlines()
    assert [line for line in lines if line.startswith("colorjax:")] == [
        "colorjax: stopped by SIGTERM; the same command resumes from the newest checkpoint"
    ]
    _assert_same_end(config, workdir, straight)


def _assert_same_end(config, workdir, straight):
    states = [jax.device_get(support.restored(config, folder)) for folder in (straight, workdir)]
    chex.assert_trees_all_equal(*(state for state, _ in states))
    assert states[0][1] == states[1][1]
    assert int(states[0][0].step) == config.num_steps
    assert support.rows_but_rate(workdir) == support.rows_but_rate(straight)


@pytest.mark.slow
def test_a_run_stopped_during_validation_validates_when_it_resumes(tmp_path, monkeypatch):
    each = stopping.Stopping.each

    def stop_at_once(self, items):
        self._asked = True
        return each(self, items)

    workdir, config = tmp_path / "run", _config("cnn")
    with monkeypatch.context() as patch:
        patch.setattr(stopping.Stopping, "each", stop_at_once)
        with pytest.raises(stopping.StopRequested):
            support.train(config, workdir)
    assert support.checkpoint_steps(workdir) == [2, 3]
    assert [row["step"] for row in support.rows(workdir)] == [2, 3]
    support.train(config, workdir)
    _assert_same_run(config, workdir, support.trained("cnn"))


def _newest(workdir):
    names = os.listdir(workdir / "checkpoints") if (workdir / "checkpoints").is_dir() else []
    return max((int(name) for name in names if name.isdigit()), default=0)
