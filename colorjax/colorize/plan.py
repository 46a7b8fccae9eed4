"""Which files are coloured, and where the results go."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from colorjax.images.folders import Folder, printable
from colorjax.images.photo import SUFFIXES
from colorjax.terminal.errors import InputError

# Ending of the files that show a picture in grey and in colour.
COMPARED = "_compare.jpg"


class Job(NamedTuple):
    """A file to colour and the file to write."""

    source: Path
    target: Path


def plan(inputs: Sequence[str], output: Path, suffix: str = "", format: str = "") -> list[Job]:
    """Finds the files and where each is written: `output` with its name or its path in a folder.

    Args:
      inputs: files, folders (searched recursively) and globs.
      output: a folder. Files in it are not inputs.
      suffix: appended to each name. Files whose names already end in it are not inputs.
      format: a key of SUFFIXES; "" keeps the format of each file.

    Raises:
      InputError: an input does not exist, there are no images, two files would be written to the
        same path, or a file would be replaced by its own coloured version.
    """
    sources: dict[Path, Path] = {}  # by target; several inputs may contain the same file
    for source, name in (found for given in inputs for found in _sources(given, output, suffix)):
        path = Path(name)
        ending = SUFFIXES[format] if format else path.suffix
        target = output / path.with_name(path.stem + suffix + ending)
        if sources.setdefault(target, source) != source:
            raise InputError(
                f"{printable(sources[target])} and {printable(source)} would both be written to "
                f"{printable(target)}; colour them into different folders"
            )
        if target.exists() and target.samefile(source):
            raise InputError(
                f"{printable(source)} would be replaced by its coloured version; choose another "
                "--output, or add a --suffix"
            )
    if not sources:
        raise InputError(f"no images in {', '.join(inputs)}; give files or folders")
    return [Job(source, target) for target, source in sources.items()]


def _sources(given: str, output: Path, suffix: str) -> Iterator[tuple[Path, str]]:
    """Files, and their names relative to the output folder."""
    path = Path(given).expanduser()
    if path.is_dir():
        inside = output.resolve()
        try:
            found = list(Folder(path).names)
        except OSError as error:
            raise InputError(f"{printable(path)} cannot be read ({error.strerror})") from error
        for name in found:
            source = path / name
            written = suffix and (source.stem.endswith(suffix) or name.endswith(COMPARED))
            # If the output is the input folder, only the suffix tells results from inputs.
            below = inside in source.resolve().parents and inside != path.resolve()
            if not written and not below:
                yield source, name
    elif path.exists():
        yield path, path.name
    else:
        matches = sorted(glob.glob(os.path.expanduser(given), recursive=True))
        if not matches:
            raise InputError(f"{printable(path)} does not exist; check the path")
        for match in matches:
            yield from _sources(match, output, suffix)
