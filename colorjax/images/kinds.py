"""What a photograph is, opened and read; `photo` makes them."""

from typing import NamedTuple

import numpy as np
import pyvips


class Text(NamedTuple):
    """A comment of a JPEG, whose keyword is empty, or a text of a PNG.

    Attributes:
      keyword: Latin-1.
      text: bytes that are not UTF-8 are surrogates.
      chunk: the kind and data of the chunk of the PNG, with the language of its text.
    """

    keyword: str
    text: str
    chunk: tuple[bytes, bytes] | None = None


class Photo(NamedTuple):
    """A photograph as it is seen: upright, in sRGB.

    Attributes:
      rgb: [H, W, 3] uint8 or uint16 sRGB.
      alpha: [H, W] of the same type, or None.
      format: a key of SUFFIXES: what it is written as.
      exif: an EXIF block as of a TIFF header, without a thumbnail; its orientation is 1 or absent.
      xmp: well-formed UTF-8; its orientation is 1 or absent.
      iptc: IPTC-IIM records.
      resources: the other image resources of Photoshop.
      texts: comments of a JPEG, texts of a PNG.
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
    resources: bytes | None = None
    texts: tuple[Text, ...] = ()
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
