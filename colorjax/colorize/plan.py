"""Which files are coloured, and where the results go."""

import functools
import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from colorjax.colorize.inputs import Found, find
from colorjax.colorize.record import Record, stamp
from colorjax.files import check_folder
from colorjax.images import xmp
from colorjax.images.folders import printable
from colorjax.images.photo import FORMATS, SUFFIXES, output_suffix
from colorjax.terminal.errors import InputError

# Appended to the names of files that are written beside their sources.
COLOURED = "_coloured"
# Ending of the files that show a picture in grey and in colour.
COMPARED = "_compare.jpg"
# Ending of those that show how unsure the model is.
UNCERTAINTY = "_uncertainty.png"
# Why a file is left out.
OWN = "because colorjax wrote them"
# Image formats that are not written; without this, out.gif would become a folder.
_OTHER_FORMATS = (".gif", ".jp2", ".jxl", ".pdf", ".psd", ".svg")
_MAX_NAME = 255  # bytes, of all common file systems


class Job(NamedTuple):
    """A file to colour and the files to write.

    Attributes:
      source: the file to colour.
      target: the coloured file; of several candidates the first.
      stamp: the source's `record.stamp` when it was planned: it may change while it is coloured.
      compared: the file that shows it in grey and in colour, if it is written.
      others: the other candidates.
      uncertainty: the file that shows how unsure the model is, if it is written.
      candidate: which of the candidates `target` is, if not the first; it has no others then.
    """

    source: Path
    target: Path
    stamp: tuple[int, ...] = ()
    compared: Path | None = None
    others: tuple[Path, ...] = ()
    uncertainty: Path | None = None
    candidate: int = 0

    @property
    def outputs(self) -> list[Path]:
        more = [path for path in (self.compared, self.uncertainty) if path]
        return [self.target, *self.others, *more]


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
      jobs: files to colour.
      current: number of files that are coloured already, with the same settings.
      left_out: reasons why files are not coloured, and their numbers.
      failures: files that cannot be coloured, and the reasons.
    """

    jobs: Sequence[Job]
    current: int
    left_out: Mapping[str, int]
    failures: Sequence[tuple[Path, str]]
    _rules: "_Rules"

    def obstacle(self, job: Job) -> str:
        """Why a job must not be written: what has appeared since it was planned; "" if it may."""
        if not self._rules.obstacle(job):
            return ""
        for path in job.outputs:  # perhaps another process has written it
            self._rules.record.forget(path.parent)
        return self._rules.obstacle(job)


@dataclass
class Results:
    """What has become of the files so far.

    Attributes:
      coloured: number of files written.
      failures: the files that failed, and the reasons: the source, or the target if that could
        not be written.
      notes: sources, and what their coloured files do not keep.
    """

    coloured: int = 0
    failures: list[tuple[Path, str]] = field(default_factory=list)
    notes: list[tuple[Path, str]] = field(default_factory=list)


class Place(NamedTuple):
    """Where results go: into `folder` (beside each source if None), or to one `file`.

    With more than one candidate, `_1`, `_2`, … are appended to the names.
    """

    folder: Path | None
    file: Path | None
    suffix: str
    format: str
    candidates: int = 1

    def target(self, found: Found) -> Path:
        """The coloured file, or the first candidate."""
        return self.targets(found)[0]

    def targets(self, found: Found, keep_suffix: bool = False) -> list[Path]:
        """The candidates."""
        path = self._named(found)
        if self.file is not None:
            stem, ending = path.stem, path.suffix
        else:
            ending = SUFFIXES[self.format] if self.format else output_suffix(path)
            stem = (path.name if keep_suffix else path.stem) + self.suffix
        if self.candidates == 1:
            return [self.file or path.with_name(_shortened(stem, ending))]
        numbers = range(1, self.candidates + 1)
        return [path.with_name(_shortened(stem, f"_{number}{ending}")) for number in numbers]

    def uncertainty(self, found: Found, keep_suffix: bool = False) -> Path:
        """NAME_uncertainty.png, where NAME has the suffix that was asked for."""
        path = self._named(found)
        suffix = "" if self.file is not None or self.suffix == COLOURED else self.suffix
        stem = path.name if keep_suffix else path.stem
        return path.with_name(_shortened(stem + suffix, UNCERTAINTY))

    def _named(self, found: Found) -> Path:
        if self.file is not None:
            return self.file
        return found.path if self.folder is None else self.folder / found.name


class _Rules(NamedTuple):
    """What may be replaced."""

    record: Record
    overwrite: bool
    named: bool  # whether the output is a file that the user named
    guards: bool  # whether names are as people's own, such as IMG_1: candidates beside the sources
    sources: frozenset[str]  # real paths

    def obstacle(self, job: Job) -> str:
        """Why the outputs must not be written; "" if they may."""
        for path in filter(os.path.lexists, job.outputs):
            if os.path.isdir(path):
                return f"{printable(path)} is a folder; choose another --output"
            if os.path.realpath(path) in self.sources:
                return f"{printable(path)} is an input too; choose another --output or --suffix"
            if self.overwrite and self.guards and not self._is_ours(path):
                return f"{printable(path)} exists and is not from colorjax; choose an --output"
            if self.overwrite:
                continue
            if not self.record.wrote(path):
                return f"{printable(path)} exists and is not from colorjax; --overwrite replaces it"
            if not self.named and not self.record.is_from(path, job.source):
                name = printable(path)
                return f"{name} was coloured from another photograph; --overwrite replaces it"
        return ""

    def _is_ours(self, path: Path) -> bool:
        return self.record.wrote(path) or xmp.is_marked(path)


def plan(
    inputs: Sequence[str],
    output: str | Path | None,
    record: Record | None = None,
    *,
    suffix: str | None = None,
    format: str = "",
    compare: bool = False,
    candidates: int = 1,
    uncertainty: bool = False,
    overwrite: bool = False,
) -> Plan:
    """Finds the files, and where each is written.

    Args:
      inputs: files, folders (searched recursively) and globs. Files that colorjax wrote are not
        inputs.
      output: a folder, in which each file keeps its name or its path in a folder; a file, for one
        input file; or None, beside each source.
      record: of what colorjax wrote.
      suffix: appended to each name; by default COLOURED beside the sources and nothing elsewhere
        and for candidates.
      format: a key of SUFFIXES; "" keeps the format of each file.
      compare: whether `Job.compared` is written too.
      candidates: number of coloured files for each photograph.
      uncertainty: whether `Job.uncertainty` is written too.
      overwrite: whether files that colorjax did not write may be replaced, and files that are
        coloured already are coloured again.

    Raises:
      InputError: an input does not exist, there are no images, two files would be written to the
        same path, a file would be replaced by its own coloured version, or the output is not
        possible.
    """
    record = record or Record()
    place = find_place(output, suffix, format, candidates)
    found = _found(inputs, place, record)
    failures = [(one.path, one.failure) for one in found if one.failure]
    left_out = Counter(one.left_out for one in found if one.left_out)
    sources = [one for one in found if not (one.failure or one.left_out)]
    if not sources and not failures:
        _refuse_nothing(inputs, found)
    folders = any(os.path.isdir(os.path.expanduser(given)) for given in inputs)
    if place.file is not None and (folders or len(sources) + len(failures) > 1):
        raise InputError(f"{printable(place.file)} is one file; give a folder for several results")
    rules = _Rules(
        record,
        overwrite,
        place.file is not None,
        candidates > 1 and place.folder is None,
        frozenset(os.path.realpath(one.path) for one in sources),
    )
    to_do, current = [], 0
    for job in _jobs(sources, place, compare, uncertainty):
        reason = rules.obstacle(job)
        if reason:
            failures.append((job.source, reason))
        elif not overwrite and all(record.is_current(path, job.stamp) for path in job.outputs):
            current += 1
        else:
            to_do.append(job)
    return Plan(to_do, current, left_out, failures, rules)


def _found(inputs: Sequence[str], place: Place, record: Record) -> list[Found]:
    """What inputs name, and once what several name; links of other names are other pictures."""
    unique: dict[tuple[str, ...], Found] = {}
    real_folder = functools.cache(os.path.realpath)
    # Candidates have no suffix, but other results beside them may.
    suffix = place.suffix or ("" if place.folder or place.file else COLOURED)
    for given in inputs:
        for one in find(given, place.folder, suffix):
            target = place.target(one) if not one.failure else one.path
            key = os.path.realpath(one.path), real_folder(target.parent), target.name
            if key not in unique or unique[key].left_out:  # it may be left out in its folder only
                unique[key] = one
    return [
        one._replace(left_out=OWN) if not one.failure and _is_own(one, place, record) else one
        for one in unique.values()
    ]


def _is_own(one: Found, place: Place, record: Record) -> bool:
    """Whether colorjax wrote a file: by the record or, after it was moved or copied, by its XMP."""
    if record.wrote(Path(os.path.realpath(one.path))):
        return True
    # What is coloured already need not be opened.
    known = record.is_current(place.target(one), stamp(one.path))
    return not known and xmp.is_marked(one.path)


def _refuse_nothing(inputs: Sequence[str], found: Sequence[Found]) -> None:
    own = [one.path for one in found if one.left_out == OWN]
    if own:
        named = printable(own[0]) if len(own) == 1 else f"all {len(own)} images"
        raise InputError(f"{named}: written by colorjax; give the photograph that it was made from")
    raise InputError(f"no images in {', '.join(map(printable, inputs))}; give files or folders")


def _jobs(sources: Sequence[Found], place: Place, compare: bool, uncertainty: bool) -> list[Job]:
    """Raises InputError for an output that is its own source, or would be written twice."""
    jobs = []
    writers: dict[Path, Path] = {}
    shared = Counter(place.target(one) for one in sources)
    shared_maps = Counter(place.uncertainty(one) for one in sources)
    for one in sources:
        target, *others = place.targets(one)
        if shared[target] > 1 and target.suffix != one.path.suffix:
            target, *others = place.targets(one, keep_suffix=True)  # a.heic beside a.jpg
        # The extension is part of the name, because a.jpg and a.png may be in one folder.
        pair = target.with_name(_shortened(target.name, COMPARED)) if compare else None
        unsure = place.uncertainty(one, shared_maps[place.uncertainty(one)] > 1)
        job = Job(
            one.path,
            target,
            stamp(one.path),
            pair,
            tuple(others),
            unsure if uncertainty else None,
        )
        for path in job.outputs:
            if os.path.exists(path) and os.path.samefile(path, job.source):
                raise InputError(
                    f"{printable(path)} would be replaced by its coloured version; choose another "
                    "--output, or add a --suffix"
                )
            if writers.setdefault(path, job.source) != job.source:
                raise InputError(
                    f"{printable(writers[path])} and {printable(job.source)} would both be written "
                    f"to {printable(path)}; colour them separately, into different folders"
                )
        jobs.append(job)
    return jobs


def find_place(
    output: str | Path | None, suffix: str | None, format: str, candidates: int = 1
) -> Place:
    """Where results go. Raises InputError if an output is not possible. See `plan`."""
    if suffix is not None and {"/", os.sep, os.altsep} & set(suffix):
        raise InputError(f"--suffix {suffix} must not contain a slash; --output names a folder")
    if output is None:
        default = COLOURED if candidates == 1 else ""
        return Place(None, None, default if suffix is None else suffix, format, candidates)
    if not str(output):
        raise InputError("--output is empty; give a folder or a file")
    path = Path(os.path.expanduser(output))
    ending = path.suffix.lower()
    is_image = ending in FORMATS or ending in _OTHER_FORMATS
    if os.path.isdir(path) or str(output).endswith(os.sep) or not is_image:
        check_folder(path)
        return Place(path, None, suffix or "", format, candidates)
    if FORMATS.get(ending) not in SUFFIXES:
        raise InputError(f"{ending} cannot be written; choose {', '.join(SUFFIXES.values())}")
    if format and FORMATS[ending] != format:
        raise InputError(f"--output {printable(path)} is not {format}; leave out --format")
    if suffix:
        raise InputError("--suffix is for folders; give the complete name as --output")
    check_folder(path.parent)
    return Place(None, path, "", format, candidates)


def _shortened(stem: str, ending: str) -> str:
    """A file name. A stem that is too long is cut, and stays distinct."""
    room = _MAX_NAME - len(os.fsencode(ending))
    encoded = os.fsencode(stem)
    if len(encoded) > room:
        mark = "~" + hashlib.sha256(encoded).hexdigest()[:8]
        # A character that would be cut in half is left out.
        stem = encoded[: room - len(mark)].decode("utf-8", "ignore") + mark
    return stem + ending
