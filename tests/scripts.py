"""A copy of the launch scripts, with a Python that only writes down what it is asked.

Beside it lie an nvidia-smi and an apt-get of the same kind.
"""

import os
import shlex
import shutil
import stat
import subprocess
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
# Stands for the user's Python and, copied, for that of `.venv`.
PYTHON = """#!/usr/bin/env bash
# In one piece: several may write at once.
printf '%s\\n' "$(printf '%q ' "$@")" >>"$CALLS"
case "$1 $2" in
"-c "*version_info\\[:2\\]*) echo "$FAKE_VERSION" ;;
"-c "*ensurepip*) exit "${FAKE_ENSUREPIP_STATUS:-0}" ;;
"-m venv")
    rm -rf .venv
    mkdir -p .venv/bin ".venv/lib/python$FAKE_VERSION"
    cp "$0" .venv/bin/python
    echo "command = $0 -m venv $PWD/.venv" >.venv/pyvenv.cfg
    ;;
"-m pip")
    [[ -z ${FAKE_PIP_KILLS-} ]] || kill -INT 0
    exit "${FAKE_PIP_STATUS:-0}"
    ;;
"-m ruff" | "-m mypy") ;;
"-m "*) exit "${FAKE_STATUS:-0}" ;;
esac
"""
# Nothing is ever installed on the machine that runs the tests.
APT_GET = """#!/usr/bin/env bash
printf '%q ' apt-get "$@" >>"$CALLS"
echo >>"$CALLS"
echo "what apt-get says"
exit "${FAKE_APT_STATUS:-0}"
"""
NVIDIA_SMI = '#!/usr/bin/env bash\necho "GPU 0: NVIDIA of Some Kind (UUID: GPU-0)"\n'


def write_executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


class Checkout(NamedTuple):
    """A copy of the scripts; `root` has a space in its name, and `bin` goes first in PATH."""

    root: Path
    bin: Path
    calls: Path

    def run(self, *command: str, cwd: Path | None = None, **environment: str):
        """Returns the finished process and the list of the calls of Python that it made."""
        self.calls.write_text("")
        done = subprocess.run(
            command,
            cwd=cwd or self.root,
            env={
                "PATH": f"{self.bin}:{os.environ['PATH']}",
                "CALLS": str(self.calls),
                "FAKE_VERSION": "3.11",
                **environment,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            start_new_session=True,
            check=False,
        )
        calls = [shlex.split(line) for line in self.calls.read_text().splitlines()]
        return done, [call for call in calls if call[0] != "-c"]

    def train(self, *arguments: str, **environment: str):
        return self.run("./launch/train.sh", *arguments, **environment)


def make_checkout(tmp_path: Path) -> Checkout:
    root, bin = tmp_path / "a checkout", tmp_path / "bin"
    bin.mkdir()
    shutil.copytree(ROOT / "launch", root / "launch")
    shutil.copy(ROOT / "pyproject.toml", root)
    write_executable(bin / "python3", PYTHON)
    # One that is found on every machine, so that what is found does not depend on the machine.
    write_executable(bin / "nvidia-smi", NVIDIA_SMI)
    write_executable(bin / "apt-get", APT_GET)
    for browser in ("chromium", "chromedriver"):
        write_executable(bin / browser, "#!/bin/sh\nexit 9\n")
    return Checkout(root, bin, tmp_path / "calls")


def modules(calls: list[list[str]]) -> list[str]:
    return [call[1] for call in calls]
