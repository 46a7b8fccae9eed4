"""The folder of a run: its config, its metrics, and whether it may be gone on with."""

import contextlib
import errno
import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from colorjax.parallel import processes
from colorjax.terminal.errors import InputError
from colorjax.files import write_text

# Lengths, cadences and who reads: a run may go on with other ones.
FREE_KEYS = {
    "dataset.workers",
    "num_steps",
    "generator_pretrain_steps",
    "log_every",
    "eval_every",
    "checkpoint_every",
    "checkpoints_to_keep",
    "best_checkpoint",
    "keep_checkpoint",
    "deterministic",
    "tensorboard",
    "command",
}
# What a run was that was begun before the key existed.
DEFAULTS = {"half_size_steps": 0}
# Where things lie says nothing about what they are: the data set's key does.
PLACE_KEYS = {"dataset.path", "dataset.validation_path", "dataset.cache_dir", "dataset.variant"}


@contextlib.contextmanager
def claimed(workdir: Path, config: Mapping[str, Any], data_key: str) -> Iterator[None]:
    """Claims the workdir for as long as this is entered: no other process may train in it.

    The first process alone looks at the workdir, and the others learn what it found.

    Args:
      workdir: made if it is not there.
      config: the run's, as plain dicts.
      data_key: identifies the data by their contents.

    Raises:
      InputError: as `claim` does; or another process trains there.
    """
    held: list[IO[str]] = []

    def take() -> None:
        _check(workdir, config, data_key)  # before anything is written
        held.append(_locked(workdir))
        claim(workdir, config, data_key)

    try:
        processes.from_first(take)
        yield
    finally:
        for file in held:
            file.close()


def _locked(workdir: Path) -> IO[str]:
    """The workdir's lock, held until it is closed; the kernel closes it for a killed process."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = (workdir / "lock").open("a+")
    except OSError as error:
        raise _cannot_write(workdir, error) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise InputError(
                f"{holder} is training in {workdir}; wait for its end, or choose another --workdir"
            ) from error
        # Some network file systems know no locks: then it is up to the user.
    else:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
    return file


def claim(workdir: Path, config: Mapping[str, Any], data_key: str) -> None:
    """Writes config.json; or, if there is one, checks that it is of the same run.

    Args:
      workdir: made if it is not there.
      config: the run's, as plain dicts.
      data_key: identifies the data by their contents.

    Raises:
      InputError: the workdir's run differs in more than lengths and cadences, or cannot be written.
    """
    mine = _check(workdir, config, data_key)
    try:
        write_text(workdir / "config.json", json.dumps(mine, indent=2) + "\n")
    except OSError as error:
        raise _cannot_write(workdir, error) from error


def _check(workdir: Path, config: Mapping[str, Any], data_key: str) -> dict[str, Any]:
    path = workdir / "config.json"
    mine = {**config, "data": data_key}
    try:
        theirs = _flat(json.loads(path.read_text())) if path.exists() else _flat(mine)
    except (ValueError, AttributeError) as error:  # no JSON, or no object
        raise InputError(f"{path} is damaged ({error}); choose another --workdir") from error
    _compare(theirs, _flat(mine), workdir)
    return mine


def _cannot_write(workdir: Path, error: OSError) -> InputError:
    return InputError(f"cannot write to {workdir} ({error}); choose another --workdir")


def _compare(theirs: dict[str, Any], mine: dict[str, Any], workdir: Path) -> None:
    theirs, mine = DEFAULTS | theirs, DEFAULTS | mine
    keys = sorted((theirs.keys() | mine.keys()) - FREE_KEYS - PLACE_KEYS)
    differ = [key for key in keys if theirs.get(key) != mine.get(key)]
    if differ:
        listed = ", ".join(
            f"{key} ({theirs.get(key)} there, {mine.get(key)} now)" for key in differ
        )
        raise InputError(f"{workdir} holds another run: {listed}; choose another --workdir")


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


class MetricsWriter:
    """metrics.jsonl, one object a line, and TensorBoard beside it if wanted.

    Lines past the step from which a run goes on are dropped: every step stands there once. All
    processes have the same lines, the first alone writes. On a full disk the run goes on, and
    what could not be written is written later.
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
        self._whole = False  # whether the file has all rows
        self._store(self.rows)
        first = processes.is_first()
        self._tensorboard = (
            _tensorboard_writer(workdir, restored_step) if tensorboard and first else None
        )

    def write(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        """Adds a line with `step`, `split` and the metrics, unless that line stands there."""
        if self.has(step, split):
            return
        row = {"step": step, "split": split, **metrics}
        self.rows.append(row)
        self._store([row])
        if self._tensorboard is not None:
            for name, value in metrics.items():
                self._tensorboard.add_scalar(f"{split}/{name}", value, step)
            self._tensorboard.flush()

    def _store(self, new_rows: Sequence[dict[str, Any]]) -> None:
        if not processes.is_first():
            return
        try:
            if self._whole:
                self._whole = False
                with self._path.open("a") as file:
                    file.write("".join(json.dumps(row) + "\n" for row in new_rows))
            else:
                write_text(self._path, "".join(json.dumps(row) + "\n" for row in self.rows))
            self._whole = True
        except OSError as error:
            self._note(f"Cannot write {self._path} ({error}); its lines are kept until it works.")

    def has(self, step: int, split: str) -> bool:
        """Whether there is a line of that step and split."""
        return any(row["step"] == step and row["split"] == split for row in self.rows)


def best_step(rows: Sequence[Mapping[str, Any]], steps: Sequence[int], metric: str) -> int | None:
    """The one of some steps whose validation metric is the lowest, if one has a metric.

    Args:
      rows: of a metrics.jsonl.
      steps: among which to choose.
      metric: its name in the rows.
    """
    found = {
        row["step"]: row[metric]
        for row in rows
        if row["split"] == "validation" and row["step"] in steps and metric in row
    }
    return min(found, key=found.__getitem__, default=None)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl, up to one that is not whole; none if there is no file."""
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


def _tensorboard_writer(workdir: Path, restored_step: int) -> Any:
    from tensorboardX import SummaryWriter

    return SummaryWriter(str(workdir / "tensorboard"), purge_step=restored_step + 1)
