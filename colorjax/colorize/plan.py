"""Which files are coloured, and where the results go."""

import glob
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from colorjax.colorize.record import Record
from colorjax.images.folders import Folder, printable
from colorjax.images.photo import FORMATS, SUFFIXES, output_suffix
from colorjax.terminal.errors import InputError

# Appended to the names of files that are written beside their sources.
COLOURED = "_coloured"
# Ending of the files that show a picture in grey and in colour.
COMPARED = "_compare.jpg"
# Image formats that are not written; without this, out.gif would become a folder.
_OTHER_FORMATS = (".gif", ".jp2", ".jxl", ".pdf", ".psd", ".svg")
_MAX_NAME = 255  # bytes, of all common file systems


class Job(NamedTuple):
    """A file to colour and the file to write."""

    source: Path
    target: Path


class Plan(NamedTuple):
    """What is to be done.

    Attributes:
      jobs: files to colour.
      current: number of files that are coloured already, with the same settings.
      own: number of files that are not coloured because colorjax wrote them.
      failures: files that cannot be coloured, and the reasons.
    """

    jobs: list[Job]
    current: int
    own: int
    failures: list[tuple[Path, str]]


class _Output(NamedTuple):
    """Where results go: into `folder` (beside each source if None), or to one `file`."""

    folder: Path | None
    file: Path | None
    suffix: str
    format: str

    def target(self, source: Path, name: str) -> Path:
        if self.file is not None:
            return self.file
        path = source if self.folder is None else self.folder / name
        ending = SUFFIXES[self.format] if self.format else output_suffix(path)
        return path.with_name(_shortened(path.stem + self.suffix, ending))


def plan(
    inputs: Sequence[str],
    output: str | Path | None,
    record: Record | None = None,
    *,
    suffix: str | None = None,
    format: str = "",
    compare: bool = False,
    overwrite: bool = False,
) -> Plan:
    """Finds the files, and where each is written.

    Args:
      inputs: files, folders (searched recursively) and globs. Files that colorjax wrote are not
        inputs.
      output: a folder, in which each file keeps its name or its path in a folder; a file, for one
        input file; or None, beside each source.
      record: of what colorjax wrote.
      suffix: appended to each name; by default COLOURED beside the sources and nothing elsewhere.
      format: a key of SUFFIXES; "" keeps the format of each file.
      compare: whether `compared(target)` is written too.
      overwrite: whether files that colorjax did not write may be replaced, and files that are
        coloured already are coloured again.

    Raises:
      InputError: an input does not exist, there are no images, two files would be written to the
        same path, a file would be replaced by its own coloured version, or the output is not
        possible.
    """
    record = record or Record()
    place = _output(output, suffix, format)
    failures: list[tuple[Path, str]] = []
    own: list[Path] = []
    jobs: dict[Path, Job] = {}  # by target; several inputs may contain the same file
    found = [one for given in inputs for one in _sources(given, place, failures)]
    if place.file is not None and (len(found) != 1 or os.path.isdir(os.path.expanduser(inputs[0]))):
        raise InputError(f"{printable(place.file)} is one file; give a folder for several results")
    for source, name in found:
        if not os.path.exists(source):
            failures.append((source, "is a link to a file that does not exist"))
        elif record.wrote(Path(os.path.realpath(source))):
            own.append(source)
        else:
            job = Job(source, place.target(source, name))
            if jobs.setdefault(job.target, job) != job:
                _refuse_same_target(jobs[job.target].source, job)
    if own and not jobs and not failures:
        named = printable(own[0]) if len(own) == 1 else f"all {len(own)} images"
        raise InputError(f"{named}: written by colorjax; give the photograph that it was made from")
    if not jobs and not failures:
        raise InputError(f"no images in {', '.join(map(printable, inputs))}; give files or folders")
    _check_targets(jobs, compare)
    to_do, current = [], 0
    for job in jobs.values():
        outputs = [job.target, compared(job.target)] if compare else [job.target]
        reason = _obstacle(job, outputs, record, overwrite, place.file is not None)
        if reason:
            failures.append((job.source, reason))
        elif not overwrite and all(record.is_current(path, job.source) for path in outputs):
            current += 1
        else:
            to_do.append(job)
    return Plan(to_do, current, len(own), failures)


def compared(target: Path) -> Path:
    """The file that shows a picture in grey and in colour."""
    # The extension is part of the name, because a.jpg and a.png may be in one folder.
    return target.with_name(_shortened(target.name, COMPARED))


def _output(output: str | Path | None, suffix: str | None, format: str) -> _Output:
    if suffix is not None and {"/", os.sep, os.altsep} & set(suffix):
        raise InputError(f"--suffix {suffix} must not contain a slash; --output names a folder")
    if output is None:
        return _Output(None, None, COLOURED if suffix is None else suffix, format)
    if not str(output):
        raise InputError("--output is empty; give a folder or a file")
    path = Path(os.path.expanduser(output))
    ending = path.suffix.lower()
    is_image = ending in FORMATS or ending in _OTHER_FORMATS
    if os.path.isdir(path) or str(output).endswith(os.sep) or not is_image:
        if os.path.lexists(path) and not os.path.isdir(path):
            raise InputError(f"{printable(path)} is a file; choose another --output")
        return _Output(path, None, suffix or "", format)
    if FORMATS.get(ending) not in SUFFIXES:
        raise InputError(f"{ending} is not written; choose {', '.join(SUFFIXES.values())}")
    if format and FORMATS[ending] != format:
        raise InputError(f"--output {printable(path)} is not {format}; leave out --format")
    if suffix:
        raise InputError("--suffix is for folders; give the complete name as --output")
    return _Output(None, path, "", format)


