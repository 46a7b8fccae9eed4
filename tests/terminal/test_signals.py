"""Signals end a command in one line, and leave nothing behind."""

import os
import signal
import subprocess
import sys

import pytest
import support
from waiting import wait

from colorjax.terminal import signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_a_command_and_its_temporary_files_go(tmp_path, number):
    """While it reads standard input, so that it has a temporary file; after nohup, too."""
    ignored = "" if number == signal.SIGHUP else "trap '' HUP; "
    with subprocess.Popen(
        ["sh", "-c", f"{ignored}exec {sys.executable} -m colorjax.cli colorize -"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=support.environment() | {"TMPDIR": str(tmp_path)},
    ) as process:
        try:
            wait(lambda: list(tmp_path.glob("colorjax-*/*")))
            if ignored:
                process.send_signal(signal.SIGHUP)
            process.send_signal(number)
            _, error = process.communicate(timeout=120)
        finally:
            process.kill()
    assert (process.returncode, error) == (130, b"colorjax: stopped\n")
    assert not list(tmp_path.iterdir())


def test_a_signal_during_imports_takes_effect_after_them():
    steps = []

    @signals.delayed()
    def imports():
        os.kill(os.getpid(), signal.SIGTERM)
        steps.append("imported")

    with signals.raised():
        before = signal.getsignal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            imports()
        assert steps == ["imported"]
        assert signal.getsignal(signal.SIGTERM) == before
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    with signals.delayed():  # nothing happens
        pass
