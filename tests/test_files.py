"""Files are written completely or not at all, and locks work on every operating system."""

import os
import subprocess
import sys

import pytest
import support

from colorjax import files


@pytest.mark.parametrize("exists", [False, True])
def test_text_that_cannot_be_written_leaves_the_old_file(tmp_path, monkeypatch, exists):
    path = tmp_path / "new" / "a.json"
    if exists:
        files.write_text(path, "old")

    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_text(path, "new")
    assert [file.read_text() for file in path.parent.iterdir()] == (["old"] if exists else [])


def test_text_is_replaced_without_leftovers(tmp_path):
    for text in ("old and longer", "new"):
        files.write_text(tmp_path / "deep" / "a.md", text)
    assert (tmp_path / "deep" / "a.md").read_text() == "new"
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["a.md"]


def test_a_lock_is_waited_for_until_its_process_is_killed(tmp_path, capfd):
    code = (
        "import sys, pathlib\nfrom colorjax.files import locked\n"
        "with locked(pathlib.Path(sys.argv[1])):\n    print('locked', flush=True)\n"
        "    sys.stdin.read()"
    )
    folder = tmp_path / "new"
    command = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"locked\n"
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as second:
            line = second.stderr.readline().decode()
            was_waiting = second.poll() is None
            holder.kill()
            assert second.wait(timeout=60) == 0
    assert line == f"Waiting for the process that prepares {folder}.\n"
    assert was_waiting
    with files.locked(folder):
        pass
    assert "Waiting" not in capfd.readouterr().err


def test_colouring_can_be_imported_without_fcntl():
    """As on Windows."""
    code = (
        "import sys; sys.modules['fcntl'] = None\n"
        "import colorjax.cli, colorjax.colorize.colorizer, colorjax.runs.weights, colorjax.files"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=support.environment())


def test_writers_of_one_file_do_not_share_a_temporary_one_and_long_names_work(tmp_path):
    path = tmp_path / ("x" * 255)
    before = os.umask(0o027)
    try:
        with files.replaced(path) as first, files.replaced(path) as second:
            assert len({first, second, path}) == 3
            assert first.name.startswith(".")
            first.write_text("first")
            second.write_text("second")
    finally:
        os.umask(before)
    assert path.read_text() == "first"  # it left its block last
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]