def _sources(
    given: str, output: _Output, failures: list[tuple[Path, str]]
) -> Iterator[tuple[Path, str]]:
    """Files, and their names relative to the output folder. Links may be dangling."""
    if not given:
        raise InputError("an input is empty; give files or folders")
    path = Path(os.path.expanduser(given))
    if os.path.isdir(path):
        yield from _in_folder(path, output, failures)
    elif os.path.isfile(path):
        yield path, path.name
    elif os.path.islink(path):
        raise InputError(f"{printable(path)} is a link to a file that does not exist; mend it")
    elif os.path.exists(path):
        raise InputError(f"{printable(path)} is not a file; - reads from standard input")
    else:
        matches = _matches(path)
        if not matches:
            raise InputError(f"{printable(path)} does not exist; check the path")
        for match in matches:
            if os.path.islink(match) and not os.path.exists(match):
                yield Path(match), Path(match).name
            # The folders of ** hold what it finds anyway.
            elif "**" not in path.parts or not os.path.isdir(match):
                yield from _sources(match, output, failures)


def _matches(path: Path) -> list[str]:
    """Matches of a glob. Folders that exist are taken literally: they may have brackets."""
    literal, parts = Path(), list(path.parts)
    while len(parts) > 1 and os.path.isdir(literal / parts[0]):
        literal /= parts.pop(0)
    pattern = os.path.join(glob.escape(str(literal)), *parts)
    return [os.path.normpath(match) for match in sorted(glob.glob(pattern, recursive=True))]


def _in_folder(
    folder: Path, output: _Output, failures: list[tuple[Path, str]]
) -> Iterator[tuple[Path, str]]:
    try:
        names = list(Folder(folder).names)
    except OSError as error:
        raise InputError(f"{printable(folder)} cannot be read ({error.strerror})") from error
    names += _dangling(folder, failures)
    stems = {os.path.splitext(name)[0] for name in names}
    inside = os.path.realpath(output.folder) if output.folder else None
    for name in names:
        stem = os.path.splitext(name)[0]
        # Written by a version that left no record, or changed since.
        coloured = output.suffix and stem.removesuffix(output.suffix) in stems - {stem}
        below = inside is not None and inside != os.path.realpath(folder)
        below = below and os.path.realpath(folder / name).startswith(f"{inside}{os.sep}")
        if not coloured and not below:
            yield folder / name, name


def _dangling(folder: Path, failures: list[tuple[Path, str]]) -> list[str]:
    """Images that are links to nothing; folders that cannot be read become failures."""

    def unreadable(error: OSError) -> None:
        failures.append((Path(error.filename), error.strerror or "cannot be read"))

    found = []
    for place, _, names in os.walk(folder, onerror=unreadable):
        for path in (Path(place, name) for name in names if not name.startswith(".")):
            if path.suffix.lower() in FORMATS and path.is_symlink() and not os.path.exists(path):
                found.append(path.relative_to(folder).as_posix())
    return found


def _refuse_same_target(first: Path, job: Job) -> None:
    raise InputError(
        f"{printable(first)} and {printable(job.source)} would both be written to "
        f"{printable(job.target)}; colour them separately, into different folders"
    )


def _check_targets(jobs: dict[Path, Job], compare: bool) -> None:
    """Refuses targets that are sources, or written twice."""
    sources = {os.path.realpath(job.source) for job in jobs.values()}
    for job in jobs.values():
        target = job.target
        if compare and compared(target) in jobs:
            _refuse_same_target(job.source, jobs[compared(target)])
        if os.path.exists(target) and (
            os.path.samefile(target, job.source) or os.path.realpath(target) in sources
        ):
            raise InputError(
                f"{printable(target)} would be replaced by its coloured version; choose another "
                "--output, or add a --suffix"
            )


def _obstacle(
    job: Job, outputs: Sequence[Path], record: Record, overwrite: bool, named: bool
) -> str:
    """Why the outputs must not be written; "" if they may."""
    for path in outputs:
        if os.path.isdir(path):
            return f"{printable(path)} is a folder; choose another --output"
        if overwrite or not os.path.lexists(path):
            continue
        if not record.wrote(path):
            return f"{printable(path)} exists and is not from colorjax; --overwrite replaces it"
        if not named and not record.is_from(path, job.source):
            return (
                f"{printable(path)} was coloured from another photograph; --overwrite replaces it"
            )
    return ""


def _shortened(stem: str, ending: str) -> str:
    """A file name. A stem that is too long is cut, and stays distinct."""
    room = _MAX_NAME - len(os.fsencode(ending))
    encoded = os.fsencode(stem)
    if len(encoded) > room:
        mark = "~" + hashlib.sha256(encoded).hexdigest()[:8]
        # A character that would be cut in half is left out.
        stem = encoded[: room - len(mark)].decode("utf-8", "ignore") + mark
    return stem + ending
