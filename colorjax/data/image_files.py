"""Image files in folders and zips: finding them, reading them, telling which can be decoded."""

import contextlib
import hashlib
import io
import os
import posixpath
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from PIL import Image

from colorjax.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png")
MAX_PIXELS = 100_000_000
MAX_BYTES = 512 << 20

# What damaged files and zip members make zipfile and the decoders raise.
READ_ERRORS = (
    OSError,
    EOFError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    ValueError,
    cv2.error,
    zipfile.BadZipFile,
    zlib.error,
    Image.DecompressionBombError,
)


class Root(Protocol):
    """A folder or a zip with its candidates: relative names with "/", sorted."""

    path: Path
    names: list[str]

    def digest(self, name: str) -> str:
        """A text that differs when the contents of the file differ."""

    def reader(self) -> contextlib.AbstractContextManager[Callable[[str], bytes]]:
        """Gives the function that reads a file; it raises one of READ_ERRORS."""


class Folder:
    """A folder and all folders below it, through links too."""

    def __init__(self, path: Path):
        self.path = path
        self.names = sorted(self._walk())

    def _walk(self) -> Iterator[str]:
        seen = set()
        for folder, folders, files in os.walk(self.path, followlinks=True):
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:  # a link that leads back
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders[:] = sorted(filter(_is_visible, folders))
            for file in map(Path(folder).joinpath, files):
                if _is_candidate(file.name) and file.is_file():
                    yield file.relative_to(self.path).as_posix()

    def digest(self, name: str) -> str:
        try:
            with (self.path / name).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return "unreadable"

    @contextlib.contextmanager
    def reader(self) -> Iterator[Callable[[str], bytes]]:
        def read(name: str) -> bytes:
            file = self.path / name
            _check_size(file.stat().st_size)
            return file.read_bytes()

        yield read


class Zip:
    """A zip, read in place.

    Raises:
      zipfile.BadZipFile: the file is no zip, or a broken one.
      InputError: the name of a member leads out of the zip.
    """

    def __init__(self, path: Path):
        self.path = path
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
        for member in members:
            self._check_name(member.orig_filename)
        # Some Windows programs write "\\" into names, others begin them with "./".
        self._members = {
            posixpath.normpath(member.filename.replace("\\", "/")): member for member in members
        }
        self.names = sorted(filter(_is_candidate, self._members))

    def _check_name(self, name: str) -> None:
        parts = name.replace("\\", "/").split("/")
        if parts[0] == "" or parts[0][1:2] == ":" or ".." in parts:
            raise InputError(
                f"{self.path} holds a member whose name leads out of the zip, {name!r}; "
                "take it out of the zip"
            )

    def digest(self, name: str) -> str:
        return f"{self._members[name].file_size} {self._members[name].CRC:08x}"

    @contextlib.contextmanager
    def reader(self) -> Iterator[Callable[[str], bytes]]:
        with zipfile.ZipFile(self.path) as archive:

            def read(name: str) -> bytes:
                _check_size(self._members[name].file_size)
                return archive.read(self._members[name])

            yield read


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise ValueError(f"{size} bytes are too many for an image")


def _is_visible(name: str) -> bool:
    return not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _is_candidate(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and _is_visible(name)


def split_paths(paths: str) -> tuple[Path, ...]:
    """Takes a comma-separated list apart; leaves out empty entries and repetitions."""
    # A path that exists may contain a comma.
    names = [paths] if os.path.exists(paths) else paths.split(",")
    found = (Path(name.strip()).expanduser() for name in names if name.strip())
    return tuple({path.resolve(): path for path in found}.values())


def open_root(path: Path) -> Root:
    """Lists the candidates of a folder or a zip.

    Raises:
      InputError: the path is not there, is neither folder nor zip, is a broken zip, holds no
        candidate, or holds a member whose name leads out of the zip.
    """
    try:
        root: Root = Folder(path) if path.is_dir() else Zip(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; check the path") from error
    except zipfile.BadZipFile as error:
        if path.suffix.lower() == ".zip" or path.read_bytes()[:2] == b"PK":
            raise InputError(f"{path} is a broken zip ({error}); copy it anew") from error
        raise InputError(f"{path} is neither a folder nor a zip; give one of these") from error
    except (OSError, NotImplementedError) as error:
        raise InputError(f"{path} cannot be read ({error}); check the path") from error
    if not root.names:
        raise InputError(f"{path} holds no image ({' '.join(SUFFIXES)}); give a path that does")
    return root


def is_decodable(data: bytes) -> bool:
    """Whether the bytes are a whole JPEG or PNG of at most MAX_PIXELS that OpenCV decodes too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL's remarks on odd but readable files
        try:
            # OpenCV fills up a truncated file with grey; PIL refuses it.
            with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
                if image.width * image.height > MAX_PIXELS:
                    return False
                image.load()
            return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None
        except READ_ERRORS:
            return False
