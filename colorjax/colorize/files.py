"""Colouring files: which, where to, and one after the other without losing any."""

import errno
import glob
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from colorjax.colorize.colorizer import Colorizer
from colorjax.images.folders import Folder
from colorjax.images.photo import FORMATS, SUFFIXES, Photo, read_photo, to_bytes
from colorjax.images.write_photo import write_photo
from colorjax.terminal.errors import EndedError, InputError

# Pictures are read, coloured and written in batches of at most so many pixels.
BATCH_PIXELS = 1 << 24
# How the name of a picture beside its grey self ends.
COMPARED = "_compare.jpg"


class Job(NamedTuple):
    """A file to colour and the one to write."""

    source: Path
    target: Path


class Failure(NamedTuple):
    """A file that could not be coloured, and why."""

    source: Path
    reason: str


def plan(inputs: Sequence[str], output: Path, suffix: str = "", format: str = "") -> list[Job]:
    """Finds the files and says where each goes: its name, or its path within a folder, in `output`.

    Args:
      inputs: files, folders (with all below them) and globs.
      output: a folder. What lies in it is no input.
      suffix: goes behind each name; files that already end so are no input.
      format: a key of SUFFIXES; "" keeps that of each file.

    Raises:
      InputError: an input is not there, there is none, two would become the same file, or one would
        be replaced by its colours.
    """
    jobs = []
    for given in inputs:
        for source, name in _sources(given, output, suffix):
            path = Path(name)
            ending = SUFFIXES[format] if format else path.suffix
            jobs.append(Job(source, output / path.with_name(path.stem + suffix + ending)))
    if not jobs:
        raise InputError(f"there is no image in {', '.join(inputs)}; give files or folders")
    jobs = list(dict.fromkeys(jobs))  # the same file by two inputs
    _check(jobs)
    return jobs


def _sources(given: str, output: Path, suffix: str) -> Iterator[tuple[Path, str]]:
    """Files, and the names that they shall have below the output."""
    path = Path(given).expanduser()
    if path.is_dir():
        inside = output.resolve()
        for name in _names(path):
            source = path / name
            written = suffix and (source.stem.endswith(suffix) or name.endswith(COMPARED))
            # An output that is the input itself needs a suffix, which tells them apart.
            below = inside in source.resolve().parents and inside != path.resolve()
            if not written and not below:
                yield source, name
    elif path.exists():
        yield path, path.name
    else:
        found = sorted(glob.glob(os.path.expanduser(given), recursive=True))
        if not found:
            raise InputError(f"{printable(path)} does not exist; check the path")
        for match in found:
            yield from _sources(match, output, suffix)


def _names(folder: Path) -> Iterator[str]:
    try:
        yield from Folder(folder).names
    except OSError as error:
        raise InputError(f"{printable(folder)} cannot be read ({error.strerror})") from error


def _check(jobs: Iterable[Job]) -> None:
    sources: dict[Path, Path] = {}
    for source, target in jobs:
        if target in sources and sources[target] != source:
            raise InputError(
                f"{printable(sources[target])} and {printable(source)} would both become "
                f"{printable(target)}; colour them into folders of their own"
            )
        sources[target] = source
        if target.exists() and target.samefile(source):
            raise InputError(
                f"{printable(source)} would be replaced by its colours; choose another --output, "
                "or add a --suffix"
            )


def colorize_files(
    jobs: Sequence[Job],
    colorizer: Colorizer,
    *,
    saturation: float = 1.0,
    compare: bool = False,
    batch_size: int = 8,
    advance: Callable[[], None] = lambda: None,
) -> list[Failure]:
    """Colours files; one that fails does not stop the rest.

    The next batch is read and the last one written while one is coloured.

    Args:
      jobs: see `plan`.
      colorizer: what colours them.
      saturation: a*b* are multiplied by it.
      compare: writes NAME_compare.jpg too, grey and coloured side by side (a_png_compare.jpg).
      batch_size: files at once at most.
      advance: called when a file is done.

    Returns:
      What failed.

    Raises:
      EndedError: the disk is full. All files there are whole.
    """
    failures: list[Failure] = []
    batches = list(_batches(jobs, batch_size))
    with ThreadPoolExecutor() as pool:

        def start(batch: Sequence[Job]) -> list[tuple[Job, Future[Photo]]]:
            return [(job, pool.submit(read_photo, job.source)) for job in batch]

        def finish(writing: Iterable[tuple[Job, Future[None]]]) -> None:
            for job, future in writing:
                _collect(job, future, failures)
                advance()

        writing: list[tuple[Job, Future[None]]] = []
        reading = start(batches[0]) if batches else []
        for following in [*batches[1:], []]:
            photos = [(job, _collect(job, future, failures)) for job, future in reading]
            reading = start(following)
            read = [(job, photo) for job, photo in photos if photo is not None]
            for _ in range(len(photos) - len(read)):
                advance()
            coloured = colorizer([photo.rgb for _, photo in read], saturation)
            finish(writing)
            writing = [
                (job, pool.submit(_write, job, photo, rgb, compare))
                for (job, photo), rgb in zip(read, coloured, strict=True)
            ]
        finish(writing)
    return failures


def _batches(jobs: Sequence[Job], batch_size: int) -> Iterator[list[Job]]:
    batch: list[Job] = []
    pixels = 0
    for job in jobs:
        size = _pixels(job.source)
        if batch and (len(batch) == batch_size or pixels + size > BATCH_PIXELS):
            yield batch
            batch, pixels = [], 0
        batch.append(job)
        pixels += size
    if batch:
        yield batch


def _pixels(path: Path) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path) as image:
                return image.width * image.height
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return 0  # reading it will say what is wrong


def _collect(job: Job, future: Future, failures: list[Failure]) -> Photo | None:
    try:
        return future.result()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise EndedError(
                f"the disk of {printable(job.target.parent)} is full; make room, and the same "
                "command goes on"
            ) from error
        reason = error.strerror or str(error)
    except (ValueError, MemoryError) as error:
        reason = str(error) or "is too large for the memory"
    failures.append(Failure(job.source, reason))
    return None


def _write(job: Job, photo: Photo, rgb: np.ndarray, compare: bool) -> None:
    format = FORMATS.get(job.target.suffix.lower(), photo.format)
    if compare:
        both = np.concatenate([_grey(photo.rgb), to_bytes(rgb)], axis=1)
        # The ending too: a.jpg and a.png may lie side by side.
        pair = job.target.with_name(job.target.name.replace(".", "_") + COMPARED)
        write_photo(pair, Photo(both, format="jpeg"))
    # Last: a file that is there is done.
    write_photo(job.target, photo._replace(rgb=rgb, format=format))


def _grey(rgb: np.ndarray) -> np.ndarray:
    """[H, W, 3] uint8."""
    grey = Image.fromarray(to_bytes(rgb)).convert("L")
    return np.asarray(grey.convert("RGB"))


def printable(path: Path) -> str:
    """A path for people, when its bytes are no UTF-8 too."""
    return os.fsencode(path).decode("utf-8", "replace")
