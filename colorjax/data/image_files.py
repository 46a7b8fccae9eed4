"""Image files in folders and zips: finding them and reading them."""

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from colorjax.data.archives import MAX_BYTES, Zip
from colorjax.data.image_decoding import SUFFIXES
from colorjax.errors import InputError


class Root(Protocol):
    """A folder or a zip with its candidates: relative names with "/", always in one order."""

    path: Path

    @property
    def names(self) -> Iterator[str] | list[str]:
        """The candidates' names."""

    def digest(self, name: str) -> str:
        """A text that differs when the contents of the file differ."""

    def reader(self) -> contextlib.AbstractContextManager[Callable[[str], bytes]]:
        """Gives the function that reads a file; it raises one of READ_ERRORS."""


class Folder:
    """A folder and all folders below it, through links too.

    It is walked anew each time, so that only the names of the folders on the way are in memory.
    """

    def __init__(self, path: Path):
        self.path = path

    @property
    def names(self) -> Iterator[str]:
        return self._walk("", set())

    def _walk(self, prefix: str, seen: set[tuple[int, int]]) -> Iterator[str]:
        try:
            status = os.stat(self.path / prefix)
            names = sorted(os.listdir(self.path / prefix))
        except OSError:
            if not prefix:
                raise
            return  # may not be read
        if (status.st_dev, status.st_ino) in seen:  # a link that leads back
            return
        seen.add((status.st_dev, status.st_ino))
        for name in filter(is_visible, names):
            path = os.path.join(self.path, prefix, name)
            if is_candidate(name) and os.path.isfile(path):
                yield prefix + name
            elif os.path.isdir(path):
                yield from self._walk(f"{prefix}{name}/", seen)

    def digest(self, name: str) -> str:
        try:
            with open(os.path.join(self.path, name), "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return "unreadable"

    def looks(self, name: str) -> tuple[int, int, int, int, int]:
        """What changes whenever the file is written to: device, inode, size, mtime and ctime."""
        try:
            status = os.stat(os.path.join(self.path, name))
        except OSError:
            return (0, 0, 0, 0, 0)
        times = status.st_mtime_ns, status.st_ctime_ns
        return status.st_dev, status.st_ino, status.st_size, *times

    @contextlib.contextmanager
    def reader(self) -> Iterator[Callable[[str], bytes]]:
        def read(name: str) -> bytes:
            file = self.path / name
            if (size := file.stat().st_size) > MAX_BYTES:
                raise ValueError(f"{size} bytes are too many for an image")
            return file.read_bytes()

        yield read


def is_visible(name: str) -> bool:
    """Whether no part of a path is hidden, or one of macOS's doubles."""
    return not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def is_candidate(name: str) -> bool:
    """Whether a path looks like an image."""
    return name.lower().endswith(SUFFIXES) and is_visible(name)


def split_paths(paths: str) -> tuple[Path, ...]:
    """Takes a comma-separated list apart; leaves out empty entries and repetitions."""
    # A path that exists may contain a comma.
    names = [paths] if os.path.exists(paths) else paths.split(",")
    found = (Path(name.strip()).expanduser() for name in names if name.strip())
    return tuple({path.resolve(): path for path in found}.values())


def open_root(path: Path) -> Root:
    """Finds the candidates of a folder or a zip.

    Raises:
      InputError: the path is not there, is neither folder nor zip, is a broken zip, holds no
        candidate, or holds a member that no zip of images holds (see `Zip`).
    """
    try:
        root: Root = Folder(path) if path.is_dir() else Zip(path, is_candidate)
        empty = next(iter(root.names), None) is None
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; check the path") from error
    except zipfile.BadZipFile as error:
        if path.suffix.lower() == ".zip" or path.read_bytes()[:2] == b"PK":
            raise InputError(f"{path} is a broken zip ({error}); copy it anew") from error
        raise InputError(f"{path} is neither a folder nor a zip; give one of these") from error
    except (OSError, NotImplementedError) as error:
        raise InputError(f"{path} cannot be read ({error}); check the path") from error
    if empty:
        raise InputError(f"{path} holds no image ({' '.join(SUFFIXES)}); give a path that does")
    return root
