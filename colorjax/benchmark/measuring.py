"""Seconds, CPU seconds, memory, and random images."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import psutil


def seconds(function: Callable[[], Any]) -> float:
    """Time of a call, until the arrays that it returns are computed."""
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def peak_mib() -> float:
    """Peak memory of this process. getrusage's would start at that of the parent process."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def family_cpu_seconds() -> float:
    """User and system time of this process and its descendants."""
    return sum(sum(process.cpu_times()[:2]) for process in _family())


def _family() -> list[psutil.Process]:
    this = psutil.Process()
    return [this, *this.children(recursive=True)]


def random_images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)
