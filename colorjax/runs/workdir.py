"""The folder of a run: its config, its lock and its metrics."""

import contextlib
import errno
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from colorjax.files import write_text
from colorjax.parallel import processes
from colorjax.runs.config_keys import ANY, KEYS, flatten
from colorjax.terminal.errors import InputError

# TensorBoard shows metrics this many seconds later at most.
FLUSH_SECONDS = 10


@contextlib.contextmanager
def claimed(workdir: Path, config: Mapping[str, Any], data_key: str) -> Iterator[None]:
    """Locks the workdir for one run, and writes its config.json.

    Only the first process touches the workdir; errors are raised in all processes.

    Args:
      workdir: created if it does not exist.
      config: of the run, as nested dicts.
      data_key: identifies the data by their contents.

    Raises:
      InputError: another process trains in the workdir; the workdir holds a run that differs in
        keys that may not change (see `config_keys`); or it cannot be written.
    """
    with contextlib.ExitStack() as stack:

        def claim() -> None:
            try:
                _check_same_run(workdir, config, data_key)  # before anything is written
                workdir.mkdir(parents=True, exist_ok=True)
                stack.enter_context(_locked(workdir))
                _check_same_run(workdir, config, data_key)  # another process may have been faster
                text = json.dumps({**config, "data": data_key}, indent=2)
                write_text(workdir / "config.json", text + "\n")
            except OSError as error:
                raise InputError(
                    f"cannot write to {workdir} ({error}); choose another --workdir"
                ) from error

        processes.from_first(claim)
        yield


@contextlib.contextmanager
def _locked(workdir: Path) -> Iterator[None]:
    """Holds the workdir's lock. The kernel releases it when the process is killed."""
    lock = FileLock(workdir / "lock", fallback_to_soft=False)
    holder = workdir / "lock.holder"
    try:
        lock.acquire(blocking=False)
    except Timeout:
        try:
            name = holder.read_text()
        except OSError:
            name = "another process"
        raise InputError(
            f"{name} is training in {workdir}; wait until it ends, or choose another --workdir"
        ) from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        yield  # some network file systems have no locks
        return
    try:
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _check_same_run(workdir: Path, config: Mapping[str, Any], data_key: str) -> None:
    path = workdir / "config.json"
    if not path.exists():
        return
    try:
        theirs = flatten(json.loads(path.read_text()))
    except (ValueError, AttributeError) as error:  # not JSON, or not an object
        raise InputError(f"{path} is corrupt ({error}); choose another --workdir") from error
    mine = flatten({**config, "data": data_key})
    theirs = {key: KEYS.get(key, ANY).absent for key in mine} | theirs
    differ = [
        f"{key} ({theirs.get(key)} there, {mine.get(key)} now)"
        for key in sorted(theirs.keys() | mine.keys())
        if theirs.get(key) != mine.get(key) and not KEYS.get(key, ANY).may_change
    ]
    if differ:
        raise InputError(
            f"{workdir} holds another run: {', '.join(differ)}; choose another --workdir"
        )


class MetricsWriter:
    """metrics.jsonl, one object a line, and optionally TensorBoard.

    Lines past the restored step are dropped, so each step appears once. All processes hold the same
    lines and the first one writes them. Lines that a full disk refuses are written later.
    """

    def __init__(
        self,
        workdir: Path,
        restored_step: int,
        tensorboard: bool,
        note: Callable[[str], None] = print,
    ) -> None:
        self._path, self._note = workdir / "metrics.jsonl", note
        self.rows = [
            row
            for row in processes.from_first(lambda: read_rows(self._path))
            if row["step"] <= restored_step
        ]
        self._complete = False  # whether the file has all rows
        self._store(self.rows)
        self._tensorboard: Any = None
        if tensorboard and processes.is_first():
            from tensorboardX import SummaryWriter

            self._tensorboard = SummaryWriter(
                str(workdir / "tensorboard"), purge_step=restored_step + 1, flush_secs=FLUSH_SECONDS
            )

    def write(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        """Adds a line with `step`, `split` and the metrics unless there is one already."""
        if self.has(step, split):
            return
        row = {"step": step, "split": split, **metrics}
        self.rows.append(row)
        self._store([row])
        if self._tensorboard is not None:
            for name, value in metrics.items():
                self._tensorboard.add_scalar(f"{split}/{name}", value, step)

    def _store(self, new_rows: Sequence[dict[str, Any]]) -> None:
        if not processes.is_first():
            return
        try:
            if self._complete:
                self._complete = False
                with self._path.open("a") as file:
                    file.write("".join(json.dumps(row) + "\n" for row in new_rows))
            else:
                write_text(self._path, "".join(json.dumps(row) + "\n" for row in self.rows))
            self._complete = True
        except OSError as error:
            self._note(f"Cannot write {self._path} ({error}); its lines are written later.")

    def has(self, step: int, split: str) -> bool:
        """Whether there is a line for that step and split."""
        return any(row["step"] == step and row["split"] == split for row in self.rows)


def best_step(rows: Sequence[Mapping[str, Any]], steps: Sequence[int], metric: str) -> int | None:
    """The one of some steps with the lowest validation metric; None if no step has the metric.

    Args:
      rows: of a metrics.jsonl.
      steps: to choose from.
      metric: its name in the rows.
    """
    found = {
        row["step"]: row[metric]
        for row in rows
        if row["split"] == "validation" and row["step"] in steps and metric in row
    }
    return min(found, key=found.__getitem__, default=None)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl up to the first incomplete one; [] if there is no file."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if not isinstance(row, dict) or not row.keys() >= {"step", "split"}:
            break  # a killed run may have written half of its last line
        rows.append(row)
    return rows
