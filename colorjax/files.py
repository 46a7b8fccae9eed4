"""Files that are written completely or not at all, and locks between processes."""

import contextlib
import os
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from colorjax.terminal.errors import InputError


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yields a temporary path to write to, and renames it to `path` unless there was an error.

    The temporary path is in the same folder, which is created if it does not exist. No two calls
    share one, and it is hidden: what a killed process leaves is never taken for an image.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Short, because `path` may have the longest name that there is.
    part = path.with_name(f".colorjax-{secrets.token_hex(8)}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Deletes what processes that were killed more than a day ago have left of `replaced`."""
    for part in folder.glob(".colorjax-*.part"):
        with contextlib.suppress(OSError):
            if part.stat().st_mtime < time.time() - 86_400:
                part.unlink()


def cache_folder() -> Path:
    """`colorjax` in the user's cache folder, `$XDG_CACHE_HOME` or `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "colorjax"


def check_folder(folder: Path) -> None:
    """Raises InputError if a folder cannot be created, or nothing can be written to it."""
    existing = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not os.path.isdir(existing):
        raise InputError(f"{existing} is a file; choose another --output")
    if not os.access(existing, os.W_OK):
        raise InputError(f"cannot write to {existing}; choose another --output")


def check_file(path: Path) -> None:
    """Raises InputError if a file cannot be written, as far as known before."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; give --output a file")
    check_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Writes a text file completely or not at all."""
    with replaced(path) as part:
        part.write_text(text)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Locks a folder, created if necessary; waits for another process that holds the lock.

    The kernel releases the lock when the process is killed. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock", fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        print(f"Waiting for the process that prepares {folder}.", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
