"""Reads TIFFs: their photographs with all that belongs to these."""

import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pyvips
import tifffile

from colorjax.images.kinds import Opened
from colorjax.images.reasons import check_size, one_line
from colorjax.images.tiff_colours import decoded
from colorjax.images.tiff_directory import PALETTE, RGB, YCBCR
from colorjax.images.tiff_metadata import described, number, value
from colorjax.images.tiff_pages import Picture, find_pictures

# tifffile logs remarks on unusual but readable files.
logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)

_ORIENTATION, _PROFILE = 274, 34675


class _File(io.FileIO):
    """Closes itself when no image is read from it any more."""

    def __del__(self) -> None:
        self.close()


def open_tiff(source: Path | bytes, max_pixels: int) -> Iterator[Opened]:
    """Opens the pages of a TIFF, one by one: what tifffile decodes lies in memory or on the disk.

    Of previews, pyramids and thumbnails the largest picture is opened.

    Args:
      source: a file, or the contents of one.
      max_pixels: a page that has more is refused before it is decoded.

    Raises:
      OSError: the file cannot be read.
      ValueError: a page is corrupt, too large, or cannot be read rightly.
    """
    file: BinaryIO = _File(source) if isinstance(source, Path) else io.BytesIO(source)
    try:
        tiff = tifffile.TiffFile(file)
    except Exception as error:  # tifffile's many kinds, of untrusted bytes
        raise ValueError(f"is corrupt ({one_line(error)})") from error
    pictures, notes = find_pictures(tiff, file, max_pixels)

    def opened(picture: Picture, name: str) -> Opened:
        try:
            return _open(picture, file, max_pixels, notes)
        except ValueError as error:
            raise ValueError(f"{name}{error}") from error

    for count, picture in enumerate(pictures, 1):
        yield opened(picture, f"page {count} " if len(pictures) > 1 else "")


def _open(picture: Picture, file: BinaryIO, max_pixels: int, notes: tuple[str, ...]) -> Opened:
    page = picture.page
    check_size(page.imagewidth, page.imagelength, max_pixels)
    profile = value(picture, _PROFILE)
    orientation = number(page, _ORIENTATION, number(picture.parent, _ORIENTATION, 1))
    turned = 2 <= orientation <= 8
    image, more = decoded(page, file, profile, sequential=not turned)
    if turned:
        image = image.copy()
        image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
        image = image.autorot()
    photo = described(picture, file)
    photo = photo._replace(
        profile=profile if profile and page.photometric in (RGB, PALETTE, YCBCR) else None,
        notes=(*notes, *more, *photo.notes),
    )
    return Opened(photo, image)
