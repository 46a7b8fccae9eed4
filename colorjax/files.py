"""Files that are whole or not there."""

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Gives a path beside to write to, and renames it at the end; removes it on an error.

    The folder is made if it is not there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all."""
    with replaced(path) as beside:
        beside.write_text(text)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Makes other processes of this host wait; makes the folder. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Waiting for the process that prepares {folder}.", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
