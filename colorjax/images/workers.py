"""Photographs decoded in worker processes.

A decoder may crash or never end on a corrupt file. It then ends a worker, which is replaced, and
not the program. This module imports neither JAX nor what imports it, so that workers start fast.
"""

import contextlib
import errno
import itertools
import math
import mmap
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import types
import weakref
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pebble
import pyvips

from colorjax.images.kinds import Opened, Photo
from colorjax.images.photo import open_photo, reasons

# Seconds that decoding one file may take, and more for each million bytes of the file.
TIME_LIMIT = 60.0
SECONDS_PER_MEGABYTE = 1.0
# Larger pictures are not kept in memory, but in a file that is mapped: see `_trim`.
LARGE_BYTES = 1 << 26


class _Process(SpawnProcess):
    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        # A worker would run the user's script again, unless that guards itself by `if __name__ ==
        # "__main__"`; and Ctrl-C is the parent's to handle, even while a worker starts.
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        blocked = hasattr(signal, "pthread_sigmask") and signal.pthread_sigmask(
            signal.SIG_BLOCK, {signal.SIGINT}
        )
        try:
            return SpawnProcess._Popen(process_obj)  # type: ignore[attr-defined]
        finally:
            sys.modules["__main__"] = main
            if blocked is not False:
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


class _Context(SpawnContext):
    Process = _Process


class _Page(NamedTuple):
    photo: Photo  # without pixels
    file: Path  # of the pixels, [H, W, 3 or 4] row by row
    shape: tuple[int, int, int]
    dtype: str


class _Failure(NamedTuple):
    """An exception of a worker, as one that can be pickled."""

    reason: str
    errno: int | None = None


class PhotoReader:
    """Reads photographs in worker processes; a context manager.

    The workers start at once. Create it before JAX is imported, and they start meanwhile.

    Args:
      files: number of files that will be read; there are at most as many workers.
      time_limit: seconds that decoding a file may take, plus one second a megabyte of the file.
    """

    def __init__(self, files: int = sys.maxsize, time_limit: float = TIME_LIMIT) -> None:
        from colorjax.images.decode import num_cores  # OpenCV, which workers do not need

        self._workers = max(1, min(files, num_cores()))
        self._time_limit = time_limit
        self._numbers = itertools.count()
        # /tmp may be a part of the memory.
        place = "/var/tmp" if os.path.isdir("/var/tmp") and not os.getenv("TMPDIR") else None
        self._folder = tempfile.TemporaryDirectory(
            prefix="colorjax-", dir=place, ignore_cleanup_errors=True
        )
        self._pool = self._started()

    def _started(self) -> pebble.ProcessPool:
        pool = pebble.ProcessPool(self._workers, initializer=_initialize, context=_Context())
        assert pool.active  # starts the workers
        return pool

    def __enter__(self) -> "PhotoReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._pool.join()
        self._folder.cleanup()

    def end(self) -> None:
        """No more files will be read: ends the workers without waiting for them."""
        self._pool.stop()

    def submit(self, path: Path) -> "Future[Photo]":
        """Starts to read a file.

        Returns:
          The photograph, whose pixels may be written to: if they are many, they lie in a temporary
          file that is mapped into memory. Further pages of a TIFF are in `Photo.pages`. Or an
          exception: OSError if the file cannot be read, or if the disk is full (then with the
          temporary folder as its `filename`), ValueError with the reason if its picture cannot.
        """
        future: Future[Photo] = Future()
        future.set_running_or_notify_cancel()
        prefix = Path(self._folder.name) / str(next(self._numbers))
        try:
            limit = self._time_limit + SECONDS_PER_MEGABYTE * path.stat().st_size / 1e6
            if not self._pool.active:  # a worker ended while it had nothing to do
                self._pool = self._started()
            task = self._pool.schedule(_read, (path, prefix), timeout=limit)
        except OSError as error:
            future.set_exception(error)
            return future

        def finish(task: "Future[list[_Page] | _Failure]") -> None:
            try:
                future.set_result(self._result(task, limit))
            except Exception as error:
                future.set_exception(error)
            finally:
                for left in Path(self._folder.name).glob(f"{prefix.name}-*"):
                    with contextlib.suppress(OSError):
                        left.unlink()

        task.add_done_callback(finish)
        return future

    def _result(self, task: "Future[list[_Page] | _Failure]", limit: float) -> Photo:
        try:
            found = task.result()
        except TimeoutError as error:
            raise ValueError(f"took more than {limit:.0f} s to decode") from error
        except pebble.ProcessExpired as error:
            cause = f"signal {-error.exitcode}" if error.exitcode < 0 else f"{error.exitcode}"
            raise ValueError(
                f"ended the process that decoded it ({cause}): corrupt, or too large for the memory"
            ) from error
        except BrokenProcessPool as error:
            raise ValueError("the process to decode it ended; try again") from error
        if isinstance(found, _Failure):
            if found.errno is not None:
                full = found.errno in (errno.ENOSPC, errno.EDQUOT)
                raise OSError(found.errno, found.reason, self._folder.name if full else None)
            raise ValueError(found.reason)
        first, *others = (self._photo(page) for page in found)
        return first._replace(pages=tuple(others)) if others else first

    def _photo(self, page: _Page) -> Photo:
        if math.prod(page.shape) * np.dtype(page.dtype).itemsize > LARGE_BYTES:
            array = _mapped(page)
        else:
            array = np.fromfile(page.file, page.dtype).reshape(page.shape)
        with contextlib.suppress(PermissionError):  # Windows keeps it until the mapping ends
            page.file.unlink()
        alpha = array[..., 3] if page.shape[2] == 4 else None
        return page.photo._replace(rgb=array[..., :3], alpha=alpha)


