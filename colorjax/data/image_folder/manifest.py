"""Which files of some folders and zips are used, in a table on disk: a million take no memory."""

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from colorjax.data.preparing import num_held_out, rank
from colorjax.images.folders import Root
from colorjax.images.training import READ_ERRORS, colourful_share, decode_image
from colorjax.terminal.progress import counting

# A picture with fewer pixels in colour than this is grey.
COLOURFUL_SHARE = 0.05
SHOWN = 3


class ImageFile(NamedTuple):
    """A used file: the number of its root, its name there, its person, and which of theirs."""

    root: int
    name: str
    person: str
    number: int


class Manifest:
    """The files of some roots that can be decoded, are in colour and are not there yet.

    Args:
      roots: every candidate of them is decoded once, so that no image can fail in a training.
      num_train_roots: the roots before this are for training, the others for validation. Of the
        same picture in both, validation keeps its own.
      min_chroma: pictures with this chroma (Lab units) in hardly any pixel are grey.
    """

    def __init__(self, roots: Sequence[Root], num_train_roots: int, min_chroma: float):
        self._num_train_roots = num_train_roots
        self._min_chroma = min_chroma
        self.grey = self.duplicate = self.unreadable = 0
        self._first_unreadable: list[str] = []
        # SQLite's own temporary file; whichever thread collects garbage closes it.
        self._db = sqlite3.connect("", check_same_thread=False)
        self._db.execute(
            "CREATE TABLE files "
            "(root INTEGER, name BLOB, person BLOB, rank BLOB, digest BLOB UNIQUE)"
        )
        total = sum(1 for root in roots for _ in root.names)
        with counting("Checking images", total) as advance:
            for number in (*range(num_train_roots, len(roots)), *range(num_train_roots)):
                with roots[number].reader() as read:
                    for name in roots[number].names:
                        try:
                            data = read(name)
                            share = self._colourful_share(data)
                        except READ_ERRORS:
                            self._skip(name)
                        else:
                            self._take(number, name, data, share)
                        advance()
        self._db.execute("CREATE INDEX people ON files (rank)")

    def __del__(self) -> None:
        self._db.close()

    def _colourful_share(self, data: bytes) -> float:
        return colourful_share(decode_image(data).rgb, self._min_chroma)

    def _skip(self, name: str) -> None:
        self.unreadable += 1
        if self.unreadable <= SHOWN:
            self._first_unreadable.append(text(name))

    def _take(self, root: int, name: str, data: bytes, share: float) -> None:
        if self._min_chroma > 0 and share < COLOURFUL_SHARE:
            self.grey += 1
            return
        # An image outside of any folder is a person of its own.
        person = name.split("/", 1)[0]
        digest = hashlib.blake2b(data, digest_size=16).digest()
        row = (root, _encoded(name), _encoded(person), rank(person), digest)
        cursor = self._db.execute("INSERT OR IGNORE INTO files VALUES (?, ?, ?, ?, ?)", row)
        self.duplicate += not cursor.rowcount

    def count(self, training: bool | None = None) -> int:
        """How many files are used, in all or by the split whose paths they were given with."""
        side = {None: "1", True: "root < :train", False: "root >= :train"}[training]
        query = f"SELECT COUNT(*) FROM files WHERE {side}"
        return self._db.execute(query, {"train": self._num_train_roots}).fetchone()[0]

    def people(self) -> int:
        """How many people the used files are of."""
        return self._db.execute("SELECT COUNT(DISTINCT rank) FROM files").fetchone()[0]

    def given(self, training: bool) -> Iterator[ImageFile]:
        """The files given for training, or those for validation."""
        side = "root < ?" if training else "root >= ?"
        return self._files(side, self._num_train_roots)

    def split(self, training: bool) -> Iterator[ImageFile]:
        """The files of those who train, or of those held out: at least two people are needed."""
        last = self._db.execute(
            "SELECT DISTINCT rank FROM files ORDER BY rank LIMIT 1 OFFSET ?",
            (num_held_out(self.people()) - 1,),
        ).fetchone()[0]
        return self._files("rank > ?" if training else "rank <= ?", last)

    def _files(self, side: str, value: int | bytes) -> Iterator[ImageFile]:
        query = f"SELECT root, name, person FROM files WHERE {side} ORDER BY person, root, name"
        number, last = 0, None
        for root, name, person in self._db.execute(query, (value,)):
            number = number + 1 if person == last else 0
            last = person
            yield ImageFile(root, _decoded(name), text(_decoded(person)), number)

    def account(self) -> str:
        """One line: used, grey, unreadable with the first names, duplicate."""
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


def text(name: str) -> str:
    """A name that need not be UTF-8, as text that can be printed and stored."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
