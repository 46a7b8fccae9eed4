"""Image files in folders and zips: how they are found and read."""

import contextlib
import hashlib
import lzma
import os
import posixpath
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from colorjax.images.photo import FORMATS
from colorjax.terminal.errors import InputError

# What corrupt zips make zipfile raise.
READ_ERRORS = (
    OSError,
    EOFError,
    MemoryError,
    RuntimeError,
    ValueError,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
)
# The flag of a zip's member that is encrypted (APPNOTE 4.4.4).
ENCRYPTED = 1
# A member, or an archive, that unpacks to more than BOMB_BYTES and to more than BOMB_RATIO times
# its packed size is a decompression bomb: no image format packs faces so tightly.
BOMB_BYTES = 64 << 20
BOMB_RATIO = 200
MAX_BYTES = 512 << 20


class Folder:
    """The images in a folder and in all folders below it, symbolic links included.

    It is walked each time, so that only the names of the current folders are in memory.

    Attributes:
      path: the folder.
      names: relative paths of the images, with "/", always in the same order.
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
            return  # no permission
        if (status.st_dev, status.st_ino) in seen:  # a link to a parent
            return
        seen.add((status.st_dev, status.st_ino))
        for name in filter(is_visible, names):
            path = os.path.join(self.path, prefix, name)
            if is_image(name) and os.path.isfile(path):
                yield prefix + name
            elif os.path.isdir(path):
                yield from self._walk(f"{prefix}{name}/", seen)

    def digest(self, name: str) -> str:
        """A text that differs when the contents of the file differ."""
        try:
            with open(os.path.join(self.path, name), "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return "unreadable"

    def status(self, name: str) -> tuple[int, int, int, int, int]:
        """Device, inode, size, mtime and ctime (ns): they change when the file is written to."""
        try:
            status = os.stat(os.path.join(self.path, name))
        except OSError:
            return (0, 0, 0, 0, 0)
        times = status.st_mtime_ns, status.st_ctime_ns
        return status.st_dev, status.st_ino, status.st_size, *times

    @contextlib.contextmanager
    def reader(self) -> Iterator[Callable[[str], bytes]]:
        """Gives the function that reads a file; it raises OSError, or ValueError if it is huge."""

        def read(name: str) -> bytes:
            file = self.path / name
            if (size := file.stat().st_size) > MAX_BYTES:
                raise ValueError(f"{size} bytes are too many for an image")
            return file.read_bytes()

        yield read


class Zip:
    """The members of a zip whose names a caller wants; read without unpacking the zip.

    Attributes:
      path: the file.
      names: of the wanted members, with "/", sorted.

    Raises:
      zipfile.BadZipFile: the file is not a zip, or is corrupt.
      InputError: a member's name points outside the zip; a member is a link, or a decompression
        bomb; a wanted one is encrypted.
    """

    def __init__(self, path: Path, wanted: Callable[[str], bool]):
        self.path = path
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
        for member in members:
            self._check(member)
        self._check_size("it", sum(m.file_size for m in members), path.stat().st_size)
        # Some Windows programs write "\\" into names, others start them with "./".
        named = ((posixpath.normpath(m.filename.replace("\\", "/")), m) for m in members)
        self._members = {name: member for name, member in named if wanted(name)}
        if any(member.flag_bits & ENCRYPTED for member in self._members.values()):
            raise InputError(f"{path} is encrypted; unpack it with its password, give the folder")
        self.names = sorted(self._members)

    def _check(self, member: zipfile.ZipInfo) -> None:
        name = member.orig_filename
        parts = name.replace("\\", "/").split("/")
        if parts[0] == "" or parts[0][1:2] == ":" or ".." in parts:
            self._refuse(f"a member whose name points outside the zip, {name!r}")
        if stat.S_ISLNK(member.external_attr >> 16):
            self._refuse(f"a link, {name!r}")
        if member.file_size > MAX_BYTES:
            self._refuse(f"a member of {member.file_size >> 20} MiB, {name!r}")
        self._check_size(repr(name), member.file_size, member.compress_size)

    def _check_size(self, what: str, size: int, packed: int) -> None:
        if size > BOMB_BYTES and size > BOMB_RATIO * packed:
            self._refuse(f"a decompression bomb: {what} unpacks from {packed} bytes to {size}")

    def _refuse(self, what: str) -> None:
        raise InputError(f"{self.path} holds {what}; remove it from the zip")

    def digest(self, name: str) -> str:
        """A text that differs when the contents of the member differ."""
        return f"{self._members[name].file_size} {self._members[name].CRC:08x}"

    @contextlib.contextmanager
    def reader(self) -> Iterator[Callable[[str], bytes]]:
        """Gives the function that reads a member and compares its checksum."""
        with zipfile.ZipFile(self.path) as archive:
            yield lambda name: archive.read(self._members[name])


Root = Folder | Zip


def is_visible(name: str) -> bool:
    """Whether no part of a path is hidden, or one of macOS's resource folders."""
    return not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def is_image(name: str) -> bool:
    """Whether a path is visible and ends as an image's does."""
    return name.lower().endswith(tuple(FORMATS)) and is_visible(name)


def split_paths(paths: str) -> tuple[Path, ...]:
    """Splits a comma-separated list; empty entries and repetitions are dropped."""
    # The name of an existing path may contain a comma.
    names = [paths] if os.path.exists(paths) else paths.split(",")
    found = (Path(name.strip()).expanduser() for name in names if name.strip())
    return tuple({path.resolve(): path for path in found}.values())


def open_root(path: Path) -> Root:
    """Opens a folder or a zip with images.

    Raises:
      InputError: the path does not exist, is neither a folder nor a zip, is a corrupt zip, holds
        no image, or a member that `Zip` refuses.
    """
    try:
        root: Root = Folder(path) if path.is_dir() else Zip(path, is_image)
        empty = next(iter(root.names), None) is None
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; check the path") from error
    except zipfile.BadZipFile as error:
        if path.suffix.lower() == ".zip" or path.read_bytes()[:2] == b"PK":
            raise InputError(f"{path} is a corrupt zip ({error}); copy it again") from error
        raise InputError(f"{path} is neither a folder nor a zip; give one of these") from error
    except (OSError, NotImplementedError) as error:
        raise InputError(f"{path} cannot be read ({error}); check the path") from error
    if empty:
        raise InputError(f"{path} holds no image ({' '.join(FORMATS)}); give a path that does")
    return root


def name_bytes(name: str) -> bytes:
    """The bytes of a file name that need not be valid UTF-8."""
    return name.encode("utf-8", "surrogateescape")


def printable(name: str | Path) -> str:
    """A file name that need not be valid UTF-8, as text that can be printed and stored."""
    return name_bytes(str(name)).decode("utf-8", "backslashreplace")
