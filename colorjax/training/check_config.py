"""Checks a config before anything is read or written."""

import importlib.util
from pathlib import Path

from ml_collections import ConfigDict

from colorjax.evaluation import scores
from colorjax.models import DTYPES
from colorjax.parallel import devices, processes
from colorjax.runs import config_keys
from colorjax.runs.trained_model import read_config
from colorjax.terminal.errors import InputError

# The best checkpoint is the one with the lowest of one of these.
METRICS = tuple(key for key, column in scores.COLUMNS.items() if column.better < 0)
# Models that are as fast in float32 on a CPU with matrix units. On a Xeon with AMX bfloat16 took
# the CNN from 7.8 to 9.3 images per CPU-second, as much as kernels.py has gained in float32 since,
# and the ResNet's generator from 4.7 to 8.4. EfficientNet's depthwise convolutions are no products.
FASTER_IN_FLOAT32 = ("encoder_decoder", "efficientnet_lite")


def fastest_dtype(model: str) -> str:
    """The dtype in which this machine trains a model fastest: float32 or bfloat16."""
    has_units = devices.multiplies_bfloat16()
    on_cpu = devices.one_device().platform == "cpu"
    return "bfloat16" if has_units and not (on_cpu and model in FASTER_IN_FLOAT32) else "float32"


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
    if config.temperature and not config.distribution:
        raise InputError(
            f"config.temperature={config.temperature:g} needs a distribution, which this model "
            "does not predict; set config.distribution above 0, or config.temperature to 0"
        )
    if config.temperature and "gan" in config:
        raise InputError(
            "config.temperature must be 0 for a GAN: its discriminator judges the answer of the "
            "regression"
        )
    if config.tensorboard and importlib.util.find_spec("tensorboardX") is None:
        raise InputError("config.tensorboard needs tensorboardX; pip install '.[tensorboard]'")
