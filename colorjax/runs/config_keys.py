"""Config keys: their valid values, which may change on resume, and which are private.

configs/ has the meaning, unit and default of each key.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from colorjax.damage import DAMAGES
from colorjax.models import DTYPES, GENERATORS, SIZE_MULTIPLE
from colorjax.terminal.arguments import TEMPERATURE_RULE, is_temperature
from colorjax.terminal.errors import InputError


class Key(NamedTuple):
    """One key.

    Attributes:
      rule: the valid values, in words that follow "must be".
      valid: whether a value is one of them. Floats must be finite as well.
      may_change: whether a run may be resumed with another value.
      private: whether the key stays out of exported files, as it names paths or commands.
      absent: the value of runs that are older than the key.
    """

    rule: str = ""
    valid: Callable[[Any], bool] = lambda value: True
    may_change: bool = False
    private: bool = False
    absent: Any = None


def _one_of(*names: str) -> Key:
    return Key(f"one of {', '.join(names)}", lambda value: value in names)


POSITIVE = Key("more than 0", lambda value: value > 0)
NOT_NEGATIVE = Key("0 or more", lambda value: value >= 0)
AT_LEAST_1 = Key("at least 1", lambda value: value >= 1)
SHARE = Key("in [0, 1]", lambda value: 0 <= value <= 1)
DECAY = Key("in [0, 1)", lambda value: 0 <= value < 1)
ANY = Key()
# The data's own key identifies them, wherever they lie.
PLACE = Key(may_change=True, private=True)
PATH = Key(private=True)

OPTIMIZER = {
    "learning_rate": POSITIVE,
    "final_share": SHARE,
    "warmup_steps": NOT_NEGATIVE,
    "b1": DECAY,
    "b2": DECAY,
    "weight_decay": NOT_NEGATIVE,
    "clip_norm": POSITIVE,
}

KEYS: dict[str, Key] = {
    "seed": Key("in [0, 2**32)", lambda value: 0 <= value < 2**32),
    "num_steps": Key("at least 2", lambda value: value >= 2, may_change=True),
    "batch_size": AT_LEAST_1,
    "accumulate_steps": AT_LEAST_1,
    "image_size": Key(
        f"a multiple of {SIZE_MULTIPLE}, as the model halves it five times",
        lambda value: value > 0 and value % SIZE_MULTIPLE == 0,
    ),
    "dataset.name": ANY,
    "dataset.path": PLACE,
    "dataset.validation_path": PLACE,
    "dataset.cache_dir": PLACE,
    "dataset.variant": ANY._replace(may_change=True),
    "dataset.min_chroma": NOT_NEGATIVE,
    "dataset.min_scale": Key("in (0, 1]", lambda value: 0 < value <= 1),
    "dataset.flip": ANY,
    "dataset.workers": Key("-1, 0 or more", lambda value: value >= -1, may_change=True),
    **{f"damage.{name}": SHARE for name in ("probability", *DAMAGES)},
    "model.name": _one_of(*GENERATORS),
    "model.width": POSITIVE,
    "model.dtype": _one_of("auto", *DTYPES),
    "model.skip_connections": ANY,
    "model.output_stride": Key("1 or 4", lambda value: value in (1, 4), absent=1),
    "model.encoder_weights": PATH,
    "init_from": PATH,
    "loss": _one_of("l1", "l2", "huber"),
    "huber_delta": POSITIVE,
    "distribution": NOT_NEGATIVE._replace(absent=0.0),
    "temperature": Key(TEMPERATURE_RULE, is_temperature, absent=0.0),
    "hints": SHARE._replace(absent=0.0),
    **{f"optimizer.{name}": key for name, key in OPTIMIZER.items()},
    "ema_decay": DECAY,
    "generator_pretrain_steps": NOT_NEGATIVE._replace(may_change=True),
    "gan.loss": _one_of("non_saturating", "hinge", "least_squares"),
    "gan.regression_weight": NOT_NEGATIVE,
    "gan.width": POSITIVE,
    "gan.spectral_norm": ANY,
    "gan.augment_shift": SHARE,
    "gan.augment_cut": SHARE,
    **{f"gan.optimizer.{name}": key for name, key in OPTIMIZER.items()},
    "log_every": AT_LEAST_1._replace(may_change=True),
    "eval_every": AT_LEAST_1._replace(may_change=True),
    "checkpoint_every": AT_LEAST_1._replace(may_change=True),
    "checkpoints_to_keep": AT_LEAST_1._replace(may_change=True),
    "best_checkpoint": ANY._replace(may_change=True),
    "deterministic": ANY._replace(may_change=True),
    "tensorboard": ANY._replace(may_change=True),
    # Added when a run starts: the command line, for the report.
    "command": PLACE,
}


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of a nested config by dotted key."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def check_values(config: Mapping[str, Any]) -> None:
    """Raises InputError for the first value that is not valid for its key."""
    for name, value in flatten(config).items():
        key = KEYS.get(name, ANY)
        finite = not isinstance(value, float) or math.isfinite(value)
        if not finite or not key.valid(value):
            rule = key.rule if finite else f"finite and {key.rule}"
            raise InputError(f"config.{name}={value!r} is not valid; it must be {rule}")


def without_private(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested config without its private keys."""
    return {
        name: without_private(value, f"{prefix}{name}.") if isinstance(value, Mapping) else value
        for name, value in config.items()
        if not KEYS.get(prefix + name, ANY).private
    }