def _mapped(page: _Page) -> np.ndarray:
    pixels = np.memmap(page.file, page.dtype, "r+", shape=page.shape)
    if hasattr(mmap, "MADV_DONTNEED"):
        mapping = weakref.ref(pixels._mmap)  # type: ignore[attr-defined]
        threading.Thread(target=_trim, args=[mapping], daemon=True).start()
    return np.asarray(pixels)


def _trim(mapping: "weakref.ref[mmap.mmap]") -> None:
    """Gives the pages of a mapping back to its file, where they stay as they are, until it ends.

    Whoever passes over all rows would otherwise bring the whole picture into memory.
    """
    while (pages := mapping()) is not None:
        pages.madvise(mmap.MADV_DONTNEED)
        del pages
        time.sleep(0.05)


def _initialize() -> None:
    # A decoder in C that does not return ends too.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _read(path: Path, prefix: Path) -> list[_Page] | _Failure:
    """Decodes a file to raw pixels, in a worker."""
    try:
        with reasons():
            return [
                _decoded(opened, Path(f"{prefix}-{number}"))
                for number, opened in enumerate(open_photo(path))
            ]
    except MemoryError:
        return _Failure("not enough memory")
    except OSError as error:
        return _Failure(error.strerror or str(error), error.errno)
    except ValueError as error:
        return _Failure(" ".join(str(error).split()))


def _decoded(opened: Opened, file: Path) -> _Page:
    image = opened.image
    shape = image.height, image.width, image.bands
    dtype = np.dtype(np.uint16 if image.format == "ushort" else np.uint8)
    if shutil.disk_usage(file.parent).free < math.prod(shape) * dtype.itemsize:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if math.prod(shape) * dtype.itemsize > LARGE_BYTES:
        try:
            image.rawsave(str(file))  # some rows at a time; for small pictures it is slow
        except pyvips.Error as error:
            if os.strerror(errno.ENOSPC) in str(error):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
            raise
    else:
        image.numpy().tofile(file)
    return _Page(opened.photo, file, shape, dtype.str)
