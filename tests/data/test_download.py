"""Downloads from a real server that misbehaves: they go on, or are refused; nothing bad stays."""

import io
import re
import subprocess
import sys
import zipfile
from collections import namedtuple

import numpy as np
import pytest
from loopback import serving

from colorjax.data.digiface import download
from colorjax.terminal.errors import InputError

NAME = "faces.zip"


def _zip(seed=0, count=6):
    file = io.BytesIO()
    rng = np.random.default_rng(seed)
    with zipfile.ZipFile(file, "w") as archive:
        for index in range(count):
            archive.writestr(f"{index}.png", rng.bytes(20_000))
    return file.getvalue()


DATA = _zip()


@pytest.fixture
def server():
    with serving({NAME: DATA}) as server:
        yield server


def _fetch(server, tmp_path, reports=None):
    path = tmp_path / NAME
    report = (lambda *_: None) if reports is None else (lambda *of: reports.append(of))
    download.fetch_zip(server.url + NAME, path, report, pause=0)
    return path


def _ranges(server):
    return [request[1:] for request in server.requests]


def _check_whole(tmp_path):
    assert (tmp_path / NAME).read_bytes() == DATA
    assert [file.name for file in tmp_path.iterdir()] == [NAME]


def test_a_download_is_the_file_and_tells_how_far_it_is(server, tmp_path):
    reports = []
    _fetch(server, tmp_path, reports)
    _check_whole(tmp_path)
    assert reports[0] == (f"Downloading {NAME}", 0, len(DATA))
    assert (f"Downloading {NAME}", len(DATA), len(DATA)) in reports
    assert reports[-1][0] == f"Checking {NAME}"
    done = [count for what, count, _ in reports if what.startswith("Downloading")]
    assert done == sorted(done)


def test_a_cut_connection_goes_on_where_it_broke_off(server, tmp_path):
    server.faults[NAME] = [("cut", 50_000), ("cut", 30_000)]
    _fetch(server, tmp_path)
    _check_whole(tmp_path)
    assert _ranges(server) == [(None, 200), ("bytes=50000-", 206), ("bytes=80000-", 206)]


def test_a_second_run_goes_on_where_the_first_gave_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    server.faults[NAME] = [("cut", 50_000), ("cut", 0)]
    with pytest.raises(InputError, match=r"broke off after 50000 of .* run the same command later"):
        _fetch(server, tmp_path)
    assert not (tmp_path / NAME).exists()
    assert (tmp_path / f"{NAME}.part").stat().st_size == 50_000
    _fetch(server, tmp_path)
    _check_whole(tmp_path)
    assert server.requests[-1][1:] == ("bytes=50000-", 206)


def test_a_server_that_knows_no_ranges_sends_it_all_again(server, tmp_path):
    server.faults[NAME] = [("cut", 50_000), ("no ranges",)]
    _fetch(server, tmp_path)
    _check_whole(tmp_path)


def test_a_file_that_has_changed_on_the_server_is_not_mixed_with_the_old_one(
    server, tmp_path, monkeypatch
):
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    server.files[NAME] = _zip(seed=1)
    server.faults[NAME] = [("cut", 50_000), 503]
    with pytest.raises(InputError):
        _fetch(server, tmp_path)
    server.files[NAME] = DATA
    _fetch(server, tmp_path)
    _check_whole(tmp_path)


def test_what_is_left_of_a_longer_file_is_given_up(server, tmp_path):
    (tmp_path / f"{NAME}.part").write_bytes(DATA + b"more")
    _fetch(server, tmp_path)
    _check_whole(tmp_path)


def test_a_whole_file_without_its_name_is_only_checked(server, tmp_path):
    """As after a kill between the last byte and the renaming."""
    (tmp_path / f"{NAME}.part").write_bytes(DATA)
    _fetch(server, tmp_path)
    _check_whole(tmp_path)
    assert _ranges(server) == [(f"bytes={len(DATA)}-", 416)]


