"""What cannot work is refused before anything is read or written."""

import functools
import importlib.util

from ml_collections import ConfigDict

from colorjax.models import SIZE_MULTIPLE, build_generator
from colorjax.parallel import devices
from colorjax.report import tables
from colorjax.terminal.errors import InputError
from colorjax.training import losses

# By which the best checkpoint may be chosen: the lower they are the better.
METRICS = tuple(key for key, column in tables.COLUMNS.items() if column.better < 0)


def check_config(config: ConfigDict) -> None:
    """Raises InputError for numbers that cannot work: names the key, and what would."""
    devices.check_batch_size(config.batch_size, config.accumulate_steps)
    if config.image_size < SIZE_MULTIPLE or config.image_size % SIZE_MULTIPLE:
        raise InputError(
            f"config.image_size={config.image_size} cannot be halved five times by the model; "
            f"set it to a multiple of {SIZE_MULTIPLE}"
        )
    if config.half_size_steps > 0 and config.image_size % (2 * SIZE_MULTIPLE):
        raise InputError(
            f"config.half_size_steps={config.half_size_steps} cannot work with config.image_size="
            f"{config.image_size}: its half is no multiple of {SIZE_MULTIPLE}; set it to 0"
        )
    for key, fits, rule in (
        ("num_steps", lambda x: x >= 2, "at least 2"),
        ("log_every", lambda x: x >= 1, "at least 1"),
        ("eval_every", lambda x: x >= 1, "at least 1"),
        ("checkpoint_every", lambda x: x >= 1, "at least 1"),
        ("checkpoints_to_keep", lambda x: x >= 1, "at least 1"),
        ("generator_pretrain_steps", lambda x: x >= 0, "0 or more"),
        ("half_size_steps", lambda x: x >= 0, "0 or more"),
        ("keep_checkpoint", lambda x: x >= 0, "0 or more"),
        ("ema_decay", lambda x: 0 <= x < 1, "in [0, 1)"),
        ("model.width", lambda x: x > 0, "more than 0"),
        ("dataset.min_scale", lambda x: 0 < x <= 1, "in (0, 1]"),
        ("dataset.min_chroma", lambda x: x >= 0, "0 or more"),
        ("dataset.workers", lambda x: x >= -1, "-1, 0 or more"),
        *((f"damage.{key}", lambda x: 0 <= x <= 1, "in [0, 1]") for key in config.damage),
    ):
        value = functools.reduce(getattr, key.split("."), config)
        if not fits(value):
            raise InputError(f"config.{key}={value} cannot work; it must be {rule}")
    # What these raise shall come before data are prepared.
    build_generator(config.model)
    losses.regression_loss(config.loss, config.huber_delta)
    if "gan" in config:
        losses.adversarial_loss(config.gan.loss)
    if config.best_checkpoint not in ("", *METRICS):
        raise InputError(
            f"config.best_checkpoint={config.best_checkpoint!r}: known are {', '.join(METRICS)}, "
            "and nothing for none"
        )
    if config.tensorboard and importlib.util.find_spec("tensorboardX") is None:
        raise InputError(
            "config.tensorboard needs tensorboardX; pip install 'colorjax[tensorboard]'"
        )
