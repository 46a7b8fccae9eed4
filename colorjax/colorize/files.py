"""Colouring files: which files, where the results go, and the batches in between."""

import errno
import glob
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from colorjax.colorize.colorizer import Colorizer
from colorjax.images.folders import Folder, printable
from colorjax.images.photo import FORMATS, SUFFIXES, Photo, read_photo, to_bytes
from colorjax.images.write_photo import write_photo
from colorjax.terminal.errors import EndedError, InputError

# Maximum number of pixels per batch, unless it is a single picture.
BATCH_PIXELS = 1 << 24
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


def colorize_files(
    jobs: Sequence[Job],
    colorizer: Colorizer,
    *,
    saturation: float = 1.0,
    compare: bool = False,
    batch_size: int = 8,
    advance: Callable[[], None] = lambda: None,
) -> list[tuple[Path, str]]:
    """Colours files. A file that fails does not stop the others.

    While a batch is coloured, the next one is read and the previous one is written.

    Args:
      jobs: see `plan`.
      colorizer: colours the pictures.
      saturation: factor applied to a*b*.
      compare: also writes grey and coloured side by side, a_png_compare.jpg for a.png.
      batch_size: maximum number of files per batch.
      advance: called once for each file that is written or has failed.

    Returns:
      The files that failed, and the reasons.

    Raises:
      EndedError: the disk is full. No file is left half written.
    """
    failures = []

    def results(started: Iterable[tuple[Job, Future]]) -> Iterator[tuple[Job, Any]]:
        for job, future in started:
            try:
                yield job, future.result()
            except (OSError, ValueError, MemoryError) as error:
                if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                    raise EndedError(
                        f"the disk of {printable(job.target.parent)} is full; free space and run "
                        "the same command again to resume"
                    ) from error
                reason = getattr(error, "strerror", None) or str(error) or "not enough memory"
                failures.append((job.source, reason))
                advance()

    writing: list[tuple[Job, Future]] = []
    reading: list[tuple[Job, Future]] = []
    with ThreadPoolExecutor() as pool:
        for batch in [*_batches(jobs, batch_size), []]:
            photos = list(results(reading))
            reading = [(job, pool.submit(read_photo, job.source)) for job in batch]
            coloured = colorizer([photo.rgb for _, photo in photos], saturation)
            for _ in results(writing):
                advance()
            writing = [
                (job, pool.submit(_write, job, photo, rgb, compare))
                for (job, photo), rgb in zip(photos, coloured, strict=True)
            ]
        for _ in results(writing):
            advance()
    return failures


def _batches(jobs: Sequence[Job], batch_size: int) -> Iterator[list[Job]]:
    batch: list[Job] = []
    pixels = 0
    for job in jobs:
        size = _num_pixels(job.source)
        if batch and (len(batch) == batch_size or pixels + size > BATCH_PIXELS):
            yield batch
            batch, pixels = [], 0
        batch.append(job)
        pixels += size
    if batch:
        yield batch


def _num_pixels(path: Path) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path) as image:
                return image.width * image.height
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return 0  # the error is reported when the file is read


def _write(job: Job, photo: Photo, rgb: np.ndarray, compare: bool) -> None:
    if compare:
        grey = Image.fromarray(to_bytes(photo.rgb)).convert("L").convert("RGB")
        both = np.concatenate([np.asarray(grey), to_bytes(rgb)], axis=1)
        # The extension is part of the name, because a.jpg and a.png may be in one folder.
        name = job.target.name.replace(".", "_") + COMPARED
        write_photo(job.target.with_name(name), Photo(both, format="jpeg"))
    format = FORMATS.get(job.target.suffix.lower(), photo.format)
    # Written last: a file that exists is complete.
    write_photo(job.target, photo._replace(rgb=rgb, format=format))
