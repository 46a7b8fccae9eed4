"""The command line: wrong input gives one line and exit status 2, and leaves nothing behind."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import support
from waiting import wait

CONFIGS = support.ROOT / "configs"
CNN = f"--config={CONFIGS / 'cnn.py'}"
GAN = f"--config={CONFIGS / 'gan.py'}"
FOLDER = "--config.dataset.name=image_folder"


class Outcome(NamedTuple):
    """Exit status, outputs and new files of a process."""

    status: int
    out: str
    err: str
    left: list[str]


# name: arguments, words of the one line. {here} is the folder of the process.
WRONG = {
    "unknown key": ([CNN, "--config.nonsense=1"], ["no key 'nonsense'; configs/common.py"]),
    "misspelt key": (
        [CNN, "--config.batchsize=4"],
        ["no key 'batchsize'; did you mean 'batch_size'?"],
    ),
    "misspelt key in a group": ([CNN, "--config.model.widht=1"], ["'widht'; did you mean 'width'"]),
    "a key of another config": ([CNN, "--config.gan.loss=hinge"], ["no key 'gan'"]),
    "unknown flag": ([CNN, "--nonsense=1"], ["nonsense"]),
    "unknown data set": ([f"{GAN}:nonsense"], ["'nonsense'", "procedural_faces"]),
    "config that is not there": ([f"--config={CONFIGS / 'vae.py'}"], ["vae.py"]),
    "config that fails": (["--config={here}/fails.py"], ["fails.py", "two"]),
    "config without get_config": (["--config={here}/none.py"], ["get_config"]),
    "no config": ([], ["--config", "configs/gan.py"]),
    "no config but a key": (["--config.num_steps=2"], ["config"]),
    "stray argument": ([CNN, "num_steps=3"], ["'num_steps=3'", "--config.KEY=VALUE"]),
    "no integer": ([CNN, "--config.num_steps=abc"], ["abc"]),
    "no truth value": ([CNN, "--config.dataset.flip=maybe"], ["maybe"]),
    "path that is not there": (
        [CNN, FOLDER, "--config.dataset.path={here}/nowhere"],
        ["nowhere", "does not exist"],
    ),
    "no readable image": (
        [CNN, FOLDER, "--config.dataset.path={here}/unreadable"],
        ["unreadable", "can be read"],
    ),
    "no path": ([CNN, FOLDER], ["config.dataset.path"]),
    "path that nothing reads": ([CNN, "--config.dataset.path={here}/empty"], ["procedural_faces"]),
    "batch size": ([CNN, "--config.batch_size=12"], ["12", "8 devices"]),
    "image size": ([CNN, "--config.image_size=40"], ["image_size=40", "multiple of 32"]),
    "rate that is not finite": (
        [CNN, "--config.optimizer.learning_rate=nan"],
        ["config.optimizer.learning_rate=nan is not valid; it must be finite and more than 0"],
    ),
    "unknown loss": ([CNN, "--config.loss=l3"], ["config.loss='l3'", "huber"]),
    # {tiny} stands for the arguments of a valid run.
    "workdir that is a file": (["{tiny}", "--workdir={here}/fails.py"], ["fails.py", "--workdir"]),
    "workdir in a file": (["{tiny}", "--workdir={here}/fails.py/a"], ["fails.py", "--workdir"]),
    "start that is no run": (["{tiny}", "--config.init_from={here}/empty"], ["empty", "not a run"]),
    "weights for another model": (
        ["{tiny}", "--config.model.encoder_weights={here}/r.pth"],
        ["config.model.name='resnet'", "'encoder_decoder'"],
    ),
}

# Forks a process for each case, so that the imports run once.
SERVER = """
import json, os, runpy, sys
import tensorflow_datasets
import colorjax.training.train, colorjax.data.image_folder, colorjax.data.procedural
for folder, arguments in json.load(sys.stdin):
    child = os.fork()
    if not child:
        os.chdir(folder)
        for number, name in ((1, "../out"), (2, "../err")):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), number)
        sys.argv = ["main.py", *arguments]
        status = 1
        try:
            runpy.run_module("colorjax.main", run_name="__main__", alter_sys=True)
        except SystemExit as error:
            status = error.code
        except BaseException:
            import traceback
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status or 0)
    with open(folder + "/../status", "w") as file:
        file.write(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
"""


def _prepare(folder: Path) -> Path:
    """The folder in which a process runs, with files that are wrong."""
    (folder / "here" / "empty").mkdir(parents=True)
    (folder / "here" / "unreadable" / "somebody").mkdir(parents=True)
    (folder / "here" / "unreadable" / "somebody" / "1.png").write_bytes(b"no png")
    (folder / "here" / "fails.py").write_text("raise ValueError('two')\n")
    (folder / "here" / "none.py").write_text("")
    return folder / "here"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """The outcome of each wrong command."""
    cases, before = [], {}
    for name, (arguments, _) in WRONG.items():
        here = _prepare(tmp_path_factory.mktemp(name.replace(" ", "-")))
        before[name] = support.files(here)
        tiny = support.flags("cnn") if "{tiny}" in arguments else []
        given = [argument.format(here=here) for argument in arguments if argument != "{tiny}"]
        cases.append((str(here), tiny + given))
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SERVER],
        input=json.dumps(cases),
        env=support.environment(),
        text=True,
        check=True,
    )
    result = {}
    for name, (here, _) in zip(WRONG, cases, strict=True):
        folder = Path(here).parent
        result[name] = Outcome(
            int((folder / "status").read_text()),
            (folder / "out").read_text(),
            (folder / "err").read_text(),
            [file for file in support.files(Path(here)) if file not in before[name]],
        )
    return result


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_gives_one_line_and_status_two_and_leaves_nothing(outcomes, name):
    status, out, err, left = outcomes[name]
    *remarks, line = err.splitlines()
    assert status == 2, err
    assert line.startswith("colorjax: ")
    assert all(word in line for word in WRONG[name][1]), line
    assert out == ""
    assert [file for file in left if "__pycache__" not in file] == []
    # At most what was prepared and how many images were used comes before it.
    assert all(remark.startswith(("Checking images", "Of ")) for remark in remarks), err


def _main(folder, *arguments, **environment):
    before = support.files(folder)
    done = subprocess.run(
        [sys.executable, "-m", "colorjax.main", *arguments],
        cwd=folder,
        env=support.environment() | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    left = [file for file in support.files(folder) if file not in before]
    return Outcome(done.returncode, done.stdout, done.stderr, left)


def test_help_lists_the_flags_and_is_no_error(tmp_path):
    status, out, err, left = _main(tmp_path, "--help")
    assert status in (0, 1)  # absl's own choice is 1
    assert "--config" in out + err
    assert "--workdir" in out + err
    assert "Traceback" not in out + err
    assert left == []


def test_a_run_by_the_command_says_where_its_report_is(tmp_path):
    """The same arguments as the run that this process trained: it gives the same metrics."""
    workdir = support.copy_until(support.trained("cnn"), 4, tmp_path / "run")
    status, out, err, _ = _main(tmp_path, "--workdir=run", *support.flags("cnn"))
    assert status == 0, err
    assert "Resuming from step 4" in out
    assert "| mean colour for each lightness |" in out
    assert out.splitlines()[-1] == ("The report is in run/report, sample grids in run/samples.")
    assert "Traceback" not in err
    assert support.rows_but_rate(workdir) == support.rows_but_rate(support.trained("cnn"))


@pytest.mark.slow
def test_ctrl_c_gives_one_line_and_status_130(tmp_path):
    flags = support.flags("cnn", num_steps=100_000, checkpoint_every=10)
    with subprocess.Popen(
        [sys.executable, "-m", "colorjax.main", f"--workdir={tmp_path / 'run'}", *flags],
        env=support.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            checkpoint = tmp_path / "run" / "checkpoints" / "10"
            wait(lambda: process.poll() is not None or checkpoint.exists(), 240)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == 130, err
    assert err.splitlines()[-1].startswith("colorjax: stopped; the same command resumes")
    assert "Traceback" not in err
