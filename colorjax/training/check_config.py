"""Checks a config before anything is read or written."""

import importlib.util
from pathlib import Path

from ml_collections import ConfigDict

from colorjax.evaluation import scores
from colorjax.models import DTYPES, fastest_dtype
from colorjax.parallel import devices, processes
from colorjax.runs import config_keys
from colorjax.runs.trained_model import read_config
from colorjax.terminal.errors import InputError

# The best checkpoint is the one with the lowest of one of these.
METRICS = tuple(key for key, column in scores.COLUMNS.items() if column.better < 0)


def with_dtype(config: ConfigDict, workdir: Path) -> ConfigDict:
    """The config with a `model.dtype` of "auto" resolved: that of the run in the workdir, if any.

    Raises:
      InputError: the run's config.json is corrupt.
    """
    if config.model.dtype != "auto":
        return config

    def resolve() -> str:
        found = read_config(workdir) if (workdir / "config.json").exists() else {}
        dtype = config_keys.flatten(found).get("model.dtype")
        return dtype if dtype in DTYPES else fastest_dtype(config.model.name)

    resolved = config.copy_and_resolve_references()
    resolved.model.dtype = processes.from_first(resolve)
    return resolved


def check_config(config: ConfigDict) -> None:
    """Raises InputError for a value that cannot work; names the key and the values that can."""
    config_keys.check_values(config.to_dict())
    devices.check_batch_size(config.batch_size, config.accumulate_steps)
    if config.best_checkpoint not in ("", *METRICS):
        raise InputError(
            f"config.best_checkpoint={config.best_checkpoint!r} is not valid; it must be one of "
            f"{', '.join(METRICS)}, or empty"
        )
    if config.tensorboard and importlib.util.find_spec("tensorboardX") is None:
        raise InputError("config.tensorboard needs tensorboardX; pip install '.[tensorboard]'")
