"""Zips that are read in place, and what may not be in one."""

import contextlib
import posixpath
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from colorjax.errors import InputError

# A member, or a whole archive, that unpacks to more than BOMB_BYTES and to more than BOMB_RATIO
# times what it takes up is a bomb: no image format packs faces so tightly.
BOMB_BYTES = 64 << 20
BOMB_RATIO = 200
MAX_BYTES = 512 << 20


class Zip:
    """The members of a zip with names a caller wants; read in place.

    Attributes:
      path: the file.
      names: of the wanted members, with "/", sorted.

    Raises:
      zipfile.BadZipFile: the file is no zip, or a broken one.
      InputError: a member's name leads out of the zip; it is a link, or a decompression bomb.
    """

    def __init__(self, path: Path, wanted: Callable[[str], bool]):
        self.path = path
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
        for member in members:
            self._check(member)
        self._check_size("it", sum(m.file_size for m in members), path.stat().st_size)
        # Some Windows programs write "\\" into names, others begin them with "./".
        named = ((posixpath.normpath(m.filename.replace("\\", "/")), m) for m in members)
        self._members = {name: member for name, member in named if wanted(name)}
        self.names = sorted(self._members)

    def _check(self, member: zipfile.ZipInfo) -> None:
        name = member.orig_filename
        parts = name.replace("\\", "/").split("/")
        if parts[0] == "" or parts[0][1:2] == ":" or ".." in parts:
            self._refuse(f"a member whose name leads out of the zip, {name!r}")
        if stat.S_ISLNK(member.external_attr >> 16):
            self._refuse(f"a link, {name!r}")
        if member.file_size > MAX_BYTES:
            self._refuse(f"a member of {member.file_size >> 20} MiB, {name!r}")
        self._check_size(repr(name), member.file_size, member.compress_size)

    def _check_size(self, what: str, size: int, packed: int) -> None:
        if size > BOMB_BYTES and size > BOMB_RATIO * packed:
            self._refuse(f"a decompression bomb: {what} unpacks from {packed} bytes to {size}")

    def _refuse(self, what: str) -> None:
        raise InputError(f"{self.path} holds {what}; take it out of the zip")

    def digest(self, name: str) -> str:
        """A text that differs when the contents of the member differ."""
        return f"{self._members[name].file_size} {self._members[name].CRC:08x}"

    @contextlib.contextmanager
    def reader(self) -> Iterator[Callable[[str], bytes]]:
        """Gives the function that reads a member and checks its sum."""
        with zipfile.ZipFile(self.path) as archive:
            yield lambda name: archive.read(self._members[name])


def is_whole(path: Path, advance: Callable[[int], None] = lambda size: None) -> str | None:
    """Reads every member of a zip and compares its sum.

    Args:
      path: the file.
      advance: told the bytes of the archive that have been read.

    Returns:
      None, or what is broken.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                with archive.open(member) as file:
                    while file.read(1 << 20):
                        pass
                advance(member.compress_size)
    except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        return str(error) or type(error).__name__
    return None
