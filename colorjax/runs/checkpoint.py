"""Checkpoints of training: the only file that imports orbax."""

import hashlib
import json
from pathlib import Path
from colorjax.files import write_text


import contextlib
import errno
import os
import shutil
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from colorjax.parallel import processes
from colorjax.terminal.errors import InputError
from colorjax.models.variables import Variables, check_like

# Orbax remarks on what is meant to be so.
logging.set_verbosity(logging.ERROR)


SUMS = "sha256.json"


class CorruptError(RuntimeError):
    """A checkpoint is not what was saved. Its message says what is wrong with it."""


def write_sums(checkpoint: Path) -> None:
    """Writes down, in a checkpoint's folder, what its files have to be."""
    write_text(checkpoint / SUMS, json.dumps(_sums(checkpoint), indent=1))


def has_sums(checkpoint: Path) -> bool:
    """Whether it has them; one of an earlier version has none."""
    return (checkpoint / SUMS).exists()


def check_sums(checkpoint: Path) -> None:
    """Compares a checkpoint's files with what was written.

    Raises:
      CorruptError: names a file that is missing or differs. A checkpoint without sums, of an
        earlier version, passes.
    """
    if not has_sums(checkpoint):
        return
    try:
        expected = json.loads((checkpoint / SUMS).read_text())
        found = _sums(checkpoint)
        wrong = sorted(name for name in expected if found.get(name) != expected[name])
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CorruptError(f"{SUMS}: {error}") from error
    if wrong:
        raise CorruptError(f"{wrong[0]} {'differs' if wrong[0] in found else 'is missing'}")


def _sums(checkpoint: Path) -> dict[str, str]:
    sums = {}
    for path in sorted(checkpoint.rglob("*")):
        if path.is_file() and path.name != SUMS:
            with path.open("rb") as file:
                sums[path.relative_to(checkpoint).as_posix()] = hashlib.file_digest(
                    file, "sha256"
                ).hexdigest()
    return sums


