"""Checkpoints of training: the only file that imports orbax."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import chex
import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from colorjax.files import write_text
from colorjax.models.variables import Variables, check_like
from colorjax.parallel import processes
from colorjax.terminal.errors import InputError

# Orbax warns about choices that are deliberate here.
logging.set_verbosity(logging.ERROR)

SUMS, RESUME_POINT = "sha256.json", "resume_point.json"


class CorruptError(RuntimeError):
    """A checkpoint differs from what was saved. The message names the file."""


class Checkpoints:
    """The checkpoints of one run.

    Each is written to a temporary folder together with the SHA-256 of its files, then renamed. A
    killed run therefore leaves no partial checkpoint, and corruption is noticed before a checkpoint
    is read. Checkpoints are saved in the background. All processes hold the same state, so only the
    first one reads and writes; the others receive what they need and share no disk.
    """

    def __init__(
        self,
        directory: Path,
        max_to_keep: int | None = None,
        note: Callable[[str], None] = print,
    ) -> None:
        """Opens the folder and creates it if necessary.

        Args:
          directory: holds these checkpoints only; no other process may write to it.
          max_to_keep: number of newest checkpoints to keep; all by default.
          note: shows a message about a corrupt checkpoint or a failed save.
        """
        self._directory = directory.absolute()
        self._max_to_keep, self._note = max_to_keep, note
        # Chooses, from the saved steps, one that is kept as well.
        self.best: Callable[[Sequence[int]], int | None] = lambda steps: None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._saving: Future[None] | None = None
        if processes.is_first():
            self._directory.mkdir(parents=True, exist_ok=True)
            self._remove_leftovers()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: object) -> None:
        self.wait()
        self._thread.shutdown()

    def wait(self) -> None:
        """Waits until the checkpoint being saved is on disk or has failed."""
        if self._saving is not None:
            self._saving.result()
            self._saving = None

    @property
    def latest_step(self) -> int | None:
        """The newest checkpoint's step, in all processes; None without a checkpoint."""
        self.wait()
        return processes.from_first(lambda: max(saved_steps(self._directory), default=None))

    def save(self, step: int, state: Any, resume_point: dict[str, Any]) -> None:
        """Saves the state after `step` updates and the resume point.

        The state may be donated once this returns. If saving fails, for example because the disk
        is full, this checkpoint is skipped with a note and training continues. The resume point is
        what else a run needs to resume, as JSON values.
        """
        self.wait()
        if not processes.is_first() or step in saved_steps(self._directory):
            return
        # Copied, because NumPy arrays may share the device's buffers on a CPU.
        host_state = jax.tree.map(lambda x: np.array(x), state)
        self._saving = self._thread.submit(self._write, step, host_state, resume_point)

    def _write(self, step: int, state: Any, resume_point: dict[str, Any]) -> None:
        part = self._directory / f"{step}.part"
        self._remove_leftovers()  # TensorStore may still have written after a failure
        try:
            needed = sum(x.nbytes for x in jax.tree.leaves(state))
            if shutil.disk_usage(self._directory).free < needed:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            with _quiet_threads(), _checkpointer() as checkpointer:
                checkpointer.save(part / "state", args=ocp.args.PyTreeSave(state))
            write_text(part / RESUME_POINT, json.dumps(resume_point, indent=1))
            write_text(part / SUMS, json.dumps(_sums(part), indent=1))
            os.replace(part, self._directory / str(step))
        # Orbax and TensorStore raise many types of error when a disk is full or has vanished.
        except Exception as error:
            self._remove_leftovers()
            kept = max(saved_steps(self._directory), default=None)
            self._note(
                f"Saving step {step} failed ({_reason(error)}). Training continues; "
                + ("there is no checkpoint yet." if kept is None else f"step {kept} is kept.")
            )
        else:
            self._prune()

    def _prune(self) -> None:
        steps = saved_steps(self._directory)
        if self._max_to_keep is not None:
            for step in set(steps[: -self._max_to_keep]) - {self.best(steps)}:
                # Renamed first, so that a partly removed one is never taken for a checkpoint.
                with contextlib.suppress(OSError):  # what cannot be removed is kept
                    (self._directory / str(step)).rename(self._directory / f"{step}.part")
        self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        for leftover in self._directory.glob("*.part"):
            shutil.rmtree(leftover, ignore_errors=True)

    def restore(self, like: Any) -> tuple[int, Any, dict[str, Any]] | None:
        """Restores the newest checkpoint that is not corrupt.

        Newer ones, which are corrupt, are renamed to `<step>.corrupt`, with a note. If all are
        corrupt none is, so that the run is not taken for a new one.

        Args:
          like: a tree with the shapes, types and placement of the state.

        Returns:
          (step, state, resume point), or None without a checkpoint.

        Raises:
          InputError: all checkpoints are corrupt, or one cannot be read by the installed packages.
        """
        self.wait()
        state: Any = None

        def read() -> tuple[int, dict[str, Any]] | None:
            nonlocal state
            corrupt: dict[int, CorruptError] = {}
            for step in reversed(saved_steps(self._directory)):
                try:
                    state, resume_point = _read(self._directory / str(step), like)
                except CorruptError as error:
                    corrupt[step] = error
                    continue
                for newer, reason in corrupt.items():
                    self._set_aside(newer, reason)
                return step, resume_point
            if corrupt:
                raise InputError(
                    f"every checkpoint in {self._directory} is corrupt; choose another --workdir"
                )
            return None

        found = processes.from_first(read)
        if found is None:
            return None
        step, resume_point = found
        return step, _placed(lambda: state, like), resume_point

    def _set_aside(self, step: int, error: CorruptError) -> None:
        aside = self._directory / f"{step}.corrupt"
        shutil.rmtree(aside, ignore_errors=True)
        (self._directory / str(step)).rename(aside)
        self._note(f"The checkpoint of step {step} is corrupt ({error}); it is now {aside}.")


