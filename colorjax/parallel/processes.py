"""Several processes: how they join, share what the first one knows, and end together."""

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import numpy as np
from jax import lax
from jax.experimental import multihost_utils

from colorjax.parallel import RESUME
from colorjax.terminal.errors import EndedError, InputError

T = TypeVar("T")

# Timeouts in seconds: for all processes to join; without a heartbeat, before a process counts as
# lost; for the other processes to shut down.
START_TIMEOUT = 45
HEARTBEAT_TIMEOUT = 60
SHUTDOWN_TIMEOUT = 10
# Collectives wait this long: one process may prepare data, or compile, while the others wait.
COLLECTIVE_TIMEOUT = 7 * 24 * 3600

# Words in the message of a collective that fails because a process was lost.
LOST = ("Gloo", "gloo", "NCCL", "UNAVAILABLE", "coordination")


@contextlib.contextmanager
def started(
    coordinator: str | None, num_processes: int | None, process_id: int | None, detect: bool
) -> Iterator[None]:
    """Joins the other processes, and waits for them at the end. A single process does neither.

    Args:
      coordinator: HOST:PORT on which process 0 listens.
      num_processes: number of processes.
      process_id: index of this process, from 0.
      detect: take the three from the environment, as JAX finds them: Slurm, Open MPI, GKE, a TPU
        pod, or JAX_COORDINATOR_ADDRESS and so on.

    Raises:
      InputError: only some of the three are given, or JAX found nothing.
      EndedError: the other processes cannot be joined, or one was lost.
    """
    given = (coordinator, num_processes, process_id)
    if not detect and given == (None, None, None):
        yield
        return
    if not detect and None in given:
        raise InputError(
            "--coordinator, --num_processes and --process_id must be given together; or use "
            "--distributed under Slurm, GKE or on a TPU pod"
        )
    ctypes.CDLL(None).signal(signal.SIGABRT, ON_ABORT)
    _join(coordinator, num_processes, process_id)
    who = f"process {jax.process_index()} of {jax.process_count()}"
    print(
        f"colorjax: {who}, coordinator {coordinator or 'found by JAX'}, "
        f"{jax.local_device_count()} of {jax.device_count()} devices ({jax.default_backend()})",
        flush=True,
    )
    try:
        yield
        wait_for_all()  # the first may still be writing the report
    except jax.errors.JaxRuntimeError as error:
        if not any(word in str(error) for word in LOST):
            raise
        reason = str(error).strip().splitlines()[0][:200]
        _end(f"{who} lost another process ({reason}); {RESUME}")


def _join(coordinator: str | None, num_processes: int | None, process_id: int | None) -> None:
    who = "" if process_id is None else f" (this is process {process_id} of {num_processes})"
    # JAX's own timeout aborts the process with a stack trace.
    timer = threading.Timer(
        START_TIMEOUT,
        _end,
        [
            f"not all processes joined the coordinator {coordinator or 'found by JAX'} within "
            f"{START_TIMEOUT} s{who}; start them together, and check that its port can be reached"
        ],
    )
    timer.daemon = True
    timer.start()
    # On CPUs a collective fails after 30 s by default. The user's own XLA_FLAGS take precedence.
    timeout = f"--xla_cpu_collective_timeout_seconds={COLLECTIVE_TIMEOUT}"
    os.environ["XLA_FLAGS"] = f"{timeout} {os.environ.get('XLA_FLAGS', '')}".strip()
    try:
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            initialization_timeout=2 * START_TIMEOUT,
            heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT,
            shutdown_timeout_seconds=SHUTDOWN_TIMEOUT,
            # JAX would otherwise complete the arguments by what it finds of Slurm.
            cluster_detection_method="deactivate" if coordinator else None,
        )
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"the processes cannot be set up ({error}); give --coordinator=HOST:PORT "
            "--num_processes=N --process_id=I, or --distributed under Slurm, GKE or on a TPU pod"
        ) from error
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise EndedError(f"cannot join the coordinator {coordinator} ({reason})") from error
    jax.devices()  # waits for the other processes too
    timer.cancel()
    # The first collectives connect the devices, for which Gloo has a timeout of its own: all
    # devices for the steps, and those of equal index for broadcasts.
    jax.pmap(lambda x: lax.psum(x, "all"), axis_name="all")(np.zeros(jax.local_device_count()))
    wait_for_all()


def _end(line: str) -> None:
    """Ends this process at once: at a normal exit JAX waits for lost processes, and aborts."""
    print(f"colorjax: {line}", file=sys.stderr, flush=True)
    os._exit(1)


# JAX aborts a process that waits in a collective, or for the others' exit, when one is lost or has
# failed. A handler of Python's `signal` would wait for the main thread, and so not run.
ON_ABORT = ctypes.CFUNCTYPE(None, ctypes.c_int)(
    lambda _: _end(f"a process was lost or failed (see above); {RESUME}")
)


def is_first() -> bool:
    """Whether this process is the one that writes logs, checkpoints and reports."""
    return jax.process_index() == 0


def process() -> dict[str, int]:
    """process_index and process_count, as keyword arguments."""
    return {"process_index": jax.process_index(), "process_count": jax.process_count()}


def from_first(function: Callable[[], T]) -> T:
    """Calls a function in the first process only, and returns its value in all of them.

    The others wait, for hours if need be.

    Args:
      function: returns something that JSON can hold.

    Raises:
      InputError: in all processes, if the function raises it.
    """
    if jax.process_count() == 1:
        return function()
    answer = b""
    if is_first():
        try:
            answer = json.dumps({"value": function()}).encode()
        except InputError as error:
            answer = json.dumps({"wrong": str(error)}).encode()
    # Padded to KiB, because the broadcast is compiled for each size.
    size = 1024 * int(broadcast(np.int64(-(-len(answer) // 1024))))
    answer = broadcast(np.frombuffer(answer.ljust(size), np.uint8)).tobytes()
    decoded = json.loads(answer)
    if "wrong" in decoded:
        raise InputError(decoded["wrong"])
    return decoded["value"]


def broadcast(tree: Any) -> Any:
    """Returns the first process's NumPy arrays in all processes, bit for bit.

    Args:
      tree: NumPy arrays, of the same shapes and types in every process.
    """
    if jax.process_count() == 1:
        return tree
    leaves, structure = jax.tree.flatten(tree)
    data = b"".join(np.ascontiguousarray(leaf).tobytes() for leaf in leaves)
    # Sent as integers: they are summed with zeros, which changes -0.0 and may flush subnormals.
    words = np.frombuffer(data + b"\0" * (-len(data) % 4), np.uint32)
    received = np.asarray(multihost_utils.broadcast_one_to_all(words)).tobytes()
    parts, start = [], 0
    for leaf in leaves:
        part = received[start : start + leaf.nbytes]
        parts.append(np.frombuffer(part, leaf.dtype).reshape(leaf.shape))
        start += leaf.nbytes
    return jax.tree.unflatten(structure, parts)


def read_by_first(read: Callable[[], Any], like: Any) -> Any:
    """Arrays that the first process reads, in all processes.

    Args:
      read: gives a tree of NumPy arrays; called in the first process only.
      like: a tree of the same structure, shapes and types.

    Raises:
      InputError: `read` raised it in the first process.
    """
    found: list[Any] = []
    from_first(lambda: found.append(read()))
    return broadcast(
        found[0] if found else jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)
    )


def wait_for_all() -> None:
    """Waits until every process has called this."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("colorjax")
