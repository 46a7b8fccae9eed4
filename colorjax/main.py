"""`python -m colorjax.main --config=configs/gan.py`: trains the model of a config."""

import shlex
import sys
from pathlib import Path

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from colorjax.parallel import RESUME, huge_pages
from colorjax.terminal.arguments import explain_flags
from colorjax.terminal.errors import EndedError, InputError, exit_status

CONFIG = config_flags.DEFINE_config_file("config", help_string="Such as configs/gan.py.")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder; runs/<config>-<data set> by default.")
COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "HOST:PORT of the first of several processes."
)
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "Number of processes.")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "Index of this process, from 0.")
DISTRIBUTED = flags.DEFINE_bool("distributed", False, "Take these from Slurm, GKE or a TPU.")
STOPPED_STATUS = flags.DEFINE_integer("stopped_status", 0, "Exit status after SIGTERM.")


def train() -> None:
    """Trains as the flags say, together with the other processes, and prints the results."""
    config = parse_flags()
    # Not at the top: wrong flags are answered before JAX is loaded.
    from colorjax.parallel import devices, processes
    from colorjax.parallel.stopping import StopRequested
    from colorjax.report import tables
    from colorjax.training.inflight import NonFiniteError
    from colorjax.training.train import train_and_evaluate

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
            print(f"The report is in {workdir / 'report'}, sample grids in {workdir / 'samples'}.")


def parse_flags() -> ConfigDict:
    """The config of the command line. Raises InputError if a flag or the config is wrong."""
    try:
        app.define_help_flags()
        rest = flags.FLAGS(sys.argv)[1:]
        if CONFIG.value is not None:
            CONFIG.value.lock()  # fails if the file could not be loaded
    except Exception as error:  # a config file may raise anything
        raise InputError(explain_flags(error)) from error
    if CONFIG.value is None:
        raise InputError("--config is missing; for instance --config=configs/gan.py")
    if rest:
        raise InputError(f"unexpected argument {rest[0]!r}; write --config.KEY=VALUE")
    return CONFIG.value


if __name__ == "__main__":
    huge_pages.restart()
    sys.exit(exit_status(train, f"stopped; {RESUME}"))