class Checkpoints:
    """The checkpoints of one run, in a folder of their own.

    Each is written into a folder beside, with the SHA-256 of its files, and renamed: a killed run
    leaves none half written, and what is damaged later is found out before it is read. Saving goes
    on in the background. All processes hold the same state, so the first alone reads and writes;
    the others get from it what they need, and no disk has to be shared.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        max_to_keep: int | None = None,
        best: Callable[[Sequence[int]], int | None] = lambda steps: None,
        keep: int = 0,
        note: Callable[[str], None] = print,
    ) -> None:
        """Opens the folder, and makes it if it is not there.

        Args:
          directory: of these checkpoints alone; nobody else may be writing there.
          max_to_keep: the newest so many are kept; by default all.
          best: chooses one of the steps whose checkpoint is kept beside the newest.
          keep: the step of one that is kept too.
          note: shows a line: a checkpoint is damaged, or could not be saved.
        """
        self._directory = Path(directory).absolute()
        self._max_to_keep, self._best, self._note = max_to_keep, best, note
        self._keep = keep
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._saving: Future[None] | None = None
        if processes.is_first():
            self._directory.mkdir(parents=True, exist_ok=True)
            self._remove_leftovers()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: object) -> None:
        """Waits until what is being saved is on disk."""
        self.wait()
        self._thread.shutdown()

    def wait(self) -> None:
        """Waits until what is being saved is on disk, or has failed."""
        if self._saving is not None:
            self._saving.result()
            self._saving = None

    @property
    def latest_step(self) -> int | None:
        """The newest checkpoint's step, in all processes; None if there is none."""
        self.wait()
        return processes.from_first(lambda: max(saved_steps(self._directory), default=None))

    def save(self, step: int, state: Any, position: dict[str, Any]) -> None:
        """Saves the state after `step` updates, and what JSON can hold of where the run stands.

        The state may be donated once this returns. A failure is noted, not raised: a run is worth
        more than a checkpoint, and the one before stays.
        """
        self.wait()
        if not processes.is_first() or step in saved_steps(self._directory):
            return
        # Copies: on a CPU NumPy would otherwise look into the device's own buffers.
        host_state = jax.tree.map(lambda x: np.array(x), state)
        self._saving = self._thread.submit(self._write, step, host_state, position)

    def _write(self, step: int, state: Any, position: dict[str, Any]) -> None:
        part = self._directory / f"{step}.part"
        try:
            needed = sum(x.nbytes for x in jax.tree.leaves(state))
            if shutil.disk_usage(self._directory).free < needed:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            with _quiet_threads(), _run_checkpointer() as checkpointer:
                checkpointer.save(
                    part,
                    args=ocp.args.Composite(
                        state=ocp.args.StandardSave(state), position=ocp.args.JsonSave(position)
                    ),
                )
            write_sums(part)
            os.replace(part, self._directory / str(step))
        # Whatever it is that orbax and TensorStore make of a full or vanished disk.
        except Exception as error:
            self._remove_leftovers()
            kept = max(saved_steps(self._directory), default=None)
            self._note(
                f"Saving step {step} failed ({_reason(error)}); training goes on, "
                + ("no checkpoint is there yet." if kept is None else f"step {kept} is kept.")
            )
        else:
            self._prune()

    def _prune(self) -> None:
        steps = saved_steps(self._directory)
        if self._max_to_keep is not None:
            for step in set(steps[: -self._max_to_keep]) - {self._best(steps), self._keep}:
                # Renamed first, so that none is ever half there.
                shutil.rmtree(
                    (self._directory / str(step)).rename(self._directory / f"{step}.part"),
                    ignore_errors=True,
                )

    def _remove_leftovers(self) -> None:
        for pattern in ("*.part*", "*.orbax-checkpoint-tmp*"):
            for leftover in self._directory.glob(pattern):
                shutil.rmtree(leftover, ignore_errors=True)

    def restore(self, like: Any) -> tuple[int, Any, dict[str, Any]] | None:
        """The newest checkpoint that is whole: its step, the state, and what was saved beside it.

        A damaged one is noted, and renamed to `<step>.damaged`.

        Args:
          like: has the shapes, types and placement that the restored state shall have.

        Returns:
          None if there is no checkpoint.

        Raises:
          InputError: there are checkpoints, and all are damaged.
        """
        self.wait()
        state: Any = None

        def read() -> tuple[int, dict[str, Any]] | None:
            nonlocal state
            steps = saved_steps(self._directory)
            for step in reversed(steps):
                try:
                    state, position = _read(self._directory / str(step), like)
                    return step, position
                except CorruptError as error:
                    self._set_aside(step, error)
            if steps:
                raise InputError(
                    f"every checkpoint in {self._directory} is damaged; choose another --workdir"
                )
            return None

        found = processes.from_first(read)
        if found is None:
            return None
        step, position = found
        empty = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)
        state = processes.broadcast(empty if state is None else state)
        return step, jax.tree.map(lambda x, y: jax.device_put(x, y.sharding), state, like), position

    def _set_aside(self, step: int, error: CorruptError) -> None:
        aside = self._directory / f"{step}.damaged"
        shutil.rmtree(aside, ignore_errors=True)
        (self._directory / str(step)).rename(aside)
        self._note(f"The checkpoint of step {step} is damaged ({error}); it is now {aside}.")


def saved_steps(directory: Path) -> list[int]:
    """The steps of the finished checkpoints in a folder, which need not be there; ascending."""
    return sorted(int(path.name) for path in directory.glob("*") if path.name.isdecimal())


def any_saved(workdir: Path) -> bool:
    """Whether a run has a finished checkpoint; looks without making a folder."""
    return processes.from_first(lambda: newest_step(workdir) is not None)


def newest_step(workdir: Path) -> int | None:
    """The step of a run's newest finished checkpoint, if there is one; makes no folder."""
    return max(saved_steps(workdir / "checkpoints"), default=None)


