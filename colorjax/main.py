"""`python -m colorjax.main --config=configs/gan.py`: trains the model of a config."""

import logging
import os
import sys
from pathlib import Path

import jax
from absl import flags
from ml_collections import config_flags

from colorjax import report
from colorjax.errors import InputError
from colorjax.train import NonFiniteError, train_and_evaluate

CONFIG = config_flags.DEFINE_config_file("config", help_string="As configs/gan.py:image_folder.")
WORKDIR = flags.DEFINE_string(
    "workdir", None, "The folder of the run; by default runs/<config>-<data set>."
)


def main() -> int:
    """Parses the flags and trains. Returns the exit status."""
    logging.basicConfig(format="%(message)s")
    try:
        parse_flags()
        keep_compiled()
        config = CONFIG.value
        name = Path(config_flags.get_config_filename(flags.FLAGS["config"])).stem
        workdir = Path(WORKDIR.value or f"runs/{name.split('.')[0]}-{config.dataset.name}")
        results = train_and_evaluate(config, workdir)
    except InputError as error:
        print(f"colorjax: {error}", file=sys.stderr)
        return 2
    except NonFiniteError as error:
        print(f"colorjax: training stopped at {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("colorjax: stopped; the same command goes on from the newest checkpoint.")
        return 130
    print(report.results_table(results))
    print(f"The report is in {workdir / 'report'}, sample grids in {workdir / 'samples'}.")
    return 0


def parse_flags() -> None:
    """Raises InputError for whatever is wrong on the command line, in one line."""
    try:
        rest = flags.FLAGS(sys.argv)[1:]
    # A config file is code of the user's: it may raise anything.
    except Exception as error:
        message = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"{message[0]} (--help lists the flags)") from error
    if rest:
        raise InputError(f"{rest[0]!r} is no flag; write --config.KEY=VALUE (--help lists them)")
    if CONFIG.value is None:
        raise InputError("--config is missing; for instance --config=configs/gan.py")


def keep_compiled() -> None:
    """Keeps compiled steps in the user's cache, unless JAX was told of another place."""
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        jax.config.update("jax_compilation_cache_dir", str(cache / "colorjax/compilation"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


if __name__ == "__main__":
    sys.exit(main())
