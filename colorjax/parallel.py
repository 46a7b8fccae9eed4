"""Everything that knows about devices: the axis, pmap, replication and sharding."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from colorjax.errors import InputError

AXIS = "batch"


def compile_train_step(step: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles `step(state, batch) -> (state, metrics)` for all devices.

    The state has no device axis: every device holds the whole, donated to the next. The batch has
    one, as `shard` gives it. `out_axes=None` does not check that the replicas agree: the step must
    reduce over `AXIS` what it computes from its part of the batch.
    """
    return jax.pmap(
        step, axis_name=AXIS, in_axes=(None, 0), out_axes=(None, None), donate_argnums=0
    )


def compile_eval_step(step: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles `step(variables, batch) -> per-image values`, which keep the device axis."""
    return jax.pmap(step, axis_name=AXIS, in_axes=(None, 0))


def replicate(tree: Any) -> Any:
    """Places a tree on every local device.

    A state that is not placed so before its first step makes the step be traced twice.
    """
    return jax.device_put(tree, replicated())


def replicated() -> NamedSharding:
    """The placement that `replicate` gives."""
    return NamedSharding(Mesh(np.array(jax.local_devices()), (AXIS,)), PartitionSpec())


def shard(batch: Any) -> Any:
    """Splits arrays [N, ...] of this process over its devices: [devices, N / devices, ...]."""
    devices = jax.local_devices()
    mesh = Mesh(np.array(devices), (AXIS,))
    return jax.tree.map(
        lambda x: jax.device_put(
            x.reshape(len(devices), -1, *x.shape[1:]), NamedSharding(mesh, PartitionSpec(AXIS))
        ),
        batch,
    )


def gather(tree: Any) -> Any:
    """Per-image values [devices, n, ...] of all processes, as numpy arrays [N, ...]."""
    if jax.process_count() > 1:
        tree = multihost_utils.process_allgather(tree, tiled=True)
    return jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), tree)


def process() -> dict[str, int]:
    """Which process of how many this is: process_index and process_count."""
    return {"process_index": jax.process_index(), "process_count": jax.process_count()}


def check_batch_size(batch_size: int) -> None:
    """Raises InputError if the devices of all processes cannot share the batch equally."""
    count = jax.device_count()
    if batch_size < 1 or batch_size % count:
        raise InputError(
            f"config.batch_size={batch_size} cannot be shared by {count} devices; "
            f"set it to a multiple of {count}"
        )


def keep_compiled() -> None:
    """Keeps compiled steps in the user's cache, unless JAX was told of another place."""
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        jax.config.update("jax_compilation_cache_dir", str(cache / "colorjax/compilation"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
