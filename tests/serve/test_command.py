"""`colorjax serve` as people start it."""

import contextlib
import http.client
import signal
import socket
import subprocess
import sys

import hinted
import pytest
import support

from colorjax import cli
from colorjax.serve import address

COMMAND = """
import importlib.util, sys
from colorjax import cli
if {missing!r}:
    found = importlib.util.find_spec
    importlib.util.find_spec = lambda name, *_: None if name == {missing!r} else found(name)
if {page!r}:  # in place of the real one
    from colorjax.serve import server
    server.page_assets = lambda: {{"index.html": b"a page"}}
    server.GRACE = 60  # machines may be slow
status = cli.main(sys.argv[1:])
if status == 2:
    assert "jax" not in sys.modules
sys.exit(status)
"""


def start(*arguments, missing="", page=False):
    code = COMMAND.format(missing=missing, page=page)
    # What is ignored here, as in the background of a shell, would be ignored there.
    numbers = signal.SIGINT, signal.SIGHUP
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        return subprocess.Popen(
            [sys.executable, "-c", code, "serve", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=support.environment(),
        )
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def test_wrong_input_gives_one_line_and_status_two_before_jax_is_imported():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for arguments, words in (
            (["--port", port], f"port {port} is in use; choose another --port"),
            (["--port", "70000"], "70000 is not in [0, 65535]"),
            (["--host", "no.invalid"], "--host no.invalid is not an address of this machine"),
            (["--host", "192.0.2.1", "--port", "0"], "--host 192.0.2.1 cannot be listened on"),
            (["--model", "nosuch"], "'nosuch' is neither a run"),
        ):
            process = start(*arguments)
            _, error = process.communicate(timeout=600)
            assert process.returncode == 2, error
            assert words in error.splitlines()[-1]
            assert error.count("colorjax: ") == 1


@pytest.mark.parametrize("missing", address.NEEDED)
def test_a_missing_extra_is_named(missing):
    process = start(missing=missing)
    out, error = process.communicate(timeout=600)
    assert (process.returncode, out) == (2, "")
    (line,) = error.splitlines()
    assert f"serve needs {missing}: pip install 'colorjax[web]'" in line


@contextlib.contextmanager
def running(tmp_path, *arguments):
    process = start("--model", hinted.exported(tmp_path), "--port", "0", *arguments, page=True)
    try:
        line = process.stdout.readline()
        if not line.startswith("http://127.0.0.1:"):
            process.kill()
            pytest.fail(process.stderr.read())
        yield process, line.split()[0]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_cleanly_though_a_page_listens(tmp_path, number):
    with running(tmp_path) as (process, url):
        connection = http.client.HTTPConnection(url.removeprefix("http://"))
        connection.request("GET", "/api/queue")
        events = connection.getresponse()
        assert events.status == 200
        assert events.readline().startswith(b"data: ")
        process.send_signal(number)
        _, error = process.communicate(timeout=600)
        connection.close()
    assert process.returncode == 130
    assert error.splitlines()[-1] == "colorjax: stopped"
    assert "Traceback" not in error
    assert "Warning" not in error


def test_it_warns_if_other_machines_reach_it(tmp_path):
    with running(tmp_path, "--host", "0.0.0.0") as (process, _):
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=600)
    assert error.startswith("Warning: everyone who reaches 0.0.0.0 can use this page")
    assert "leave out --host" in error.splitlines()[0]


def test_addresses():
    assert all(map(address.is_loopback, ("127.0.0.1", "127.1.2.3", "::1")))
    assert not any(map(address.is_loopback, ("0.0.0.0", "::", "192.168.1.7")))
    assert address.url("::1", 80) == "http://[::1]:80"
    assert address.url("::", 1) == "http://[::1]:1"
    assert address.url("0.0.0.0", 7860) == "http://127.0.0.1:7860"


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit):
        cli.main(["serve", "--help"])
    assert "example" in capsys.readouterr().out
