"""The zips of DigiFace-1M: which there are, and their images, read in place."""

import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from colorjax.images.folders import Zip
from colorjax.terminal.errors import InputError

URL = "https://facesyntheticspubwedata.z6.web.core.windows.net/wacv-2023/"
SIZE = 112

_MEMBER = re.compile(r"(?:.*/)?(\d{1,9})/(\d{1,9})\.png", re.IGNORECASE)
# What a PNG begins with: signature, length and name of IHDR; its width and height follow.
_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


class Part(NamedTuple):
    """One of the eight zips: its subjects, both included, and how many images each has."""

    first: int
    last: int
    images: int

    @property
    def name(self) -> str:
        return f"{self.first}-{self.last}"

    @property
    def file(self) -> str:
        return f"subjects_{self.name}_{self.images}_imgs.zip"

    @property
    def subjects(self) -> int:
        return self.last - self.first + 1


PARTS = {
    "72": tuple(Part(first, first + 1999, 72) for first in range(0, 10_000, 2000)),
    "5": (Part(100_000, 133_332, 5), Part(133_333, 166_665, 5), Part(166_666, 199_998, 5)),
}
PARTS["all"] = PARTS["72"] + PARTS["5"]


class Archive:
    """One zip of the data set.

    Attributes:
      images: by subject, the index and the member's name of each image.

    Raises:
      InputError: the zip is not there, broken, of other subjects, or of members that no such zip
        holds (see `Zip`).
    """

    def __init__(self, folder: Path, part: Part):
        path = folder / part.file
        try:
            self._zip = Zip(path, lambda name: _MEMBER.fullmatch(name) is not None)
        except FileNotFoundError as error:
            raise InputError(f"{path} is not there; put it there, or have it downloaded") from error
        except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
            raise InputError(f"{path} is a broken zip ({error}); remove it") from error
        self.images: dict[int, list[tuple[int, str]]] = {}
        for name in self._zip.names:
            match = _MEMBER.fullmatch(name)
            assert match is not None
            subject, index = int(match[1]), int(match[2])
            if not part.first <= subject <= part.last:
                raise InputError(
                    f"{path} holds {name!r}, which is of none of the subjects {part.name}; is it "
                    "the right zip?"
                )
            self.images.setdefault(subject, []).append((index, name))
        if not self.images:
            raise InputError(f"{path} holds no <subject>/<k>.png; is it the right zip?")

    def read(self, subjects: set[int]) -> Iterator[tuple[int, int, str, bytes | None]]:
        """Subject, index, name and PNG of each image; None for what is no PNG of the right size.

        Raises:
          InputError: the zip is damaged.
        """
        with self._zip.reader() as read:
            for subject in sorted(subjects & self.images.keys()):
                for index, name in sorted(self.images[subject]):
                    try:
                        image = read(name)
                    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as e:
                        raise InputError(
                            f"{self._zip.path} is damaged at {name} ({e}); remove it, and have it "
                            "downloaded again"
                        ) from e
                    yield subject, index, name, image if _is_face(image) else None


def _is_face(image: bytes) -> bool:
    if not image.startswith(_PNG) or image[16:24] != struct.pack(">II", SIZE, SIZE):
        return False  # before anything is decoded: it may claim any size
    return cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR) is not None
