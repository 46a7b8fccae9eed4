"""A copy of the launch scripts, with stubs of Python, nvidia-smi and apt-get that log calls."""

import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
# The user's Python and, copied, that of `.venv`. One write for each call: several may run at once.
PYTHON = """#!/usr/bin/env bash
printf '%s\\n' "$(printf '%q ' "$@")" >>"$CALLS"
case "$1 $2" in
"-V ") echo "Python $FAKE_VERSION" ;;
"-c "*ensurepip*) exit "${FAKE_ENSUREPIP_STATUS:-0}" ;;
"-m venv")
    rm -rf .venv
    mkdir -p .venv/bin
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
APT_GET = """#!/usr/bin/env bash
printf '%q ' apt-get "$@" >>"$CALLS"
echo >>"$CALLS"
echo "what apt-get says"
exit "${FAKE_APT_STATUS:-0}"
"""
NVIDIA_SMI = '#!/usr/bin/env bash\necho "GPU 0: NVIDIA of Some Kind (UUID: GPU-0)"\n'


def write_executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


class Checkout(NamedTuple):
    """A copy of the scripts. `root` has a space in its name; `bin` comes first in PATH."""

    root: Path
    bin: Path
    calls: Path

    def run(self, *command: str, cwd: Path | None = None, **environment: str):
        """Returns the finished process and the calls of stubs that it made, but for questions."""
        self.calls.write_text("")
        # Commands in the background of a shell ignore SIGINT, and so do their children.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            done = subprocess.run(
                command,
                cwd=cwd or self.root,
                env={
                    "PATH": f"{self.bin}:{os.environ['PATH']}",
                    "CALLS": str(self.calls),
                    "FAKE_VERSION": "3.11.1",
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                start_new_session=True,
                check=False,
            )
        finally:
            signal.signal(signal.SIGINT, before)
        calls = [shlex.split(line) for line in self.calls.read_text().splitlines()]
        return done, [call for call in calls if call[0] not in ("-c", "-V")]

    def train(self, *arguments: str, **environment: str):
        return self.run("./launch/train.sh", *arguments, **environment)


def make_checkout(tmp_path: Path) -> Checkout:
    root, bin = tmp_path / "a checkout", tmp_path / "bin"
    bin.mkdir()
    shutil.copytree(ROOT / "launch", root / "launch")
    shutil.copy(ROOT / "pyproject.toml", root)
    write_executable(bin / "python3", PYTHON)
    write_executable(bin / "nvidia-smi", NVIDIA_SMI)
    write_executable(bin / "apt-get", APT_GET)
    for browser in ("chromium", "chromedriver"):
        write_executable(bin / browser, "#!/bin/sh\nexit 9\n")
    return Checkout(root, bin, tmp_path / "calls")


def modules(calls: list[list[str]]) -> list[str]:
    return [call[1] for call in calls]
