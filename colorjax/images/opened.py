"""A photograph with all that belongs to it, and one whose pixels are not decoded yet."""

from typing import NamedTuple

import numpy as np
import pyvips


class Photo(NamedTuple):
    """A photograph as it is seen: upright, in sRGB.

    Attributes:
      rgb: [H, W, 3] uint8 or uint16 sRGB.
      alpha: [H, W] of the same type, or None.
      format: a key of SUFFIXES.
      exif: an EXIF block (see `exif`) with orientation 1 or none, and without a thumbnail.
      xmp: as in the file, but for the orientation.
      iptc: as in the file (IPTC-IIM).
      profile: the ICC profile of the file if its colour space is RGB; None means sRGB.
      dpi: pixels per inch, horizontally and vertically, or None.
      notes: what could not be kept.
      pages: further pages of a multi-page TIFF.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    format: str = "png"
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    profile: bytes | None = None
    dpi: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    pages: tuple["Photo", ...] = ()


class Opened(NamedTuple):
    """A photograph whose pixels are not decoded yet.

    Attributes:
      photo: without pixels.
      image: the pixels, upright: 3 bands of sRGB, or 4 with alpha, uchar or ushort.
    """

    photo: Photo
    image: pyvips.Image
