"""Colouring files: read, coloured and written in batches."""

import errno
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from colorjax.colorize.colorizer import Colorizer
from colorjax.colorize.plan import Job, compared
from colorjax.images.folders import printable
from colorjax.images.photo import FORMATS, Photo, read_photo, to_bytes
from colorjax.images.write_photo import write_photo
from colorjax.terminal.errors import EndedError

# Maximum number of pixels per batch, unless it is a single picture.
BATCH_PIXELS = 1 << 24


class Results(NamedTuple):
    """Of a batch: the number of coloured files; failed files and why; files and notes on them."""

    coloured: int
    failures: list[tuple[Path, str]]
    notes: list[tuple[Path, str]]


def colorize_files(
    jobs: Sequence[Job],
    colorizer: Colorizer,
    *,
    saturation: float = 1.0,
    compare: bool = False,
    batch_size: int = 8,
    mark: str | None = None,
    advance: Callable[[], None] = lambda: None,
    written: Callable[[Job], None] = lambda job: None,
) -> Results:
    """Colours files. A file that fails does not stop the others.

    While a batch is coloured, the next one is read and the previous one is written.

    Args:
      jobs: see `plan`.
      colorizer: colours the pictures.
      saturation: factor applied to a*b*.
      compare: also writes grey and coloured side by side, see `plan.compared`.
      batch_size: maximum number of files per batch.
      mark: name of the model that the files name in their XMP; None for no mark.
      advance: called once for each file that is written or has failed.
      written: called after a job's files are complete.

    Returns:
      The number of coloured files, those that failed, and notes on files.

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

    def finish() -> None:
        for job, _ in results(writing):
            written(job)
            done.append(job)
            advance()

    done: list[Job] = []
    writing: list[tuple[Job, Future]] = []
    reading: list[tuple[Job, Future]] = []
    with ThreadPoolExecutor() as pool:
        for batch in [*_batches(jobs, batch_size), []]:
            photos = list(results(reading))
            reading = [(job, pool.submit(read_photo, job.source)) for job in batch]
            coloured = colorizer([photo.rgb for _, photo in photos], saturation)
            finish()
            writing = [
                (job, pool.submit(_write, job, photo, rgb, compare))
                for (job, photo), rgb in zip(photos, coloured, strict=True)
            ]
        finish()
    return Results(len(done), failures, [])


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
        write_photo(compared(job.target), Photo(both, format="jpeg"))
    format = FORMATS.get(job.target.suffix.lower(), photo.format)
    # Written last: a file that exists is complete.
    write_photo(job.target, photo._replace(rgb=rgb, format=format))
