"""Which files of some folders and zips are used: a table on disk, for millions of rows."""

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from colorjax.data.image_folder.stored import Stored, as_stored, colourful_share
from colorjax.data.preparing import num_held_out, rank
from colorjax.images.folders import READ_ERRORS, Root, name_bytes, printable
from colorjax.terminal.progress import counting

# A picture with a smaller share of its pixels in colour is grey.
COLOURFUL_SHARE = 0.05
SHOWN = 3


class ImageFile(NamedTuple):
    """A used file.

    Attributes:
      root: the index of its folder or zip.
      name: its path there.
      person: the first part of the path, printable.
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


class Manifest:
    """The files of some roots that can be decoded, are in colour and are no duplicates.

    Args:
      roots: each image in them is decoded once, so that none can fail during training.
      num_train_roots: the first roots are for training, the others for validation. A picture that
        is in both stays in validation.
      min_chroma: a picture is grey if fewer than COLOURFUL_SHARE of its pixels have this chroma
        (Lab units); 0 accepts all.
    """

    def __init__(self, roots: Sequence[Root], num_train_roots: int, min_chroma: float):
        self._num_train_roots, self._min_chroma = num_train_roots, min_chroma
        self.grey = self.duplicate = self.unreadable = 0
        self._first_unreadable: list[str] = []
        # A temporary file of SQLite; any thread may garbage-collect this object.
        self._db = sqlite3.connect("", check_same_thread=False)
        self._db.execute(
            "CREATE TABLE files (root INTEGER, name BLOB, person BLOB, rank BLOB, "
            "digest BLOB UNIQUE, as_is INTEGER)"
        )
        total = sum(1 for root in roots for _ in root.names)
        with counting("Checking images", total) as advance:
            for index in (*range(num_train_roots, len(roots)), *range(num_train_roots)):
                with roots[index].reader() as read:
                    for name in roots[index].names:
                        try:
                            data = read(name)
                            self._add(index, name, data, as_stored(data))
                        except READ_ERRORS:
                            self.unreadable += 1
                            if self.unreadable <= SHOWN:
                                self._first_unreadable.append(printable(name))
                        advance()
        self._db.execute("CREATE INDEX people ON files (rank)")

    def __del__(self) -> None:
        self._db.close()

    def _add(self, root: int, name: str, data: bytes, stored: Stored) -> None:
        chroma = self._min_chroma
        if chroma > 0 and colourful_share(stored.rgb, chroma) < COLOURFUL_SHARE:
            self.grey += 1
            return
        # An image outside of any folder counts as a person of its own.
        person = name.split("/", 1)[0]
        of_person = name_bytes(person), rank(person)
        row = root, name_bytes(name), *of_person, digest(data), stored.data is data
        cursor = self._db.execute("INSERT OR IGNORE INTO files VALUES (?, ?, ?, ?, ?, ?)", row)
        self.duplicate += not cursor.rowcount

    def count(self, training: bool | None = None) -> int:
        """The number of used files: all, or those given for training or for validation."""
        side = {None: "1", True: "root < :train", False: "root >= :train"}[training]
        query = f"SELECT COUNT(*) FROM files WHERE {side}"
        return self._db.execute(query, {"train": self._num_train_roots}).fetchone()[0]

    def people(self) -> int:
        """The number of people in the used files."""
        return self._db.execute("SELECT COUNT(DISTINCT rank) FROM files").fetchone()[0]

    def given(self, training: bool) -> Iterator[ImageFile]:
        """The files given for training, or for validation."""
        return self._files("root < ?" if training else "root >= ?", self._num_train_roots)

    def split(self, training: bool) -> Iterator[ImageFile]:
        """The files of the people to train on, or of those held out; there must be two people."""
        last = self._db.execute(
            "SELECT DISTINCT rank FROM files ORDER BY rank LIMIT 1 OFFSET ?",
            (num_held_out(self.people()) - 1,),
        ).fetchone()[0]
        return self._files("rank > ?" if training else "rank <= ?", last)

    def _files(self, side: str, value: int | bytes) -> Iterator[ImageFile]:
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


def digest(data: bytes) -> bytes:
    """Identifies the contents of a file."""
    return hashlib.blake2b(data, digest_size=16).digest()
