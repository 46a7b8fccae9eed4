"""Seconds, CPU seconds, memory, and random images."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np


def seconds(function: Callable[[], Any]) -> float:
    """Time of a call, until the arrays that it returns are computed."""
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def peak_mib() -> float:
    """Peak memory of this process. getrusage's would start at that of the parent process."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def family_mib() -> float:
    """Memory of this process and its descendants."""
    pages = sum(int((process / "statm").read_text().split()[1]) for process in _family())
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def family_cpu_seconds() -> float:
    """User and system time of this process and its descendants."""
    # The 12th and 13th fields after the name, which may contain anything.
    stats = ((process / "stat").read_text().rpartition(")")[2].split() for process in _family())
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")


def _family() -> Iterator[Path]:
    waiting = [os.getpid()]
    while waiting:
        process = Path(f"/proc/{waiting.pop()}")
        try:
            for task in (process / "task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except OSError:
            continue  # it has ended
        yield process


def random_images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)
