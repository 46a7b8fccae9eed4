import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
# Python runs this at its start.
SITE = """
import os
with open(os.environ["STARTS"], "a") as file:
    print(os.getpid(), os.environ.get("GLIBC_TUNABLES"), file=file)
"""


@pytest.fixture
def run(tmp_path):
    """Runs Python; gives the process and its starts: (process number, setting)."""
    (tmp_path / "sitecustomize.py").write_text(SITE)
    starts = tmp_path / "starts"

    def run(*arguments, setting=None, program=sys.executable, **options):
        path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", os.getcwd())])
        env = {**os.environ, "STARTS": str(starts), "PYTHONPATH": path}
        del env["GLIBC_TUNABLES"]
        env |= {} if setting is None else {"GLIBC_TUNABLES": setting}
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, env=env, **options
        )
        return done, [line.split(" ", 1) for line in starts.read_text().splitlines()]

    return run


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "colorjax.cli", "--version"],
        ["-m", "colorjax.main", "--config=nosuch.py"],
        ["-m", "colorjax.benchmark", "train", "--steps=0"],
    ],
)
def test_a_command_restarts_once_as_the_same_process(run, command):
    done, ((first, before), (second, after)) = run(*command)
    assert (first, before, after) == (second, "None", "glibc.malloc.hugetlb=1")
    assert (done.stdout + done.stderr).startswith("colorjax")


def test_a_setting_is_kept(run):
    _, starts = run("-m", "colorjax.cli", "--version", setting="glibc.malloc.check=0")
    assert [setting for _, setting in starts] == ["glibc.malloc.check=0"]


def test_other_programs_do_not_restart(run, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("from colorjax import cli\nprint('once')\ncli.main(['--version'])")
    done, starts = run(script)
    assert (done.stdout.count("once"), len(starts)) == (1, 1)
    done, starts = run("-c", "import colorjax.cli as cli; cli.command()", input="")
    assert len(starts) == 2
    assert "usage: colorjax" in done.stdout


def test_a_command_that_cannot_restart_runs_on(run, tmp_path):
    """Without the name of the program, Python does not know what to start."""
    command = f"exec -a nosuch {sys.executable} -m colorjax.cli --version"
    done, _ = run("-c", command, program="bash", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
