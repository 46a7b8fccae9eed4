"""Several processes on this machine, over loopback: the same results, and the same end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import support

# Generous: a machine may be loaded.
LIMIT = 300
LAYOUTS = {"1x4": (1, 4), "2x2": (2, 2), "4x1": (4, 1), "1x1": (1, 1)}


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
                    subprocess.Popen(command, env=environment(devices, **more), stdout=out, stderr=e)
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


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The arrays of many_processes.py by layout. Each finds the checkpoints of those before it."""
    folder = tmp_path_factory.mktemp("layouts")
    script = str(support.ROOT / "tests" / "many_processes.py")
    arrays = {}
    for name, (count, devices) in LAYOUTS.items():
        address = f"127.0.0.1:{free_port()}"
        commands = [
            [sys.executable, script, str(folder), name, address, str(count), str(index)]
            for index in range(count)
        ]
        with Processes(commands, tmp_path_factory.mktemp(name), devices) as processes:
            statuses = processes.statuses()
            assert statuses == [0] * count, processes.err(0)[-3000:]
        with np.load(folder / f"{name}.npz") as file:
            arrays[name] = dict(file)
    return arrays


def part(arrays, key):
    return {name.removeprefix(f"{key}/"): x for name, x in arrays.items() if name.startswith(key)}


@pytest.mark.parametrize("layout", ["2x2", "4x1", "1x1"])
@pytest.mark.parametrize(("key", "atol"), [("one", 1e-5), ("fifty", 1e-9)])
def test_processes_and_devices_change_nothing(results, layout, key, atol):
    """One step in float32, fifty in float64: parameters, moments, statistics and averages."""
    expected, found = (part(results[name], key) for name in ("1x4", layout))
    assert expected.keys() == found.keys()
    assert len(expected) > 20
    for name, x in expected.items():
        np.testing.assert_allclose(found[name], x, rtol=0, atol=atol, err_msg=name)
