"""Several processes on this machine, over loopback: equal results, and how they end."""

import functools
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import support
from waiting import free_port

# Seconds; generous, since the machine may be busy.
LIMIT = 300
# Processes, and devices of each. Each layout resumes from the checkpoints of those before it.
LAYOUTS = {"1x4": (1, 4), "2x2": (2, 2), "4x1": (4, 1), "1x1": (1, 1), "1x4 again": (1, 4)}


def environment(devices: int, **more: str) -> dict[str, str]:
    return {
        **support.environment(),
        "PYTHONPATH": f"{support.ROOT}{os.pathsep}{support.ROOT / 'tests'}",
        "JAX_NUM_CPU_DEVICES": str(devices),
        **more,
    }


class Processes:
    """Commands that run at the same time. At the end those that still run are killed."""

    def __init__(self, commands, folder, devices=1, **more):
        self.folder = folder
        self.running = []
        for index, command in enumerate(commands):
            with (folder / f"out{index}").open("w") as out, (folder / f"err{index}").open("w") as e:
                self.running.append(
                    subprocess.Popen(
                        command, env=environment(devices, **more), stdout=out, stderr=e
                    )
                )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for process in self.running:
            process.kill()
            process.wait()

    def statuses(self):
        return [process.wait(LIMIT) for process in self.running]

    def out(self, index):
        return (self.folder / f"out{index}").read_text()

    def err(self, index):
        return (self.folder / f"err{index}").read_text()

    def wait_until(self, condition):
        limit = time.monotonic() + LIMIT
        while not condition():
            if time.monotonic() > limit or any(p.poll() is not None for p in self.running):
                pytest.fail("\n".join(self.err(i)[-2000:] for i in range(len(self.running))))
            time.sleep(0.02)


@functools.cache
def result(layout):
    """The arrays that many_processes.py computes, given the checkpoints of earlier layouts."""
    folder = support.session_folder() / "layouts"
    (folder / "of processes" / layout).mkdir(parents=True)
    (folder / "checkpoints").mkdir(exist_ok=True)
    script, address = str(support.ROOT / "tests/many_processes.py"), f"127.0.0.1:{free_port()}"
    count, devices = LAYOUTS[layout]
    commands = [
        [sys.executable, script, str(folder / "checkpoints"), layout, address, str(count), str(i)]
        for i in range(count)
    ]
    with Processes(commands, folder / "of processes" / layout, devices) as processes:
        assert processes.statuses() == [0] * count, processes.err(0)[-3000:]
    with np.load(folder / "checkpoints" / f"{layout}.npz") as file:
        return dict(file)


def part(arrays, key):
    start = f"{key}/"
    return {name.removeprefix(start): x for name, x in arrays.items() if name.startswith(start)}


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["2x2", "4x1", "1x1", "1x4 again"])
def test_processes_and_devices_change_nothing(layout):
    """One step in float32, and fifty in float64: parameters, moments, statistics and averages.

    The second half of the fifty is also computed from the checkpoint of every earlier layout.
    """
    expected, found = result("1x4"), result(layout)
    sources = list(LAYOUTS)[: list(LAYOUTS).index(layout) + 1]
    compared = 0
    for of, key, atol in (
        ("one", "one", 1e-5),
        ("fifty", "fifty", 1e-9),
        *(("fifty", f"from {source}", 1e-9) for source in sources),
    ):
        wanted, got = part(expected, of), part(found, key)
        assert wanted.keys() == got.keys()
        for name, x in wanted.items():
            np.testing.assert_allclose(got[name], x, rtol=0, atol=atol, err_msg=f"{key} {name}")
            compared += 1
    assert compared > 20 * (2 + len(sources))


MAIN = ["-m", "colorjax.main"]
# With a shorter timeout than users have.
IMPATIENT = """
import sys
from colorjax.main import train
from colorjax.parallel import processes
from colorjax.terminal.errors import exit_status

processes.START_TIMEOUT = 12
sys.exit(exit_status(train))
"""
ENDLESS = {"num_steps": 100_000, "checkpoint_every": 1000, "eval_every": 1000, "log_every": 1}


def commands(workdirs, program=MAIN, **overrides):
    """One for each workdir."""
    address = f"127.0.0.1:{free_port()}"
    return [
        [
            *(sys.executable, *program, f"--coordinator={address}", f"--workdir={workdir}"),
            *(f"--num_processes={len(workdirs)}", f"--process_id={index}"),
            *support.flags("cnn", **overrides),
        ]
        for index, workdir in enumerate(workdirs)
    ]


