"""Which of the directories of a TIFF are photographs; the others are previews of these."""

from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyvips
import tifffile

from colorjax.images.tiff_colours import decoded

_PAGE_NUMBER = 297
_REDUCED, _ONE_OF_SEVERAL, _MASK = 1, 2, 4  # bits of NewSubfileType
_MAX_PAGES = 1000
# Pixels across of pictures that are compared, and the least correlation of a preview's.
_SIDE, _ALIKE = 12, 0.9


class Picture(NamedTuple):
    """A directory with a picture, and the one in the chain that it belongs to."""

    page: tifffile.TiffPage
    parent: tifffile.TiffPage

    @property
    def size(self) -> int:
        return int(self.page.imagewidth * self.page.imagelength)


def find_pictures(
    tiff: tifffile.TiffFile, file: BinaryIO, max_pixels: int
) -> tuple[list[Picture], tuple[str, ...]]:
    """What is meant to be seen, and remarks on what is left out."""
    notes: list[str] = []
    pages = list(_chain(tiff.pages, notes))
    if not pages:
        raise ValueError("is corrupt (its first directory cannot be read)")
    found = []
    for page in pages:
        within: Any = _subdirectories(page)
        levels = [page, *(level for level in within if not level.subfiletype & _MASK)]
        found.append(Picture(max(levels, key=lambda level: Picture(level, page).size), page))
    seen = [picture for picture in found if not picture.page.subfiletype & (_REDUCED | _MASK)]
    seen = seen or [max(found, key=lambda picture: picture.size)]
    largest = max(seen, key=lambda picture: picture.size)
    kept = [picture for picture in seen if not _has_shape_of_preview(picture, largest)]
    if len(kept) < len(seen) and largest.size <= max_pixels:
        whole = _small(largest, file)
        kept = [p for p in seen if p in kept or not _is_alike(p, whole, file)]
    if len(kept) < len(seen):
        notes.append("smaller copies of the picture in it are taken for previews")
    return kept, tuple(notes)


def _chain(pages: Any, notes: list[str]) -> Iterator[tifffile.TiffPage]:
    seen = set()
    for number in range(_MAX_PAGES + 1):
        try:
            page = pages[number]
            again = page.offset in seen
        except IndexError:
            return
        except Exception:  # tifffile's many kinds, of untrusted bytes
            again = True
        if again:
            notes.append("its further pages cannot be read")
            return
        seen.add(page.offset)
        if number == _MAX_PAGES:
            raise ValueError(f"holds more than {_MAX_PAGES} pages")
        if _is_sound(page):
            yield page
        else:
            notes.append("a directory in it is corrupt")


def _is_sound(page: tifffile.TiffPage) -> bool:
    """Whether what describes the pixels are numbers; tifffile hands on what a file holds."""
    needed = (page.imagewidth, page.imagelength, page.samplesperpixel)
    kinds = (page.subfiletype, page.photometric, page.compression, page.sampleformat)
    sizes = (page.tilewidth, page.tilelength, page.rowsperstrip)
    return (
        all(isinstance(number, int) for number in (*needed, *kinds, *sizes))
        and min(needed) > 0
        and page.imagedepth == 1
        and page.planarconfig in (None, 1, 2)
        and isinstance(page.extrasamples or (), tuple)
    )


def _subdirectories(page: tifffile.TiffPage) -> list[tifffile.TiffPage]:
    try:
        return list(_chain(page.pages, [])) if page.pages is not None else []
    except Exception:  # tifffile's many kinds, of untrusted bytes
        return []


def _has_shape_of_preview(picture: Picture, largest: Picture) -> bool:
    """Whether a picture that is not said to be one has the shape of a preview of the largest."""
    page, whole = picture.page, largest.page
    if page.subfiletype & _ONE_OF_SEVERAL or _PAGE_NUMBER in page.tags:
        return False
    scale = whole.imagewidth / page.imagewidth
    return scale >= 2 and abs(whole.imagelength / scale - page.imagelength) <= 1


def _is_alike(picture: Picture, whole: np.ndarray | None, file: BinaryIO) -> bool:
    """Whether a picture is a copy of the whole one; what cannot be compared counts as one."""
    small = _small(picture, file)
    if small is None or whole is None:
        return True
    most = np.linalg.norm(small) * np.linalg.norm(whole)
    return bool((small * whole).sum() >= _ALIKE * most)


def _small(picture: Picture, file: BinaryIO) -> np.ndarray | None:
    """The lightness of a picture, reduced, less its mean; None if it cannot be decoded."""
    try:
        image, _ = decoded(picture.page, file, b"", sequential=True)
        image = image[:3].colourspace("b-w")
        image = image.thumbnail_image(_SIDE, height=_SIDE, size="force")
        pixels = image.numpy().astype(np.float32)
    except (ValueError, pyvips.Error):
        return None
    return pixels - pixels.mean()
