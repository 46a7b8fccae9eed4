"""Which files of some folders and zips are used: a table on disk, for millions of rows."""

import hashlib
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import NamedTuple

from colorjax.data.image_folder.layout import Layout
from colorjax.data.image_folder.stored import check
from colorjax.data.preparing import num_held_out, rank
from colorjax.images.decode import num_cores
from colorjax.images.folders import Root, name_bytes, printable
from colorjax.images.workers import Workers
from colorjax.terminal.progress import counting

SHOWN = 3
# A worker process takes half a second to start.
FILES_PER_WORKER = 200
# Files that are being checked, or wait for their turn.
AHEAD = 16


class ImageFile(NamedTuple):
    """A used file.

    Attributes:
      root: the index of its folder or zip.
      name: its path there.
      person: see `Layout`; printable.
      number: counts the images of a person.
      digest: of the contents.
      is_stored_as_is: see `as_stored`.
    """

    root: int
    name: str
    person: str
    number: int
    digest: bytes
    is_stored_as_is: bool


class _Candidate(NamedTuple):
    root: int
    training: bool
    name: str
    person: str
    digest: bytes
    checked: Future[tuple[bool, bool]]  # see `stored.check`, or why the file cannot be read


class Manifest:
    """The files of some roots that can be decoded, are in colour and are no duplicates.

    Args:
      roots: each image in them that is used is decoded once, so that none can fail during
        training.
      layout: of the roots. A picture that is for training and for validation stays in validation.
      min_chroma: see `stored.check`.
    """

    def __init__(self, roots: Sequence[Root], layout: Layout, min_chroma: float):
        self.grey = self.duplicate = self.unreadable = 0
        self._first_unreadable: list[str] = []
        # A temporary file of SQLite; any thread may garbage-collect this object.
        self._db = sqlite3.connect("", check_same_thread=False)
        self._db.execute(
            "CREATE TABLE files (root INTEGER, training INTEGER, name BLOB, person BLOB, "
            "rank BLOB, digest BLOB UNIQUE, as_is INTEGER)"
        )
        total = layout.count(False) + layout.count(True)
        count = min(num_cores(), 1 + total // FILES_PER_WORKER)
        with Workers(count) as workers, counting("Checking images", total) as advance:
            for candidate in _candidates(workers, roots, layout, min_chroma):
                self._insert(candidate)
                advance()
        self._db.execute("CREATE INDEX people ON files (rank)")

    def __del__(self) -> None:
        self._db.close()

    def _insert(self, candidate: _Candidate) -> None:
        root, training, name, person, contents, checked = candidate
        if checked.exception():  # whatever a corrupt file makes zipfile and the decoders raise
            self.unreadable += 1
            if self.unreadable <= SHOWN:
                self._first_unreadable.append(printable(name))
            return
        is_stored_as_is, is_grey = checked.result()
        if is_grey:
            self.grey += 1
            return
        of_person = name_bytes(person), rank(person)
        row = root, training, name_bytes(name), *of_person, contents, is_stored_as_is
        cursor = self._db.execute("INSERT OR IGNORE INTO files VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        self.duplicate += not cursor.rowcount

    def count(self, training: bool | None = None) -> int:
        """The number of used files: all, or those given for training or for validation."""
        side = "1" if training is None else f"training = {training}"
        return self._db.execute(f"SELECT COUNT(*) FROM files WHERE {side}").fetchone()[0]

    def people(self) -> int:
        """The number of people in the used files."""
        return self._db.execute("SELECT COUNT(DISTINCT rank) FROM files").fetchone()[0]

    def given(self, training: bool) -> Iterator[ImageFile]:
        """The files given for training, or for validation."""
        return self._files("training = ?", training)

    def split(self, training: bool) -> Iterator[ImageFile]:
        """The files of the people to train on, or of those held out; there must be two people."""
        last = self._db.execute(
            "SELECT DISTINCT rank FROM files ORDER BY rank LIMIT 1 OFFSET ?",
            (num_held_out(self.people()) - 1,),
        ).fetchone()[0]
        return self._files("rank > ?" if training else "rank <= ?", last)

    def _files(self, side: str, value: bool | bytes) -> Iterator[ImageFile]:
        columns = "root, name, person, digest, as_is"
        query = f"SELECT {columns} FROM files WHERE {side} ORDER BY person, root, name"
        number, last = 0, None
        for root, name, person, contents, as_is in self._db.execute(query, (value,)):
            number = number + 1 if person == last else 0
            last = person
            name, person = (x.decode("utf-8", "surrogateescape") for x in (name, person))
            yield ImageFile(root, name, printable(person), number, contents, bool(as_is))

    def account(self) -> str:
        """One line: how many files are used, grey, unreadable (with the first names), duplicate."""
        used = self.count()
        total = used + self.grey + self.unreadable + self.duplicate
        parts = [f"{used} used"]
        if self.grey:
            parts.append(
                f"{self.grey} grey and left out (config.dataset.min_chroma=0 would keep them)"
            )
        if self.unreadable:
            more = ", …" if self.unreadable > SHOWN else ""
            parts.append(
                f"{self.unreadable} unreadable ({', '.join(self._first_unreadable)}{more})"
            )
        if self.duplicate:
            parts.append(f"{self.duplicate} duplicate")
        return f"of {total} images, {', '.join(parts)}"


def _candidates(
    workers: Workers, roots: Sequence[Root], layout: Layout, min_chroma: float
) -> Iterator[_Candidate]:
    """The files of validation, then those of training, in the order of the layout."""
    waiting: deque[_Candidate] = deque()
    for training in (False, True):
        for index, root in enumerate(roots):
            with root.reader() as read:
                for name, person in layout.files(index, training):
                    checked = _checked(workers, read, name, min_chroma)
                    waiting.append(_Candidate(index, training, name, person, *checked))
                    if len(waiting) > AHEAD:
                        yield waiting.popleft()
    yield from waiting


def _checked(
    workers: Workers, read: Callable[[str], bytes], name: str, min_chroma: float
) -> tuple[bytes, Future[tuple[bool, bool]]]:
    try:
        data = read(name)
    except Exception as error:
        failed: Future[tuple[bool, bool]] = Future()
        failed.set_exception(error)
        return b"", failed
    return digest(data), workers.submit(check, data, min_chroma, size=len(data))


def digest(data: bytes) -> bytes:
    """Identifies the contents of a file."""
    return hashlib.blake2b(data, digest_size=16).digest()
