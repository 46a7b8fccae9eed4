"""Several processes: how they find each other, share what one of them knows, and end together."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import numpy as np
from jax._src import distributed as jax_distributed
from jax.experimental import multihost_utils

from colorjax.terminal.errors import EndedError, InputError

T = TypeVar("T")

# Seconds. A start to which a process does not come ends after the first; a process that died is
# noticed after the second; one that ends by an error waits so long for the others to end too.
START_TIMEOUT = 45
HEARTBEAT_TIMEOUT = 60
SHUTDOWN_TIMEOUT = 10
# One process may prepare data so long, while the others wait.
WAIT_TIMEOUT = 7 * 24 * 3600

GO_ON = "the same command goes on from the newest checkpoint"
# A shell that outlives this process, as its C++ parts may abort it: JAX does when another dies.
WATCH = "trap '' INT TERM; read -r _ || echo \"$0\" >&2"
# What is in the message when a collective fails because a process has gone.
LOST = ("Gloo", "gloo", "NCCL", "UNAVAILABLE", "coordination")


@contextlib.contextmanager
def started(
    coordinator: str | None, num_processes: int | None, process_id: int | None, detect: bool
) -> Iterator[None]:
    """Joins the other processes, and leaves them at the end; does nothing for a process alone.

    Args:
      coordinator: HOST:PORT on which process 0 listens.
      num_processes: how many there are.
      process_id: which one this is, from 0.
      detect: take what JAX finds of these three in the environment: of Slurm, Open MPI, GKE, a TPU
        pod, or JAX_COORDINATOR_ADDRESS and so on.

    Raises:
      InputError: some of the three are missing, or nothing was found.
      EndedError: the other processes did not come, or one was lost.
    """
    given = (coordinator, num_processes, process_id)
    if not detect and given == (None, None, None):
        yield
        return
    if not detect and None in given:
        raise InputError(
            "--coordinator, --num_processes and --process_id go together; "
            "--distributed takes them from Slurm, GKE or the TPU pod"
        )
    _join(coordinator, num_processes, process_id)
    who = f"process {jax.process_index()} of {jax.process_count()}"
    print(
        f"colorjax: {who}, coordinator {jax_distributed.global_state.coordinator_address}, "
        f"{jax.local_device_count()} of {jax.device_count()} devices ({jax.default_backend()})",
        flush=True,
    )
    line = f"colorjax: {who} was killed or lost another process (see above); {GO_ON}"
    with subprocess.Popen(["/bin/sh", "-c", WATCH, line], stdin=subprocess.PIPE) as watch:
        try:
            yield
            # The first may still be writing the report.
            _client().wait_at_barrier("end", WAIT_TIMEOUT * 1000)
            _leave(watch)
        except jax.errors.JaxRuntimeError as error:
            if not any(word in str(error) for word in LOST):
                raise
            reason = str(error).strip().splitlines()[0][:200]
            _end(watch, 1, f"colorjax: {who} lost another process ({reason}); {GO_ON}")
        except InputError as error:
            _end(watch, 2, f"colorjax: {error}")
        except EndedError as error:
            _end(watch, error.status, f"colorjax: {error}")


def _join(coordinator: str | None, num_processes: int | None, process_id: int | None) -> None:
    who = "" if process_id is None else f" (this is process {process_id} of {num_processes})"

    def give_up() -> None:
        address = coordinator or jax_distributed.global_state.coordinator_address
        sys.stderr.write(
            f"colorjax: not all processes came to the coordinator {address} within "
            f"{START_TIMEOUT} s{who}; start them together, and see that its port can be reached\n"
        )
        sys.stderr.flush()
        os._exit(1)

    # JAX's own time-out aborts the process with a stack trace.
    timer = threading.Timer(START_TIMEOUT, give_up)
    timer.daemon = True
    timer.start()
    try:
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            initialization_timeout=2 * START_TIMEOUT,
            heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT,
            shutdown_timeout_seconds=SHUTDOWN_TIMEOUT,
            # What is given is all there is: JAX would otherwise add what it finds of Slurm.
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
    # The first look at the devices waits for the other processes too.
    jax.devices()
    timer.cancel()


def _leave(watch: "subprocess.Popen[bytes]") -> None:
    jax.distributed.shutdown()
    _stand_down(watch)


def _stand_down(watch: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(OSError):
        watch.communicate(b"\n")


def _end(watch: "subprocess.Popen[bytes]", status: int, line: str) -> None:
    """Ends this process with a line, without waiting for others that may hang in a collective."""
    if status or is_first():
        print(line, file=sys.stderr, flush=True)
    sys.stdout.flush()
    # If all end in this way they end in order; if not, the others are told.
    with contextlib.suppress(Exception):
        jax.distributed.shutdown()
    _stand_down(watch)
    os._exit(status)


def is_first() -> bool:
    """Whether this process is the one that writes: logs, checkpoints, reports."""
    return jax.process_index() == 0


def process() -> dict[str, int]:
    """Which process of how many this is: process_index and process_count."""
    return {"process_index": jax.process_index(), "process_count": jax.process_count()}


def from_first(function: Callable[[], T]) -> T:
    """What a function gives in the first process, in all of them: something that JSON can hold.

    The others wait, for hours if need be: not in a collective, which would not. If it raises
    InputError, it does in all.
    """
    if jax.process_count() == 1:
        return function()
    key = f"colorjax/{next(_CALLS)}"
    if not is_first():
        kind, value = json.loads(_client().blocking_key_value_get(key, WAIT_TIMEOUT * 1000))
        if kind == "wrong":
            raise InputError(value)
        return value
    try:
        value = function()
    except InputError as error:
        _client().key_value_set(key, json.dumps(("wrong", str(error))))
        raise
    _client().key_value_set(key, json.dumps(("value", value)))
    return value


def broadcast(tree: Any) -> Any:
    """The first process's arrays, bit for bit, in all of them.

    Args:
      tree: of NumPy arrays; the others' have the same shapes and types.
    """
    if jax.process_count() == 1:
        return tree
    leaves, structure = jax.tree.flatten(tree)
    data = b"".join(np.ascontiguousarray(leaf).tobytes() for leaf in leaves)
    # Sent as integers: they are summed with zeros, which changes -0.0 and may flush the smallest.
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
    tree = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)

    def assign() -> None:
        nonlocal tree
        tree = read()

    from_first(assign)
    return broadcast(tree)


def wait_for_all() -> None:
    """Waits until every process is here."""
    if jax.process_count() > 1:
        _client().wait_at_barrier(f"colorjax/{next(_CALLS)}", WAIT_TIMEOUT * 1000)


def _client() -> Any:
    # JAX has no public way to wait for longer than a collective does; orbax goes this way too.
    return jax_distributed.global_state.client


# Every process makes the same calls in the same order.
_CALLS = iter(range(sys.maxsize))
