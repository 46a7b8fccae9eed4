"""Photographs decoded in worker processes. Imports no JAX: see workers.py."""

import contextlib
import errno
import itertools
import math
import mmap
import os
import shutil
import sys
import tempfile
import threading
import time
import weakref
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pyvips

from colorjax.images.kinds import Opened, Photo
from colorjax.images.photo import MAX_PIXELS, open_photo
from colorjax.images.workers import TIME_LIMIT, Workers

# Larger pictures are not kept in memory, but in a file that is mapped: see `_trim`.
LARGE_BYTES = 1 << 26


class _Page(NamedTuple):
    photo: Photo  # without pixels
    file: Path  # of the pixels, [H, W, 3 or 4] row by row
    shape: tuple[int, int, int]
    dtype: str


class PhotoReader:
    """Reads photographs in worker processes; a context manager.

    The workers start at once. Create it before JAX is imported, and they start meanwhile.

    Args:
      files: number of files that will be read; there are at most as many workers.
      time_limit: see `Workers`.
      max_pixels: of a file, all its pages together; by default MAX_PIXELS each.
    """

    def __init__(
        self,
        files: int = sys.maxsize,
        time_limit: float = TIME_LIMIT,
        max_pixels: int | None = None,
    ) -> None:
        from colorjax.images.decode import num_cores  # OpenCV, which workers do not need

        self._numbers, self._max_pixels = itertools.count(), max_pixels
        self._folder = private_folder()
        self._workers = Workers(max(1, min(files, num_cores())), time_limit)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._workers.__exit__(*error)
        self._folder.cleanup()

    def end(self) -> None:
        """No more files will be read: ends the workers without waiting for them."""
        self._workers.end()

    def submit(self, path: Path) -> "Future[Photo]":
        """Starts to read a file.

        Returns:
          The photograph, whose pixels may be written to: if they are many, they lie in a temporary
          file that is mapped into memory. Further pages of a TIFF are in `Photo.pages`. Or an
          exception: OSError if the file cannot be read, or if the disk is full (then with the
          temporary folder as its `filename`), ValueError with the reason if its picture cannot.
        """
        prefix = Path(self._folder.name) / str(next(self._numbers))
        try:
            size = path.stat().st_size
        except OSError as error:
            failed: Future[Photo] = Future()
            failed.set_exception(error)
            return failed
        future = self._workers.submit(_read, path, prefix, self._max_pixels, size=size, then=_photo)
        future.add_done_callback(lambda _: _remove(prefix))  # what a failure has left
        return future


def private_folder() -> "tempfile.TemporaryDirectory[str]":
    """A temporary folder that only this user can read."""
    # /tmp may be a part of the memory.
    place = "/var/tmp" if os.path.isdir("/var/tmp") and not os.getenv("TMPDIR") else None
    return tempfile.TemporaryDirectory(prefix="colorjax-", dir=place, ignore_cleanup_errors=True)


def _remove(prefix: Path) -> None:
    with contextlib.suppress(OSError):  # the folder may be gone, after Ctrl-C
        for left in prefix.parent.glob(f"{prefix.name}-*"):
            left.unlink()


def _photo(pages: list[_Page]) -> Photo:
    first, *others = map(_opened, pages)
    return first._replace(pages=tuple(others)) if others else first


def _opened(page: _Page) -> Photo:
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


def _read(path: Path, prefix: Path, max_pixels: int | None) -> list[_Page]:
    """Decodes a file to raw pixels, in a worker."""
    # Libraries write what does not fit into memory here, too.
    tempfile.tempdir = os.environ["TMPDIR"] = str(prefix.parent)
    pages: list[_Page] = []
    pixels = 0
    try:
        for opened in open_photo(path, max_pixels=max_pixels or MAX_PIXELS):
            pixels += opened.image.width * opened.image.height
            if max_pixels and pixels > max_pixels:
                most = f"{max_pixels / 1e6:.0f} million pixels"
                raise ValueError(
                    f"has pages of more than {most} together; at most so many are read"
                )
            pages.append(_decoded(opened, Path(f"{prefix}-{len(pages)}")))
            del opened  # its pixels, before those of the next page are decoded
        return pages
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            error.filename = str(prefix.parent)
        raise


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