def _read(checkpoint: Path, like: Any) -> tuple[Any, dict[str, Any]]:
    check_sums(checkpoint)
    arrays = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)
    try:
        with _run_checkpointer() as checkpointer:
            restored = checkpointer.restore(
                checkpoint,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(arrays), position=ocp.args.JsonRestore()
                ),
            )
    except Exception as error:
        if has_sums(checkpoint):  # and they are right: nothing is damaged
            raise InputError(
                f"{checkpoint} is whole, but cannot be read ({_reason(error)}); use the versions "
                "of jax, optax and orbax that wrote it, or choose another --workdir"
            ) from error
        raise CorruptError(_reason(error)) from error
    return restored["state"], restored["position"]


def _alone() -> Any:
    """Options by which orbax works in this process alone and waits for no other."""
    index = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=index, active_processes={index}, barrier_sync_key_prefix=f"alone{index}"
    )


def _run_checkpointer() -> ocp.Checkpointer:
    """Of what a run saves: its state, and where it stands."""
    # Each part has to be told, or it waits for the other processes.
    handler = ocp.CompositeCheckpointHandler(
        composite_options=ocp.CompositeOptions(multiprocessing_options=_alone()),
        state=ocp.StandardCheckpointHandler(multiprocessing_options=_alone()),
        position=ocp.JsonCheckpointHandler(multiprocessing_options=_alone()),
    )
    return ocp.Checkpointer(handler, multiprocessing_options=_alone())


@contextlib.contextmanager
def _quiet_threads() -> Iterator[None]:
    """Orbax logs, and raises in its threads, what it raises here too: pages on a full disk."""
    before, verbosity = threading.excepthook, logging.get_verbosity()

    def hook(arguments: Any) -> None:
        frames = traceback.extract_tb(arguments.exc_traceback)
        if not any(f"{os.sep}orbax{os.sep}" in frame.filename for frame in frames):
            before(arguments)

    threading.excepthook = hook
    logging.set_verbosity(logging.FATAL)
    try:
        yield
    finally:
        threading.excepthook = before
        logging.set_verbosity(verbosity)


def _reason(error: Exception) -> str:
    """The first line of an error, shortened: TensorStore's fill a page."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return text if len(text) <= 200 else text[:200] + "…"


def restore_generator(
    workdir: str | os.PathLike[str], like: Variables, step: int | None = None
) -> Variables:
    """The averaged generator {"params", "batch_stats"} of a checkpoint of another run.

    Args:
      workdir: the run.
      like: has the shapes, types and placement wanted.
      step: of the checkpoint; by default the newest.

    Raises:
      InputError: the run saved nothing, or another model; the first parameter that differs is
        named; or the checkpoint is damaged.
    """
    found: Any = None

    def read() -> None:
        nonlocal found
        found = _read_generator(workdir, like, step)

    processes.from_first(read)
    empty = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)
    found = processes.broadcast(empty if found is None else found)
    return jax.tree.map(lambda x, y: jax.device_put(x, y.sharding), found, like)


def _read_generator(workdir: str | os.PathLike[str], like: Variables, step: int | None) -> Any:
    directory = (Path(workdir) / "checkpoints").absolute()
    if not directory.is_dir():
        raise InputError(f"{workdir} is no run: it has no checkpoints/ folder")
    steps = saved_steps(directory)
    if not steps:
        raise InputError(f"{workdir} has no checkpoint yet; let the run save one first")
    step = steps[-1] if step is None else step
    if step not in steps:
        saved = ", ".join(map(str, steps))
        raise InputError(f"{workdir} has no checkpoint of step {step}; it has {saved}")
    checkpoint = directory / str(step)
    try:
        check_sums(checkpoint)
    except CorruptError as error:
        raise InputError(
            f"the checkpoint {checkpoint} is damaged ({error}); let its run go on, which then "
            "starts from the one before"
        ) from error
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=_alone())
    with ocp.Checkpointer(handler, multiprocessing_options=_alone()) as checkpointer:
        saved = checkpointer.metadata(checkpoint / "state").item_metadata
        for kind in ("params", "batch_stats"):
            check_like(saved["ema"][kind], like[kind], f"{workdir}, step {step}")
        wanted = {"ema": jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)}
        return checkpointer.restore(
            checkpoint / "state",
            args=ocp.args.PyTreeRestore(
                wanted,
                restore_args=ocp.checkpoint_utils.construct_restore_args(wanted),
                partial_restore=True,
            ),
        )["ema"]
