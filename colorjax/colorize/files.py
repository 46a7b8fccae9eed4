"""Colouring files: read by worker processes, coloured in batches, written in threads."""

import contextlib
import errno
import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from colorjax import __version__
from colorjax.colorize.colorizer import Colorizer
from colorjax.colorize.extras import candidate, side_by_side, uncertainty_picture
from colorjax.colorize.hints import Hints
from colorjax.colorize.pictures import in_threads
from colorjax.colorize.plan import Job, Results
from colorjax.colorize.views import reduced
from colorjax.images import xmp
from colorjax.images.decode import num_cores
from colorjax.images.folders import printable
from colorjax.images.photo import FORMATS, Photo
from colorjax.images.photo_reader import PhotoReader
from colorjax.images.write_photo import not_kept, write_photo
from colorjax.terminal.errors import EndedError

# Maximum number of pixels per batch, unless it is a single picture.
BATCH_PIXELS = 1 << 24
# Files are read ahead until they have this many bytes together, packed or unpacked.
AHEAD_BYTES = 1 << 27


class Reader(Protocol):
    """What files are read with: `PhotoReader`, or what has read them already."""

    def submit(self, path: Path) -> "Future[Photo]":
        """Starts to read a file."""
        ...

    def end(self) -> None:
        """No more files will be read."""
        ...


def colorize_files(
    jobs: Sequence[Job],
    colorizer: Colorizer,
    results: Results | None = None,
    *,
    saturation: float = 1.0,
    batch_size: int = 8,
    mark: str | None = None,
    hints: Hints | None = None,
    advance: Callable[[], None] = lambda: None,
    obstacle: Callable[[Job], str] = lambda job: "",
    written: Callable[[Job, Path], None] = lambda job, path: None,
    reader: Reader | None = None,
) -> Results:
    """Colours files. A file that fails does not stop the others.

    While a batch is coloured, the next one is read and the previous one is written. Large pictures
    are coloured in temporary files: memory is needed for some of their rows only.

    Args:
      jobs: see `plan`.
      colorizer: colours the pictures.
      results: added to, also when the batch ends early.
      saturation: factor applied to a*b*.
      batch_size: maximum number of files per batch.
      mark: name of the model that XMP names as the source of the colours; None: no such mark.
      hints: for the first page of the photograph, if there is only one.
      advance: called once for each file that is written or has failed.
      obstacle: called before a job's files are written; gives the reason if they must not be.
      written: called with each file of a job once it is complete. It and the two before are called
        from other threads, one at a time.
      reader: reads the files, and ends its processes after the last. One that is created early,
        before JAX is imported, saves time.

    Returns:
      The results.

    Raises:
      EndedError: a disk is full. No file is left half written.
    """
    tally = _Tally(results or Results(), advance)
    one_at_a_time = threading.Lock()

    def write(job: Job, coloured: _Coloured) -> None:
        try:
            with one_at_a_time:
                reason = obstacle(job)
            if reason:
                tally.failed(job.source, ValueError(reason))
                return
            for path in _write(job, coloured, colorizer, mark):
                with one_at_a_time:
                    written(job, path)
        except Exception as error:
            tally.failed(job.target, error, "cannot be written ({})")
        else:
            tally.succeeded(job, coloured.photo.notes)

    writing: list[Future[None]] = []
    with contextlib.ExitStack() as stack:
        reader = reader or stack.enter_context(PhotoReader(len(jobs)))
        pool = stack.enter_context(ThreadPoolExecutor())
        stack.callback(pool.shutdown, cancel_futures=True)  # after Ctrl-C
        for batch in _batches(_arriving(jobs, reader, batch_size, tally), batch_size):
            found = _color(colorizer, batch, saturation, hints)
            for future in writing:
                future.result()
            writing = []
            for (job, _), coloured in zip(batch, found, strict=True):
                if isinstance(coloured, Exception):
                    tally.failed(job.source, coloured, "cannot be coloured ({})")
                else:
                    writing.append(pool.submit(write, job, coloured))
        for future in writing:
            future.result()
    return tally.results


class _Tally:
    """Counts, from several threads."""

    def __init__(self, results: Results, advance: Callable[[], None]) -> None:
        self.results = results
        self._advance, self._lock = advance, threading.Lock()

    def failed(self, path: Path, error: BaseException, words: str = "{}") -> None:
        """Counts a failure; raises what ends the batch: Ctrl-C, a full disk."""
        if not isinstance(error, Exception):
            raise error
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            # Reading fills the folder of the temporary files, writing that of the result.
            full = error.filename if words == "{}" and error.filename else path.parent
            raise EndedError(
                f"the disk of {printable(full)} is full; free space and run the same command "
                "again to resume"
            ) from error
        reason = _reason(error)
        reason = reason if reason.startswith("cannot be") else words.format(reason)
        with self._lock:
            self.results.failures.append((path, reason))
            self._advance()

    def succeeded(self, job: Job, notes: Sequence[str]) -> None:
        with self._lock:
            self.results.coloured += 1
            self.results.notes.extend((job.source, note) for note in notes)
            self._advance()


