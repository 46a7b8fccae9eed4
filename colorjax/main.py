"""`python -m colorjax.main --config=configs/gan.py`: trains the model of a config."""

import shlex
import sys
from pathlib import Path

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from colorjax import parallel, tables
from colorjax.errors import InputError, exit_status
from colorjax.train import NonFiniteError, train_and_evaluate

CONFIG = config_flags.DEFINE_config_file("config", help_string="As configs/gan.py:image_folder.")
WORKDIR = flags.DEFINE_string(
    "workdir", None, "The folder of the run; by default runs/<config>-<data set>."
)


def main() -> int:
    """Parses the flags and trains. Returns the exit status."""
    return exit_status(train, "stopped; the same command goes on from the newest checkpoint")


def train() -> None:
    """Trains what the flags say and prints the table."""
    config = parse_flags()
    parallel.keep_compiled()
    name = Path(config_flags.get_config_filename(flags.FLAGS["config"])).name.split(".")[0]
    workdir = Path(WORKDIR.value or f"runs/{name}-{config.dataset.name}")
    command = shlex.join(["python", "-m", "colorjax.main", *sys.argv[1:]])
    try:
        results = train_and_evaluate(config, workdir, command)
    except NonFiniteError as error:
        sys.exit(f"colorjax: training stopped at {error}")
    print(tables.results_table(results))
    print(f"The report is in {workdir / 'report'}, sample grids in {workdir / 'samples'}.")


def parse_flags() -> ConfigDict:
    """The config of the command line. Raises InputError for whatever is wrong there."""
    try:
        app.define_help_flags()
        rest = flags.FLAGS(sys.argv)[1:]
        config = CONFIG.value
        if config is None:
            raise InputError("--config is missing; for instance --config=configs/gan.py")
        config.lock()  # fails if the file could not be loaded
    except InputError:
        raise
    except (KeyError, AttributeError) as error:
        key = str(error).strip("'\"").splitlines()[0]
        raise InputError(f"the config has no key {key}; configs/common.py lists them") from error
    except OSError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise InputError(f"the config cannot be read: {reason}") from error
    # A config file is code of the user's: it may raise anything.
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        message = " ".join(dict.fromkeys((lines[0], lines[-1])))
        raise InputError(f"{message} (--help lists the flags)") from error
    if rest:
        raise InputError(f"{rest[0]!r} is no flag; write --config.KEY=VALUE (--help lists them)")
    return config


if __name__ == "__main__":
    sys.exit(main())
