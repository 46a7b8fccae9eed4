"""The folder of a run: its config, its metrics, and whether it may be gone on with."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from colorjax.errors import InputError
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
    "tensorboard",
    "command",
}
# Where things lie says nothing about what they are: the data set's key does.
PLACE_KEYS = {"dataset.path", "dataset.validation_path", "dataset.cache_dir", "dataset.variant"}


def claim(workdir: Path, config: Mapping[str, Any], data_key: str) -> None:
    """Writes config.json; or, if there is one, checks that it is of the same run.

    Args:
      workdir: made if it is not there.
      config: the run's, as plain dicts.
      data_key: identifies the data by their contents.

    Raises:
      InputError: the workdir's run differs in more than lengths and cadences, or cannot be written.
    """
    path = workdir / "config.json"
    mine = {**config, "data": data_key}
    try:
        theirs = _flat(json.loads(path.read_text())) if path.exists() else _flat(mine)
    except (ValueError, AttributeError) as error:  # no JSON, or no object
        raise InputError(f"{path} is damaged ({error}); choose another --workdir") from error
    _compare(theirs, _flat(mine), workdir)
    try:
        write_text(path, json.dumps(mine, indent=2) + "\n")
    except OSError as error:
        raise InputError(
            f"cannot write to {workdir} ({error}); choose another --workdir"
        ) from error


def _compare(theirs: dict[str, Any], mine: dict[str, Any], workdir: Path) -> None:
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

    Lines past the step from which a run goes on are dropped: every step stands there once.
    """

    def __init__(self, workdir: Path, restored_step: int, tensorboard: bool) -> None:
        self._path = workdir / "metrics.jsonl"
        self.rows = [row for row in read_rows(self._path) if row["step"] <= restored_step]
        write_text(self._path, "".join(json.dumps(row) + "\n" for row in self.rows))
        self._tensorboard = _tensorboard_writer(workdir, restored_step) if tensorboard else None

    def write(self, step: int, split: str, figures: Mapping[str, float]) -> None:
        """Adds a line with `step`, `split` and the figures, unless that line stands there."""
        if any(row["step"] == step and row["split"] == split for row in self.rows):
            return
        row = {"step": step, "split": split, **figures}
        self.rows.append(row)
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        if self._tensorboard is not None:
            for name, value in figures.items():
                self._tensorboard.add_scalar(f"{split}/{name}", value, step)
            self._tensorboard.flush()

    def figures(self, split: str) -> dict[str, float] | None:
        """The newest figures of a split, if there are any."""
        for row in reversed(self.rows):
            if row["split"] == split:
                return {key: value for key, value in row.items() if key not in ("step", "split")}
        return None


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
