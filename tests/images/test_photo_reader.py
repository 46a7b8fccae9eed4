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
from waiting import wait

from colorjax.images import photo_reader
from colorjax.images import workers as workers_module
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


def submit(reader, path, time_limit):
    """With a limit of its own, so that a slow machine does not reach that of a good file."""
    reader._workers._time_limit = time_limit
    return reader.submit(path)


def test_a_file_that_takes_too_long_is_given_up(pictures, endless):
    with PhotoReader(1) as reader:
        files = (endless, 0.5), (pictures[0], 60), (endless, 0.5), (pictures[1], 60)
        waiting = [submit(reader, *file) for file in files]
        for future in waiting[::2]:
            assert "took more than 0 s to decode" in str(future.exception())
        assert [future.result().rgb.shape[0] for future in waiting[1::2]] == [30, 30]


def workers(before):
    """The worker processes, but for `before`."""
    found = []
    for process in set(psutil.Process().children()) - before:
        with contextlib.suppress(psutil.Error):  # it may have ended
            if "spawn_main" in " ".join(process.cmdline()):
                found.append(process)
    return found


def test_workers_that_crash_are_replaced(pictures, endless):
    before = set(psutil.Process().children())
    with PhotoReader(1) as reader:
        crashing = reader.submit(endless)
        manager = reader._workers._pool._pool_manager
        wait(lambda: [t for t in manager.task_manager.tasks.values() if t.started])
        (worker,) = workers(before)
        worker.send_signal(signal.SIGSEGV)
        assert "ended the process that decoded it (signal 11)" in str(crashing.exception())
        assert reader.submit(pictures[0]).result().rgb.shape == (30, 40, 3)


def test_files_that_wait_when_a_worker_is_ended_from_outside_are_read(pictures, endless):
    """Pebble then gives up the pool and all that waits; here it is told to do so."""
    before = set(psutil.Process().children())
    with PhotoReader(1) as reader:
        waiting = [submit(reader, endless, 1.0), *(submit(reader, path, 60) for path in pictures)]
        manager = reader._workers._pool._pool_manager
        wait(lambda: len(manager.task_manager.tasks) == len(waiting))
        manager.handle_broken_pool(BrokenProcessPool("All workers expired"))
        assert {future.result().rgb.shape for future in waiting[1:]} == {(30, 40, 3)}
        assert "took more than 1 s" in str(waiting[0].exception())
        wait(lambda: len(workers(before)) == 1)


def test_a_file_that_pebble_has_lost_is_read(pictures, endless, monkeypatch):
    """As it may lose one whose process takes it and dies before it can say so."""
    with PhotoReader(1) as reader:
        first, lost = submit(reader, endless, 1.0), submit(reader, pictures[0], 60)
        pool = reader._workers._pool
        tasks = pool._pool_manager.task_manager.tasks
        wait(lambda: len(tasks) == 2)
        tasks.pop(max(tasks))
        assert "took more than 1 s" in str(first.exception())
        with monkeypatch.context() as patch:
            patch.setattr(workers_module, "LOST_SECONDS", 0)
            wait(lambda: reader._workers._pool is not pool)
        assert lost.result(60).rgb.shape == (30, 40, 3)


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
    try:
        process.stdout.readline()
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=50)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert (process.returncode, error) == (130, "colorjax: stopped\n")