def _arriving(
    jobs: Sequence[Job],
    reader: Reader,
    batch_size: int,
    tally: _Tally,
) -> Iterator[tuple[Job, Photo]]:
    """The photographs as they are read, one batch ahead."""
    waiting: dict[Future[Photo], tuple[Job, int]] = {}
    queue = iter(jobs)
    largest = AHEAD_BYTES  # bytes of a decoded picture so far; not known yet
    while True:
        ahead = min(2 * batch_size, max(2 * num_cores(), AHEAD_BYTES // largest))
        while not waiting or (
            len(waiting) < ahead and sum(size for _, size in waiting.values()) < AHEAD_BYTES
        ):
            job = next(queue, None)
            if job is None:
                break
            waiting[reader.submit(job.source)] = job, _num_bytes(job.source)
        if not waiting:
            reader.end()
            return
        for future in wait(waiting, return_when=FIRST_COMPLETED).done:
            job, _ = waiting.pop(future)
            if error := future.exception():
                tally.failed(job.source, error)
                continue
            photo = future.result()
            size = sum(page.rgb.nbytes for page in (photo, *photo.pages))
            largest = size if largest == AHEAD_BYTES else max(largest, size)
            yield job, _as_written(photo, job.target)


def _num_bytes(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0  # the error is reported when the file is read


def _as_written(photo: Photo, target: Path) -> Photo:
    """A photograph in the format of the target; only TIFFs have several pages."""
    format = FORMATS.get(target.suffix.lower(), photo.format)
    if format != "tiff" and photo.pages:
        note = f"page 1 of {1 + len(photo.pages)} only; --format tiff keeps all"
        photo = photo._replace(pages=(), notes=(*photo.notes, note))
    return photo._replace(format=format, notes=(*photo.notes, *not_kept(photo, format)))


def _batches(
    photos: Iterator[tuple[Job, Photo]], batch_size: int
) -> Iterator[list[tuple[Job, Photo]]]:
    batch: list[tuple[Job, Photo]] = []
    pixels = 0
    for job, photo in photos:
        size = sum(math.prod(page.rgb.shape[:2]) for page in (photo, *photo.pages))
        if batch and (len(batch) == batch_size or pixels + size > BATCH_PIXELS):
            yield batch
            batch, pixels = [], 0
        batch.append((job, photo))
        pixels += size
    if batch:
        yield batch


class _Coloured(NamedTuple):
    """A photograph that is coloured, or whose candidates are about to be.

    Attributes:
      photo: coloured, unless there are candidates.
      candidates: for each of them the coefficients of each page; [] if there is one answer.
      uncertainty: of the first page, [h, w]; None if it is not asked for.
    """

    photo: Photo
    candidates: list[list[np.ndarray]]
    uncertainty: np.ndarray | None


def _color(
    colorizer: Colorizer,
    batch: Sequence[tuple[Job, Photo]],
    saturation: float,
    hints: Hints | None,
) -> list[_Coloured | Exception]:
    """Colours photographs in place, one by one if they fail together."""
    pages = [(photo, *photo.pages) for _, photo in batch]
    pictures = [page.rgb for photo in pages for page in photo]

    def full_size(picture: np.ndarray, coefficients: np.ndarray) -> None:
        colorizer.full_size(picture, saturation * coefficients, out=picture)

    first = batch[0][0]
    count, unsure = 1 + first.candidate + len(first.others), first.uncertainty is not None
    maps: Sequence[Any] = len(pictures) * [None]
    choices = maps
    try:
        given: list[Any] = []
        if hints is not None:
            height, width = pictures[0].shape[:2]
            given = [[hints.of((width, height)), *(len(pictures) - 1) * [None]]]
        views = in_threads(reduced, pictures)
        crops = colorizer.find_faces(views)
        if unsure:
            maps = colorizer.uncertainty_maps(views, crops, *given)
        if count == 1:
            in_threads(full_size, pictures, colorizer.coefficients(views, crops, *given))
        else:
            choices = colorizer.candidate_coefficients(views, count, crops, *given)
    except Exception as error:
        if len(batch) == 1:
            return [error]
        return [one for job in batch for one in _color(colorizer, [job], saturation, hints)]
    found = iter(zip(crops, choices, maps, strict=True))
    coloured: list[_Coloured | Exception] = []
    for photo in pages:
        faces, of_pages, (uncertainty, *_) = zip(*(next(found) for _ in photo), strict=True)
        candidates = [
            [saturation * of_page[i] for of_page in of_pages]
            for i in range(count if count > 1 else 0)
        ]
        named = photo[0] if any(faces) else _without_face(photo[0])
        coloured.append(_Coloured(named, candidates, uncertainty))
    return coloured


def _without_face(photo: Photo) -> Photo:
    note = "no face found; the colours of other things are less reliable"
    return photo._replace(notes=(*photo.notes, note))


def _write(job: Job, coloured: _Coloured, colorizer: Colorizer, mark: str | None) -> Iterator[Path]:
    """Writes a job's files; gives each once it is complete."""

    def marked(photo: Photo) -> Photo:
        if mark is None:
            return photo
        return photo._replace(xmp=xmp.marked(photo.xmp, f"colorjax {__version__}", mark))

    photo, folder = coloured.photo, job.target.parent
    if job.compared:
        write_photo(job.compared, marked(side_by_side(photo.rgb, colorizer)))
        yield job.compared
    if job.uncertainty and coloured.uncertainty is not None:
        picture = uncertainty_picture(coloured.uncertainty, photo.rgb.shape[:2], folder)
        write_photo(job.uncertainty, marked(picture))
        yield job.uncertainty
    for path, coefficients in zip(job.others, coloured.candidates[1:], strict=False):
        write_photo(path, marked(candidate(photo, coefficients, colorizer, folder)))
        yield path
    # Written last: a file that exists is complete.
    if coloured.candidates:
        photo = candidate(photo, coloured.candidates[job.candidate], colorizer, folder)
    write_photo(job.target, marked(photo))
    yield job.target


def _reason(error: BaseException) -> str:
    """Why a file failed, in one line; the kind of an error that is not expected."""
    text = getattr(error, "strerror", None) or next(iter(str(error).splitlines()), "")
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, (OSError, ValueError)) and text:
        return text
    return f"{type(error).__name__}: {text}"
