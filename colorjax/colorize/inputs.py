"""The files that inputs name: one by one, by globs, and in folders."""

import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from colorjax.images.folders import is_image, is_visible, printable
from colorjax.terminal.errors import InputError

_DANGLING = "is a link to a file that does not exist"


class Found(NamedTuple):
    """A file that an input names.

    Attributes:
      path: the file.
      name: its path relative to the folder that was searched.
      failure: why it cannot be coloured; "" if it can.
      left_out: why it is not coloured, though it can be; "" if it is.
    """

    path: Path
    name: str
    failure: str = ""
    left_out: str = ""


def find(given: str, results: Path | None, suffix: str) -> Iterator[Found]:
    """Finds the files of one input.

    Args:
      given: a file, a folder, or a glob.
      results: the folder that coloured files are written to; None: beside their sources.
      suffix: appended to the names of coloured files.

    Raises:
      InputError: there is no such file, or it cannot be read.
    """
    if not given:
        raise InputError("an input is empty; give files or folders")
    path = Path(os.path.expanduser(given))
    if os.path.isdir(path):
        yield from _in_folder(path, results, suffix)
    elif os.path.isfile(path):
        yield Found(path, path.name)
    elif os.path.islink(path):
        raise InputError(f"{printable(path)} {_DANGLING}; correct or remove it")
    elif os.path.exists(path):
        raise InputError(f"{printable(path)} is not a file; - reads from standard input")
    else:
        matches = _matches(path)
        if not matches:
            raise InputError(_missing(path))
        for match in matches:
            if os.path.islink(match) and not os.path.exists(match):
                yield Found(Path(match), Path(match).name, _DANGLING)
            # The folders of ** hold what it finds anyway.
            elif "**" not in path.parts or not os.path.isdir(match):
                yield from find(match, results, suffix)


def _matches(path: Path) -> list[str]:
    """Matches of a glob. Folders that exist are taken literally: they may have brackets."""
    literal, parts = Path(), list(path.parts)
    while len(parts) > 1 and os.path.isdir(literal / parts[0]):
        literal /= parts.pop(0)
    pattern = os.path.join(glob.escape(str(literal)), *parts)
    return sorted(glob.glob(pattern, recursive=True))


def _missing(path: Path) -> str:
    try:
        os.stat(path)
    except PermissionError as error:
        return f"{printable(path)} cannot be read ({error.strerror})"
    except OSError:
        pass
    return f"{printable(path)} does not exist; check the path"


def _in_folder(folder: Path, results: Path | None, suffix: str) -> Iterator[Found]:
    """Images, and what is left out because it seems to be coloured already.

    Other folders may hold files of any name, and the searched one may lie in that of the results.
    """
    found = list(_walk(folder))
    root, inside = os.path.realpath(folder), os.path.realpath(results or folder)
    stems = {os.path.splitext(one.name)[0] for one in found} if inside == root else set()
    for one in found:
        stem = os.path.splitext(one.name)[0]
        bare = stem.removesuffix(suffix)
        # Changed since colorjax wrote it, or the record was lost.
        if bare != stem and bare in stems:
            reason = f"because of names ending in {suffix}; give them as files to colour them"
            yield one._replace(left_out=reason)
        elif _is_below(inside, root) and _is_below(os.path.realpath(one.path), inside):
            yield one._replace(left_out="because they are in the output folder")
        else:
            yield one


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(os.path.join(folder, ""))


def _walk(folder: Path) -> Iterator[Found]:
    """Images, links included; also links to nothing, and folders that cannot be read."""
    seen: set[str] = set()
    errors: list[OSError] = []
    for place, folders, names in os.walk(folder, onerror=errors.append, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link to a parent
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(filter(is_visible, folders))
        for name in sorted(names):
            if not is_image(name):
                continue
            path = Path(place, name)
            is_there = os.path.exists(path)
            if os.path.isfile(path) or not is_there:
                relative = path.relative_to(folder).as_posix()
                yield Found(path, relative, "" if is_there else _DANGLING)
    for error in errors:
        path, reason = Path(error.filename), error.strerror or "cannot be read"
        if path == folder:
            raise InputError(f"{printable(folder)} cannot be read ({reason})") from error
        yield Found(path, "", reason)