def saved_steps(directory: Path) -> list[int]:
    """The steps of the checkpoints in a folder, ascending; [] if it does not exist."""
    return sorted(int(path.name) for path in directory.glob("*") if path.name.isdecimal())


def any_saved(workdir: Path) -> bool:
    """Whether a run has a checkpoint, in all processes."""
    return processes.from_first(lambda: newest_step(workdir) is not None)


def newest_step(workdir: Path) -> int | None:
    """The step of a run's newest checkpoint; None without one."""
    return max(saved_steps(workdir / "checkpoints"), default=None)


def restore_generator(workdir: Path, like: Variables, step: int | None = None) -> Variables:
    """The averaged generator {"params", "batch_stats"} of another run's checkpoint.

    Args:
      workdir: the folder of the run.
      like: a tree with the shapes, types and placement wanted.
      step: of the checkpoint; the newest by default.

    Raises:
      InputError: there is no such checkpoint, it is corrupt, or it holds another model; then the
        first parameter that differs is named.
    """
    return _placed(lambda: _read_generator(workdir, like, step), like)


def _placed(read: Callable[[], Any], like: Any) -> Any:
    """The arrays that the first process reads, in all processes, placed as in `like`."""
    tree = processes.read_by_first(read, like)
    return jax.tree.map(lambda x, y: jax.device_put(x, y.sharding), tree, like)


def _read(checkpoint: Path, like: Any) -> tuple[Any, dict[str, Any]]:
    _check_sums(checkpoint)
    try:
        state = _read_arrays(checkpoint, like)
        chex.assert_trees_all_equal_shapes_and_dtypes(state, like)
        return state, json.loads((checkpoint / RESUME_POINT).read_text())
    except Exception as error:
        raise InputError(
            f"{checkpoint} is intact but cannot be read ({_reason(error)}); use the versions "
            "of jax, optax and orbax that wrote it, or choose another --workdir"
        ) from error


def _read_arrays(checkpoint: Path, like: Any) -> Any:
    """The arrays of a checkpoint that are in `like`."""
    arrays = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)
    with _checkpointer() as checkpointer:
        return checkpointer.restore(
            checkpoint / "state",
            args=ocp.args.PyTreeRestore(
                arrays,
                restore_args=ocp.checkpoint_utils.construct_restore_args(arrays),
                partial_restore=True,
            ),
        )


def find_checkpoint(workdir: Path, step: int | None = None) -> Path:
    """The folder of a run's checkpoint, by default the newest. Raises InputError without one."""
    directory = (workdir / "checkpoints").absolute()
    if not directory.is_dir():
        raise InputError(f"{workdir} is not a run: it has no checkpoints/ folder")
    steps = saved_steps(directory)
    if not steps:
        raise InputError(f"{workdir} has no checkpoint yet; wait until the run has saved one")
    step = steps[-1] if step is None else step
    if step not in steps:
        saved = ", ".join(map(str, steps))
        raise InputError(f"{workdir} has no checkpoint of step {step}; it has {saved}")
    return directory / str(step)


def _read_generator(workdir: Path, like: Variables, step: int | None) -> Any:
    checkpoint = find_checkpoint(workdir, step)
    try:
        _check_sums(checkpoint)
    except CorruptError as error:
        raise InputError(
            f"the checkpoint {checkpoint} is corrupt ({error}); choose another one, or resume its "
            "run, which then restores an earlier one"
        ) from error
    with _checkpointer() as checkpointer:
        saved = checkpointer.metadata(checkpoint / "state").item_metadata
    check_like(saved["ema"], like, f"{workdir}, step {checkpoint.name}")
    return _read_arrays(checkpoint, {"ema": like})["ema"]


def _check_sums(checkpoint: Path) -> None:
    """Raises CorruptError if a file of a checkpoint is missing or differs from what was saved."""
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
                digest = hashlib.file_digest(file, "sha256")
            sums[path.relative_to(checkpoint).as_posix()] = digest.hexdigest()
    return sums


def _checkpointer() -> ocp.Checkpointer:
    """A checkpointer that works in this process alone, without waiting for others."""
    index = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=index, active_processes={index}, barrier_sync_key_prefix=f"alone{index}"
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


@contextlib.contextmanager
def _quiet_threads() -> Iterator[None]:
    """Hides what orbax logs and raises in its own threads: it raises the same error here."""
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
    """The first line of an error, shortened: TensorStore's errors are long."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return text if len(text) <= 200 else text[:200] + "…"
