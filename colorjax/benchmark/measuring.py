"""Seconds, memory, and random images."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np


def seconds(function: Callable[[], Any]) -> float:
    """How long a call takes until what it returns is there."""
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def resident_mib() -> float:
    """The most memory that this process has had; not getrusage's, which starts at its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def random_images(*shape: int) -> np.ndarray:
    """uint8."""
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)
