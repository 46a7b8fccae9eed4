"""The CPU cores that this process may use."""

import os


def num_cores() -> int:
    """How many; of a machine shared by a batch system or a container often not all it has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
