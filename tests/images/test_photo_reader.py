import contextlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import psutil
import pytest
from PIL import Image

from colorjax.images import photo_reader
from colorjax.images.photo import read_photo
from colorjax.images.photo_reader import PhotoReader


@pytest.fixture
def pictures(tmp_path):
    """Grey with alpha, 16 bits, and colour."""
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 4), np.uint8)
    Image.fromarray(pixels[..., :2]).save(tmp_path / "alpha.png")
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(pixels[..., :3]).save(tmp_path / "colour.jpg")
    return sorted(tmp_path.iterdir())


@pytest.fixture
def endless(tmp_path):
    """A file whose end never comes."""
    path = tmp_path / "endless.jpg"
    os.mkfifo(path)
    return path


@pytest.mark.parametrize("large", [0, 1 << 26])
def test_photographs_are_those_of_read_photo(pictures, monkeypatch, large):
    """In memory and mapped from a file; their pixels may be written to."""
    monkeypatch.setattr(photo_reader, "LARGE_BYTES", large)
    with PhotoReader(len(pictures)) as reader:
        found = [future.result() for future in map(reader.submit, pictures)]
    for path, photo in zip(pictures, found, strict=True):
        expected = read_photo(path)
        np.testing.assert_array_equal(photo.rgb, expected.rgb)
        np.testing.assert_array_equal(photo.alpha, expected.alpha)
        assert (photo.format, photo.dpi) == (expected.format, expected.dpi)
        photo.rgb[:] = 7
        np.testing.assert_array_equal(photo.alpha, expected.alpha)


def test_files_that_fail_are_named_and_the_others_are_read(pictures, tmp_path):
    corrupt = tmp_path / "corrupt.jpg"
    corrupt.write_bytes(pictures[1].read_bytes()[:300])
    with PhotoReader() as reader:
        missing = reader.submit(tmp_path / "missing.jpg").exception()
        assert isinstance(missing, FileNotFoundError)
        folder = reader.submit(tmp_path).exception()
        assert isinstance(folder, OSError)
        assert "corrupt" in str(reader.submit(corrupt).exception())
        assert reader.submit(pictures[0]).result().rgb.shape == (30, 40, 3)


def test_a_file_that_takes_too_long_is_given_up(pictures, endless):
    with PhotoReader(1, time_limit=0.5) as reader:
        waiting = [reader.submit(path) for path in (endless, pictures[0], endless, pictures[1])]
        for future in waiting[::2]:
            assert "took more than 0 s to decode" in str(future.exception())
        assert [future.result().rgb.shape[0] for future in waiting[1::2]] == [30, 30]


def test_workers_that_crash_are_replaced(pictures, endless):
    before = psutil.Process().children()
    with PhotoReader(1) as reader:
        crashing = reader.submit(endless)
        writer = None
        while writer is None:
            with contextlib.suppress(OSError):  # until a worker opens the file
                writer = os.open(endless, os.O_WRONLY | os.O_NONBLOCK)
        for process in set(psutil.Process().children()) - set(before):
            if "spawn_main" in " ".join(process.cmdline()):
                process.send_signal(signal.SIGSEGV)
        assert "ended the process that decoded it (signal 11)" in str(crashing.exception())
        os.close(writer)
        assert reader.submit(pictures[0]).result().rgb.shape == (30, 40, 3)


def test_files_that_wait_when_a_worker_is_ended_from_outside_are_read(pictures, endless):
    """Pebble then gives up the pool and all that waits; here it is told to do so."""
    before = set(psutil.Process().children())
    with PhotoReader(1, time_limit=1.0) as reader:
        waiting = [reader.submit(path) for path in (endless, *pictures)]
        time.sleep(0.5)
        manager = reader._workers._pool._pool_manager
        manager.handle_broken_pool(BrokenProcessPool("All workers expired"))
        assert {future.result().rgb.shape for future in waiting[1:]} == {(30, 40, 3)}
        assert "took more than 1 s" in str(waiting[0].exception())
        workers = [" ".join(child.cmdline()) for child in set(psutil.Process().children()) - before]
        assert sum("spawn_main" in command for command in workers) == 1


SCRIPT = """
import sys
from pathlib import Path
from colorjax.images.photo_reader import PhotoReader
print("once", [name for name in sys.modules if name.split(".")[0] in ("jax", "cv2")])
with PhotoReader() as reader:
    print(reader.submit(Path(sys.argv[1])).result().rgb.shape)
"""


def test_a_script_needs_no_guard_and_loads_no_jax(pictures, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, script, pictures[0]]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("once []\n(30, 40, 3)\n", "")


WAITING = """
import sys
from pathlib import Path
from colorjax.images.photo_reader import PhotoReader
from colorjax.terminal.errors import exit_status

def read():
    with PhotoReader() as reader:
        future = reader.submit(Path(sys.argv[1]))
        print("started", flush=True)
        future.result()

sys.exit(exit_status(read))
"""


@pytest.mark.parametrize("seconds", [0.0, 2.0])
def test_ctrl_c_ends_workers_without_a_traceback(endless, seconds):
    """While they start, and while they read."""
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, endless],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    process.stdout.readline()
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=10)
    assert (process.returncode, error) == (130, "colorjax: stopped\n")
