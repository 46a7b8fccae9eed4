"""Downloads from a real server that fails: they resume or are refused; nothing corrupt stays."""

import re
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest
from image_files import zipped
from loopback import serving

from colorjax.data.digiface import download
from colorjax.terminal.errors import InputError

NAME = "faces.zip"


def make_zip(seed=0):
    rng = np.random.default_rng(seed)
    return zipped({f"{index}.png": rng.bytes(20_000) for index in range(6)})


DATA = make_zip()


@pytest.fixture
def server():
    with serving({NAME: DATA}) as server:
        yield server


def fetch(server, tmp_path, report=lambda *_: None):
    download.fetch_zip(server.url + NAME, tmp_path / NAME, report, pause=0)


def check_complete(tmp_path):
    assert (tmp_path / NAME).read_bytes() == DATA
    assert [file.name for file in tmp_path.iterdir()] == [NAME]


def test_a_download_is_the_file_and_its_progress_is_reported(server, tmp_path):
    reports = []
    fetch(server, tmp_path, lambda *of: reports.append(of))
    check_complete(tmp_path)
    assert reports[0] == (f"Downloading {NAME}", 0, len(DATA))
    assert (f"Downloading {NAME}", len(DATA), len(DATA)) in reports
    assert reports[-1][0] == f"Checking {NAME}"
    done = [count for what, count, _ in reports if what.startswith("Downloading")]
    assert done == sorted(done)


def test_a_broken_connection_resumes_where_it_broke(server, tmp_path):
    server.faults[NAME] = [("cut", 50_000), ("cut", 30_000)]
    fetch(server, tmp_path)
    check_complete(tmp_path)
    asked = [request[1:] for request in server.requests]
    assert asked == [(None, 200), ("bytes=50000-", 206), ("bytes=80000-", 206)]


def test_a_second_run_resumes_where_the_first_gave_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    server.faults[NAME] = [("cut", 50_000), ("cut", 0)]
    with pytest.raises(InputError, match=r"broke after 50000 of .* run the same command later"):
        fetch(server, tmp_path)
    assert not (tmp_path / NAME).exists()
    assert (tmp_path / f"{NAME}.part").stat().st_size == 50_000
    fetch(server, tmp_path)
    check_complete(tmp_path)
    assert server.requests[-1][1:] == ("bytes=50000-", 206)


def test_a_file_that_has_changed_on_the_server_is_not_mixed_with_the_old_one(
    server, tmp_path, monkeypatch
):
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    server.files[NAME] = make_zip(seed=1)
    server.faults[NAME] = [("cut", 50_000), 503]
    with pytest.raises(InputError):
        fetch(server, tmp_path)
    server.files[NAME] = DATA
    fetch(server, tmp_path)
    check_complete(tmp_path)


@pytest.mark.parametrize(
    "faults",
    [
        [("cut", 50_000), ("no ranges", 0)],
        [("length", 10_000)],  # too long: the rest is asked for
        [503, 503, ("cut", 50_000), 503],
        [("cut", 10_000)] * 7,  # more than ATTEMPTS, but each makes progress
    ],
)
def test_what_a_server_does_wrong_for_a_while_is_overcome(server, tmp_path, faults):
    server.faults[NAME] = faults
    fetch(server, tmp_path)
    check_complete(tmp_path)


@pytest.mark.parametrize("more", [b"", b"more"])
def test_a_part_that_is_complete_or_too_long_is_not_resumed(server, tmp_path, more):
    """Complete, as after a kill between the last byte and the renaming."""
    (tmp_path / f"{NAME}.part").write_bytes(DATA + more)
    fetch(server, tmp_path)
    check_complete(tmp_path)
    asked = (f"bytes={len(DATA + more)}-", 416)
    assert [request[1:] for request in server.requests] == [asked, (None, 200)][: 2 if more else 1]


CORRUPT = {"member": 10_000, "directory": len(DATA) - 300, "end": len(DATA) - 10}


@pytest.mark.parametrize("fault", [*CORRUPT, "page", "length"])
def test_what_arrives_corrupt_is_removed_and_the_next_run_completes(server, tmp_path, fault):
    if fault == "length":  # too short
        server.faults[NAME] = [("length", -10_000)]
    elif fault == "page":
        server.files[NAME] = b"<html>Please log in</html>"
    else:
        corrupt = bytearray(DATA)
        corrupt[CORRUPT[fault]] ^= 4
        server.files[NAME] = bytes(corrupt)
    with pytest.raises(InputError, match=r"arrived corrupt .*run the command again"):
        fetch(server, tmp_path)
    assert not list(tmp_path.iterdir())
    server.files[NAME] = DATA
    fetch(server, tmp_path)
    check_complete(tmp_path)


@pytest.mark.parametrize(
    ("faults", "words"),
    [([404], "404 Not Found.* check the address"), ([503] * 5, "503 Service Unavailable")],
)
def test_a_status_that_is_final_or_stays_is_reported_with_the_address(
    server, tmp_path, faults, words
):
    server.faults[NAME] = list(faults)
    with pytest.raises(InputError, match=f"{re.escape(server.url + NAME)}.*{words}"):
        fetch(server, tmp_path)
    assert len(server.requests) == len(faults)
    fetch(server, tmp_path)
    check_complete(tmp_path)


def test_a_server_that_is_not_there_is_given_up(tmp_path):
    with serving({}) as server:
        url = server.url
    with pytest.raises(InputError, match=r"cannot be downloaded .*[Rr]efused"):
        download.fetch_zip(url + NAME, tmp_path / NAME, lambda *_: None, pause=0)


@pytest.mark.parametrize("url", ["faces.zip", "htp://x/faces.zip", "http://[/faces.zip"])
def test_what_is_not_an_address_is_refused(tmp_path, url):
    with pytest.raises(InputError, match="not a valid address"):
        download.fetch_zip(url, tmp_path / NAME, lambda *_: None, pause=0)


def test_too_little_space_is_reported_before_anything_is_written(server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage(0, 0, 50_000))
    with pytest.raises(InputError, match="0 MiB left, but 64 MiB are needed"):
        fetch(server, tmp_path)
    assert not list(tmp_path.iterdir())


LIMITED = """
import resource, sys
from pathlib import Path
from colorjax.data.digiface.download import fetch_zip
from colorjax.terminal.errors import exit_status
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
sys.exit(exit_status(lambda: fetch_zip(sys.argv[1], Path(sys.argv[2]), lambda *_: None)))
"""


def test_a_disk_that_fills_up_keeps_what_has_arrived(server, tmp_path):
    """A process that may write no more than 50,000 bytes into a file."""
    command = [sys.executable, "-c", LIMITED, server.url + NAME, str(tmp_path / NAME)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert process.returncode == 2
    assert "free some space, and run the same command to resume" in process.stderr
    assert process.stderr.count("\n") == 1
    assert not (tmp_path / NAME).exists()
    assert (tmp_path / f"{NAME}.part").stat().st_size == 50_000
    fetch(server, tmp_path)
    check_complete(tmp_path)
    assert server.requests[-1][1:] == ("bytes=50000-", 206)
