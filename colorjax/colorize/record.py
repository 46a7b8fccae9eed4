"""What colorjax wrote into a folder, so that it is recognised there."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# One JSON object a line, in each folder of coloured files. The last line of a name holds.
NAME = ".colorjax.jsonl"


class Record:
    """The coloured files in folders: with which settings and from which source each was made.

    A file counts as colorjax's own while it has the size and the time of modification that it was
    written with. A record that is missing or corrupt counts as empty.

    Args:
      settings: what else the pixels of a result depend on, as JSON values.

    Attributes:
      error: why the last line could not be written; "" if it was.
    """

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        self._settings = dict(settings or {})
        self._folders: dict[Path, dict[str, Any]] = {}
        self.error = ""

    def wrote(self, path: Path) -> bool:
        """Whether colorjax wrote this file, and nobody has changed it since."""
        entry = self._entry(path)
        return entry is not None and entry.get("written") == [*stamp(path)]

    def is_from(self, path: Path, source: Path) -> bool:
        """Whether `path` was made from this source, even if the source was moved or changed."""
        known = (self._entry(path) or {}).get("source")
        if not isinstance(known, list):
            return False
        return known[:1] == [_place(path, source)] or known[1:] == [*stamp(source)]

    def is_current(self, path: Path, source: Sequence[int]) -> bool:
        """Whether colouring the source with this stamp again would write the same file."""
        entry = self._entry(path) or {}
        unchanged = (entry.get("source") or [])[1:] == [*source]
        return self.wrote(path) and unchanged and entry.get("settings") == self._settings

    def add(self, path: Path, source: Path, seen: Sequence[int]) -> None:
        """Remembers a file that has just been written, from a source with the stamp `seen`."""
        entry = {
            "name": path.name,
            "written": stamp(path),
            "settings": self._settings,
            "source": [_place(path, source), *seen],
        }
        self._entries(path.parent)[path.name] = entry
        try:
            with (path.parent / NAME).open("ab+") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
                # A killed process may have left half a line.
                torn = b"" if file.read() in (b"", b"\n") else b"\n"
                file.write(torn + json.dumps(entry).encode() + b"\n")
        except OSError as error:
            self.error = f"{path.parent / NAME}: {error.strerror}"

    def forget(self, folder: Path) -> None:
        """Reads the record of a folder again: another process may have written there."""
        self._folders.pop(folder, None)

    def _entry(self, path: Path) -> dict[str, Any] | None:
        return self._entries(path.parent).get(path.name)

    def _entries(self, folder: Path) -> dict[str, Any]:
        if folder not in self._folders:
            self._folders[folder] = _read(folder / NAME)
        return self._folders[folder]


def _read(path: Path) -> dict[str, Any]:
    try:
        lines = path.read_bytes().splitlines() if path.is_file() else []
    except OSError:
        return {}
    entries = {}
    for line in lines:
        try:
            entry = json.loads(line)
            if isinstance(entry.get("source"), list):
                entries[entry["name"]] = entry
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
            continue
    return entries


def stamp(path: Path) -> tuple[int, ...]:
    """Size and time of modification in ns, by which changes are noticed; () without such a file."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_size, status.st_mtime_ns


def _place(path: Path, source: Path) -> str:
    # Relative, so that an album can be moved; hashed, because names of folders may be private.
    place = os.path.relpath(os.path.realpath(source), os.path.realpath(path.parent))
    return hashlib.sha256(os.fsencode(place)).hexdigest()[:16]
