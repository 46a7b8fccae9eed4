"""Checks a config before anything is read or written."""

import importlib.util

from ml_collections import ConfigDict

from colorjax.evaluation import scores
from colorjax.parallel import devices
from colorjax.runs import config_keys
from colorjax.terminal.errors import InputError

# The best checkpoint is the one with the lowest of one of these.
METRICS = tuple(key for key, column in scores.COLUMNS.items() if column.better < 0)


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