def test_too_short_a_length_is_noticed_and_the_next_run_completes(server, tmp_path):
    server.faults[NAME] = [("length", -10_000)]
    with pytest.raises(InputError, match=r"came damaged \(.*run the command again"):
        _fetch(server, tmp_path)
    assert not list(tmp_path.iterdir())
    _fetch(server, tmp_path)
    _check_whole(tmp_path)


def test_too_long_a_length_is_noticed_and_what_is_there_is_asked_for(server, tmp_path):
    server.faults[NAME] = [("length", 10_000)]
    _fetch(server, tmp_path)
    _check_whole(tmp_path)


@pytest.mark.parametrize("place", [10_000, len(DATA) - 300, len(DATA) - 10])
def test_a_corrupt_zip_is_removed_and_the_next_run_completes(server, tmp_path, place):
    """A flipped bit in a member, in the directory, at the end."""
    corrupt = bytearray(DATA)
    corrupt[place] ^= 4
    server.files[NAME] = bytes(corrupt)
    with pytest.raises(InputError, match=r"came damaged .*run the command again"):
        _fetch(server, tmp_path)
    assert not list(tmp_path.iterdir())
    server.files[NAME] = DATA
    _fetch(server, tmp_path)
    _check_whole(tmp_path)


def test_a_page_instead_of_a_zip_is_refused(server, tmp_path):
    server.files[NAME] = b"<html>Please log in</html>"
    with pytest.raises(InputError, match="came damaged"):
        _fetch(server, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_404_is_said_at_once_with_the_address(server, tmp_path):
    server.faults[NAME] = [404]
    address = re.escape(server.url + NAME)
    with pytest.raises(InputError, match=f"{address}.* 404 Not Found; check the address"):
        _fetch(server, tmp_path)
    assert len(server.requests) == 1
    _fetch(server, tmp_path)
    _check_whole(tmp_path)


def test_a_503_that_goes_away_is_waited_for(server, tmp_path):
    server.faults[NAME] = [503, 503, ("cut", 50_000), 503]
    _fetch(server, tmp_path)
    _check_whole(tmp_path)


def test_a_503_that_stays_is_given_up(server, tmp_path):
    server.faults[NAME] = [503] * download.ATTEMPTS
    with pytest.raises(InputError, match="503 Service Unavailable"):
        _fetch(server, tmp_path)
    assert len(server.requests) == download.ATTEMPTS
    _fetch(server, tmp_path)
    _check_whole(tmp_path)


def test_a_server_that_is_not_there_is_given_up(tmp_path):
    with serving({}) as server:
        url = server.url
    with pytest.raises(InputError, match=r"cannot be downloaded .*[Rr]efused"):
        download.fetch_zip(url + NAME, tmp_path / NAME, lambda *_: None, pause=0)


@pytest.mark.parametrize("url", ["faces.zip", "htp://x/faces.zip", "http://[/faces.zip"])
def test_an_address_that_is_none_is_refused(tmp_path, url):
    with pytest.raises(InputError):
        download.fetch_zip(url, tmp_path / NAME, lambda *_: None, pause=0)


def test_too_little_space_is_said_before_anything_is_written(server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage(0, 0, 50_000))
    with pytest.raises(InputError, match="0 MiB left, but 64 MiB are needed"):
        _fetch(server, tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    _fetch(server, tmp_path)
    _check_whole(tmp_path)


_LIMITED = """
import resource, sys
from pathlib import Path
from colorjax.data.download import fetch_zip
from colorjax.errors import exit_status
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
sys.exit(exit_status(lambda: fetch_zip(sys.argv[1], Path(sys.argv[2]), lambda *_: None)))
"""


def test_a_disk_that_fills_up_keeps_what_has_arrived(server, tmp_path):
    """A process that may write no more than 50,000 bytes into a file."""
    path = tmp_path / NAME
    command = [sys.executable, "-c", _LIMITED, server.url + NAME, str(path)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert process.returncode == 2
    assert "make room, and run the same command: it goes on" in process.stderr
    assert process.stderr.count("\n") == 1
    assert not path.exists()
    assert (tmp_path / f"{NAME}.part").stat().st_size == 50_000
    _fetch(server, tmp_path)
    _check_whole(tmp_path)
    assert server.requests[-1][1:] == ("bytes=50000-", 206)
