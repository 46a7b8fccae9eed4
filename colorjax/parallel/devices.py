"""Everything that knows about devices: the axis, pmap, replication and sharding."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from colorjax.parallel import processes
from colorjax.terminal.errors import InputError

AXIS = "batch"


def compile_train_step(step: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles `step(state, batch) -> (state, metrics)` for all devices.

    The state has no device axis: every device holds the whole, donated to the next. The batch has
    one, as `shard` gives it. `out_axes=None` does not check that the replicas agree: the step must
    reduce over `AXIS` what it computes from its part of the batch.
    """
    return _started_together(
        jax.pmap(step, axis_name=AXIS, in_axes=(None, 0), out_axes=(None, None), donate_argnums=0)
    )


def compile_eval_step(
    step: Callable[..., Any], in_axes: tuple[int | None, ...] = (None, 0)
) -> Callable[..., Any]:
    """Compiles a step that gives per-image values for all devices.

    JAX caches what it compiles by the identity of `step`: compiling the same function again is
    cheap.

    Args:
      step: by default (variables, batch) -> values, which keep the device axis.
      in_axes: for each argument, 0 if it has a device axis, as `shard` gives it, and None if it is
        replicated.
    """
    return _started_together(jax.pmap(step, axis_name=AXIS, in_axes=in_axes))


def _started_together(step: Any) -> Callable[..., Any]:
    """Makes processes wait for each other between the compilation of a step and its first call.

    They compile for different times, and a CPU's collectives (Gloo's) wait for 30 s to be joined.
    The call then finds the program in the cache of compiled ones.

    Args:
      step: a pmapped function.
    """
    if jax.process_count() == 1 or jax.default_backend() != "cpu":
        return step
    compiled = set()

    def call(*arguments: Any) -> Any:
        shapes = tuple(x.shape for x in jax.tree.leaves(arguments))
        if shapes not in compiled:
            step.lower(*arguments).compile()
            processes.wait_for_all()
            compiled.add(shapes)
        return step(*arguments)

    return call


def replicate(tree: Any) -> Any:
    """Places a tree on every local device.

    A state that is not placed so before its first step makes the step be traced twice.
    """
    return jax.device_put(tree, replicated())


def replicated() -> NamedSharding:
    """The placement that `replicate` gives."""
    return NamedSharding(Mesh(np.array(jax.local_devices()), (AXIS,)), PartitionSpec())


def one_device(name: str | None = None) -> jax.Device:
    """The first of this process's devices.

    Args:
      name: of a kind, "cpu", "gpu" or "tpu"; by default the best that JAX has.

    Raises:
      InputError: there is none of that kind.
    """
    try:
        return jax.local_devices(backend=name)[0]
    except RuntimeError as error:
        found = ", ".join(sorted({device.platform for device in jax.local_devices()}))
        raise InputError(f"there is no device {name!r}; JAX finds {found}") from error


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


def positions(count: int) -> jax.Array:
    """Where this device's images stand in the global batch; called in a step.

    What is random for an image follows its position, so that it depends neither on the number of
    devices nor on that of processes. Image i of the global batch is with process i %
    process_count, as `data.pipeline` reads it; a process's devices have consecutive ones of its.

    Args:
      count: images on this device.

    Returns:
      [count] int32.
    """
    num_processes = jax.process_count()
    local_devices = lax.axis_size(AXIS) // num_processes
    process, device = jnp.divmod(lax.axis_index(AXIS), local_devices)
    return (device * count + jnp.arange(count)) * num_processes + process


def check_batch_size(batch_size: int, accumulate_steps: int = 1) -> None:
    """Raises InputError if the devices of all processes cannot share the batch equally."""
    count = jax.device_count()
    if accumulate_steps < 1:
        raise InputError(
            f"config.accumulate_steps={accumulate_steps} cannot work; it must be at least 1"
        )
    if batch_size < 1 or batch_size % (count * accumulate_steps):
        parts = f" in {accumulate_steps} parts each" if accumulate_steps > 1 else ""
        raise InputError(
            f"config.batch_size={batch_size} cannot be shared by {count} devices{parts}; "
            f"set it to a multiple of {count * accumulate_steps}"
        )


def configure(deterministic: bool = False) -> None:
    """Sets up JAX; has to come before the first look at the devices.

    Compiled steps are kept in the user's cache, unless JAX was told of another place.

    Args:
      deterministic: kernels on GPUs give the same bits each time, which may be slower. CPUs and
        TPUs do so anyway.
    """
    if deterministic:
        xla_flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{xla_flags} --xla_gpu_deterministic_ops=true".strip()
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        jax.config.update("jax_compilation_cache_dir", str(cache / "colorjax/compilation"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
