"""Devices: their axis, pmap, replication and sharding."""

import gc
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from colorjax.terminal.errors import InputError

AXIS = "batch"
# Not avx512_bf16: with that alone (EPYC 9005) a step of the GAN took 1.62 CPU-seconds, and 1.55 in
# float32.
BFLOAT16_FLAG = "amx_bf16"
# Before Ampere, NVIDIA's GPUs had no units for bfloat16.
COMPUTE_CAPABILITY = 8.0


def compile_train_step(step: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles `step(state, batch) -> (state, metrics)` for all devices.

    The state has no device axis: every device holds all of it, and it is donated to the next
    state. The batch has one, as `shard` adds it. `out_axes=None` does not check that the replicas
    agree: the step must reduce over `AXIS` everything it computes from its part of the batch.
    """
    return jax.pmap(
        step, axis_name=AXIS, in_axes=(None, 0), out_axes=(None, None), donate_argnums=0
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
    return jax.pmap(step, axis_name=AXIS, in_axes=in_axes)


def replicate(tree: Any) -> Any:
    """Places a tree on every local device.

    A step is traced twice if its first state has not been placed this way.
    """
    return jax.device_put(tree, replicated())


def replicated() -> NamedSharding:
    """The sharding of what `replicate` returns."""
    return NamedSharding(_local_mesh(), PartitionSpec())


def one_device(name: str | None = None) -> jax.Device:
    """Returns this process's first device.

    Args:
      name: platform, "cpu", "gpu" or "tpu"; by default JAX's default backend.

    Raises:
      InputError: there is no such device.
    """
    try:
        return jax.local_devices(backend=name)[0]
    except RuntimeError as error:
        found = ", ".join(sorted({device.platform for device in jax.local_devices()}))
        raise InputError(f"there is no device {name!r}; JAX finds {found}") from error


def multiplies_bfloat16() -> bool:
    """Whether JAX's default devices have matrix units for bfloat16; a CPU by its flags on Linux."""
    if jax.default_backend() != "cpu":
        # TPUs have none, and those of AMD's GPUs are names, such as gfx90a.
        capability = str(getattr(jax.local_devices()[0], "compute_capability", ""))
        number = re.fullmatch(r"\d+(\.\d+)?", capability)
        return number is None or float(capability) >= COMPUTE_CAPABILITY
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "")
    return BFLOAT16_FLAG in flags.split()


def shard(batch: Any) -> Any:
    """Splits this process's arrays [N, ...] over its devices: [devices, N / devices, ...]."""
    count = jax.local_device_count()
    split = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), batch)
    return jax.device_put(split, NamedSharding(_local_mesh(), PartitionSpec(AXIS)))


def _local_mesh() -> Mesh:
    return Mesh(np.array(jax.local_devices()), (AXIS,))


def gather(tree: Any) -> Any:
    """Collects per-image values [devices, n, ...] of all processes as NumPy arrays [N, ...]."""
    if jax.process_count() > 1:
        tree = multihost_utils.process_allgather(tree, tiled=True)
    return jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), tree)


def image_indices(count: int) -> jax.Array:
    """Returns the indices of this device's images in the global batch; called within a step.

    Random numbers for an image are drawn by its index, so they depend neither on the number of
    devices nor on that of processes. Process p reads the images p, p + process_count, … of the
    global batch (see `data.pipeline`), and splits them over its devices in order.

    Args:
      count: number of images on this device.

    Returns:
      [count] int32.
    """
    num_processes = jax.process_count()
    local_devices = lax.axis_size(AXIS) // num_processes
    process, device = jnp.divmod(lax.axis_index(AXIS), local_devices)
    return (device * count + jnp.arange(count)) * num_processes + process


def check_batch_size(batch_size: int, accumulate_steps: int = 1) -> None:
    """Raises InputError if the batch cannot be split equally over the devices of all processes."""
    count = jax.device_count()
    if batch_size % (count * accumulate_steps):
        parts = f" in {accumulate_steps} parts each" if accumulate_steps > 1 else ""
        raise InputError(
            f"config.batch_size={batch_size} cannot be shared by {count} devices{parts}; "
            f"set it to a multiple of {count * accumulate_steps}"
        )


def configure(deterministic: bool = False) -> None:
    """Configures JAX; must be called before anything that initializes a backend.

    Compiled programs are cached in the user's cache folder, or JAX_COMPILATION_CACHE_DIR. Python
    searches for garbage less often.

    Args:
      deterministic: use only deterministic kernels on GPUs, which may be slower. CPUs and TPUs are
        deterministic anyway.
    """
    # Tracing creates many objects that stay: one photograph takes a tenth less time.
    gc.set_threshold(50_000)
    if deterministic:
        xla_flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{xla_flags} --xla_gpu_deterministic_ops=true".strip()
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        jax.config.update("jax_compilation_cache_dir", str(cache / "colorjax/compilation"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
