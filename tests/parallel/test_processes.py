"""Several processes on this machine, over loopback: the same results, and the same end."""

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import support

from colorjax.parallel import processes as parallel_processes

# Generous: a machine may be loaded.
LIMIT = 300
# Processes and devices of each; in this order, so that each goes on from those before it.
LAYOUTS = {"1x4": (1, 4), "2x2": (2, 2), "4x1": (4, 1), "1x1": (1, 1), "1x4 again": (1, 4)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(devices: int, **more: str) -> dict[str, str]:
    return {
        **support.environment(),
        "PYTHONPATH": f"{support.ROOT}{os.pathsep}{support.ROOT / 'tests'}",
        "JAX_NUM_CPU_DEVICES": str(devices),
        **more,
    }


class Processes:
    """Commands that run at once; those that are left are killed at the end."""

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
    """The arrays of many_processes.py. It finds the checkpoints of the layouts before it."""
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
    """One step in float32, fifty in float64: parameters, moments, statistics and averages.

    And the second half of the fifty, from the checkpoint of every layout before it.
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


def commands(count, workdirs, flags, **overrides):
    address = f"127.0.0.1:{free_port()}"
    return [
        [
            *(sys.executable, "-m", "colorjax.main", f"--coordinator={address}"),
            *(f"--num_processes={count}", f"--process_id={index}", f"--workdir={workdir}"),
            *flags,
            *support.flags("cnn", **overrides),
        ]
        for index, workdir in enumerate(workdirs)
    ]


ENDLESS = {"num_steps": 100_000, "checkpoint_every": 1000, "eval_every": 1000, "log_every": 1}


def lines(workdir):
    path = workdir / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.slow
def test_two_processes_are_stopped_go_on_and_lose_one(tmp_path):
    """The first alone writes; SIGTERM to either stops both; one that is killed ends the other."""
    own, others = tmp_path / "own", tmp_path / "others"
    with Processes(commands(2, (own, others), [], **ENDLESS), tmp_path, devices=4) as processes:
        processes.wait_until(lambda: lines(own) > 2)
        processes.running[1].send_signal(signal.SIGTERM)
        assert processes.statuses() == [0, 0], processes.err(0)
        first, second = processes.out(0), processes.out(1)
        for index, out in enumerate((first, second)):
            assert f"colorjax: process {index} of 2, coordinator 127.0.0.1:" in out
            assert "4 of 8 devices (cpu)" in out
        assert "images/s" in first
        assert "images/s" not in second
        assert "stopped by SIGTERM; the same command goes on" in processes.err(0)
    assert not others.exists()
    saved = support.rows(own)[-1]["step"]
    assert support.checkpoint_steps(own) == [saved]
    with Processes(commands(2, (own, others), [], **ENDLESS), tmp_path, devices=4) as processes:
        processes.wait_until(lambda: lines(own) > saved + 2)
        assert f"Going on from step {saved}" in processes.out(0)
        processes.running[1].kill()
        killed = time.monotonic()
        status = processes.running[0].wait(LIMIT)
        assert time.monotonic() - killed < 120
        assert status not in (0, None)
        line = processes.err(0).splitlines()[-1]
    assert line.startswith("colorjax: process 0 of 2 ")
    assert "lost another process" in line
    assert line.endswith("the same command goes on from the newest checkpoint")


@pytest.mark.slow
def test_a_process_whose_peers_do_not_come_says_so_within_a_minute(tmp_path):
    """One without the coordinator, one without another; no stack trace."""
    alone = [commands(2, (tmp_path / "run", tmp_path / "run"), [])[index] for index in (0, 1)]
    with Processes(alone, tmp_path) as processes:
        assert processes.statuses() == [1, 1]
    for index in range(2):
        (line,) = [x for x in processes.err(index).splitlines() if x.startswith("colorjax:")]
        assert "not all processes came to the coordinator 127.0.0.1:" in line
        assert f"within 45 s (this is process {index} of 2)" in line
        assert "stack trace" not in processes.err(index)
    assert parallel_processes.START_TIMEOUT == 45
    assert not (tmp_path / "run").exists()


def test_what_is_wrong_in_one_process_ends_all_with_status_two(tmp_path):
    """The first alone looks at the workdir."""
    (tmp_path / "file").write_text("")
    workdirs = (tmp_path / "file", tmp_path / "other")
    with Processes(commands(2, workdirs, []), tmp_path, devices=4) as processes:
        assert processes.statuses() == [2, 2], processes.err(0)
        for index in range(2):
            (line,) = [x for x in processes.err(index).splitlines() if x.startswith("colorjax:")]
            assert "cannot write to" in line


# Stands for Slurm's: starts the command in two tasks with the environment that Slurm sets.
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
            SLURM_JOB_ID=str(free_port()),  # of which JAX makes the coordinator's port
            SLURM_CPUS_PER_TASK="1",
        ),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "colorjax: process 1 of 2, coordinator localhost:" in done.stdout
    assert support.checkpoint_steps(tmp_path / "run") == [2]
    assert json.loads((tmp_path / "run" / "report" / "results.json").read_text())["results"]
