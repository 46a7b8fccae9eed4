"""`python -m colorjax.main --config=configs/gan.py`: trains the model of a config."""

import shlex
import sys
from pathlib import Path

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from colorjax.parallel import devices, processes
from colorjax.parallel.stopping import StopRequested
from colorjax.report import tables
from colorjax.terminal.errors import EndedError, InputError, exit_status
from colorjax.training.inflight import NonFiniteError
from colorjax.training.train import train_and_evaluate

CONFIG = config_flags.DEFINE_config_file("config", help_string="As configs/gan.py:image_folder.")
WORKDIR = flags.DEFINE_string(
    "workdir", None, "The folder of the run; by default runs/<config>-<data set>."
)
COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, of several.")
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many there are.")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which one this is, from 0.")
DISTRIBUTED = flags.DEFINE_bool("distributed", False, "Takes these three from Slurm, GKE or a TPU.")
STOPPED_STATUS = flags.DEFINE_integer("stopped_status", 0, "The exit status after SIGTERM.")


def main() -> int:
    """Parses the flags and trains. Returns the exit status."""
    return exit_status(train, f"stopped; {processes.RESUME}")


def train() -> None:
    """Trains what the flags say, with the other processes if there are any; prints the table."""
    config = parse_flags()
    devices.configure(config.deterministic)
    name = Path(config_flags.get_config_filename(flags.FLAGS["config"])).name.split(".")[0]
    workdir = Path(WORKDIR.value or f"runs/{name}-{config.dataset.name}")
    command = shlex.join(["python", "-m", "colorjax.main", *sys.argv[1:]])
    given = COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value
    with processes.started(*given, detect=DISTRIBUTED.value):
        try:
            results = train_and_evaluate(config, workdir, command)
        except NonFiniteError:
            processes.wait_for_all()  # the first may still be saving
            raise
        except StopRequested as stopped:
            processes.wait_for_all()
            raise EndedError(str(stopped), STOPPED_STATUS.value) from None
        if processes.is_first():
            print(tables.results_table(results))
            shown = workdir / "report", workdir / "samples"
            print("The report is in {}, sample grids in {}.".format(*shown))


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
