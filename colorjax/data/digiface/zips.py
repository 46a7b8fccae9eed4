"""The zips of DigiFace-1M and the images in them, which are read without unpacking."""

import re
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from colorjax.images.folders import READ_ERRORS, Zip
from colorjax.terminal.errors import InputError

URL = "https://facesyntheticspubwedata.z6.web.core.windows.net/wacv-2023/"
SIZE = 112

_MEMBER = re.compile(r"(?:.*/)?(\d{1,9})/(\d{1,9})\.png", re.IGNORECASE)
# The start of a PNG: signature, length and name of IHDR. Width and height follow.
_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


class Part(NamedTuple):
    """One of the eight zips: its first and last subject, and the number of images of each."""

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
      images: the index and the member's name of each image, by subject.

    Raises:
      InputError: the zip does not exist, is corrupt, holds other subjects, or a member that `Zip`
        refuses.
    """

    def __init__(self, folder: Path, part: Part):
        path = folder / part.file
        try:
            self._zip = Zip(path, lambda name: _MEMBER.fullmatch(name) is not None)
        except FileNotFoundError as error:
            raise InputError(f"{path} does not exist; copy it there, or download it") from error
        except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
            raise InputError(f"{path} is a corrupt zip ({error}); remove it") from error
        self.images: dict[int, list[tuple[int, str]]] = {}
        for name in self._zip.names:
            subject, index = map(int, name[:-4].split("/")[-2:])
            if not part.first <= subject <= part.last:
                raise InputError(
                    f"{path} holds {name!r}, which is not of the subjects {part.name}; check that "
                    "it is the right zip"
                )
            self.images.setdefault(subject, []).append((index, name))
        if not self.images:
            raise InputError(f"{path} holds no <subject>/<k>.png; check that it is the right zip")

    def read(self, subjects: set[int]) -> Iterator[tuple[int, int, str, bytes | None]]:
        """Subject, index, name and PNG of each image; None if it is not a PNG of the right size.

        Raises:
          InputError: the zip is corrupt.
        """
        with self._zip.reader() as read:
            for subject in sorted(subjects & self.images.keys()):
                for index, name in sorted(self.images[subject]):
                    try:
                        image = read(name)
                    except READ_ERRORS as error:
                        raise InputError(
                            f"{self._zip.path} is corrupt at {name} ({error}); remove it, and "
                            "download it again"
                        ) from error
                    yield subject, index, name, image if _is_face(image) else None


def _is_face(image: bytes) -> bool:
    if not image.startswith(_PNG) or image[16:24] != struct.pack(">II", SIZE, SIZE):
        return False  # not decoded: it may claim any size
    return cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR) is not None
