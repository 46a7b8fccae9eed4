"""What a photograph is, opened and read; `photo` makes them."""

from typing import NamedTuple

import numpy as np
import pyvips


class Photo(NamedTuple):
    """A photograph as it is seen: upright, in sRGB.

    Attributes:
      rgb: [H, W, 3] uint8 or uint16 sRGB.
      alpha: [H, W] of the same type, or None.
      format: a key of SUFFIXES: what it is written as.
      exif: an EXIF block as of a TIFF header, without a thumbnail; its orientation is 1 or absent.
      xmp: its orientation is 1 or absent.
      iptc: IPTC-IIM records.
      texts: keyword and text of PNG's texts; comments of JPEG, whose keyword is empty. Bytes that
        are not UTF-8 are surrogates.
      profile: the RGB profile to write it in; None means sRGB.
      dpi: pixels per inch, horizontally and vertically; None if the file states none.
      notes: what could not be kept, a short clause each.
      pages: further pages of a TIFF, without pages of their own.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    format: str = "png"
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    texts: tuple[tuple[str, str], ...] = ()
    profile: bytes | None = None
    dpi: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    pages: tuple["Photo", ...] = ()


class Opened(NamedTuple):
    """A photograph whose pixels are not decoded yet.

    Attributes:
      photo: with empty arrays of pixels.
      image: upright; 3 bands of sRGB, or 4 with alpha; uchar or ushort.
    """

    photo: Photo
    image: pyvips.Image