def lines(workdir):
    path = workdir / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def said(text):
    return [line for line in text.splitlines() if line.startswith("colorjax:")]


@pytest.mark.slow
def test_two_processes_stop_together_resume_and_end_when_one_is_killed(tmp_path):
    """Only the first one writes. SIGTERM to either of them stops both."""
    own, others = tmp_path / "own", tmp_path / "others"
    with Processes(commands((own, others), **ENDLESS), tmp_path, devices=4) as processes:
        processes.wait_until(lambda: lines(own) > 2)
        processes.running[1].send_signal(signal.SIGTERM)
        assert processes.statuses() == [0, 0], processes.err(0)
        first, second = processes.out(0), processes.out(1)
        for index, out in enumerate((first, second)):
            assert f"colorjax: process {index} of 2, coordinator 127.0.0.1:" in out
            assert "4 of 8 devices (cpu)" in out
        assert "images/s" in first
        assert "images/s" not in second
        assert "stopped by SIGTERM; the same command resumes" in processes.err(0)
    assert not others.exists()
    saved = support.rows(own)[-1]["step"]
    assert support.checkpoint_steps(own) == [saved]
    with Processes(commands((own, others), **ENDLESS), tmp_path, devices=4) as processes:
        processes.wait_until(lambda: lines(own) > saved + 2)
        processes.running[1].kill()
        killed = time.monotonic()
        assert processes.running[0].wait(LIMIT) == 1
        assert time.monotonic() - killed < 120
        (line,) = said(processes.err(0))
    assert support.rows(own)[-1]["step"] > saved
    assert "process 0 of 2 lost another process" in line or "a process was lost or failed" in line
    assert line.endswith("the same command resumes from the newest checkpoint")


def test_a_process_that_waits_in_vain_for_the_others_says_so(tmp_path):
    """One without the coordinator, one without the other process; without a stack trace."""
    workdirs = (tmp_path / "run", tmp_path / "run")
    alone = [commands(workdirs, ["-c", IMPATIENT])[index] for index in (0, 1)]
    with Processes(alone, tmp_path) as processes:
        assert processes.statuses() == [1, 1]
        for index in range(2):
            (line,) = said(processes.err(index))
            assert "not all processes joined the coordinator 127.0.0.1:" in line
            assert f"within 12 s (this is process {index} of 2)" in line
            assert "stack trace" not in processes.err(index)
    assert not (tmp_path / "run").exists()


def test_wrong_input_in_the_first_process_ends_all_with_status_two(tmp_path):
    """Only the first one looks at the workdir."""
    (tmp_path / "file").write_text("")
    workdirs = (tmp_path / "file", tmp_path / "other")
    with Processes(commands(workdirs), tmp_path, devices=4) as processes:
        assert processes.statuses() == [2, 2], processes.err(0)
        for index in range(2):
            (line,) = said(processes.err(index))
            assert "cannot write to" in line


# Instead of Slurm's: starts the command in two tasks with the environment that Slurm sets.
SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift; done
for task in 0 1; do
    SLURM_PROCID=$task SLURM_LOCALID=$task SLURM_STEP_NODELIST=localhost SLURM_NTASKS=2 \\
        SLURM_STEP_NUM_NODES=1 "$@" &
done
wait -n && wait -n
"""


@pytest.mark.slow
def test_the_slurm_script_trains_in_two_processes(tmp_path):
    checkout, bin = tmp_path / "checkout", tmp_path / "bin"
    (checkout / ".venv" / "bin").mkdir(parents=True)
    bin.mkdir()
    (bin / "srun").write_text(SRUN)
    (bin / "srun").chmod(0o755)
    python = checkout / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    script = support.ROOT / "launch" / "slurm.sbatch"
    done = subprocess.run(
        ["bash", str(script), *support.flags("cnn", num_steps=2)],
        cwd=checkout,
        env=environment(
            4,
            PATH=f"{bin}:{os.environ['PATH']}",
            WORKDIR=str(tmp_path / "run"),
            SLURM_JOB_ID=str(free_port()),  # from which JAX derives the coordinator's port
            SLURM_CPUS_PER_TASK="1",
        ),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "colorjax: process 1 of 2, coordinator found by JAX, 4 of 8 devices" in done.stdout
    assert support.checkpoint_steps(tmp_path / "run") == [2]
    assert json.loads((tmp_path / "run" / "report" / "results.json").read_text())["results"]
