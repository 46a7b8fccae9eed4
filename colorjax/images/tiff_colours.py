"""The samples of one directory of a TIFF in sRGB."""

from typing import BinaryIO

import pyvips
import tifffile

from colorjax.images.profiles import to_srgb
from colorjax.images.tiff_directory import (
    CIELAB,
    CMYK,
    COLOURS,
    ICCLAB,
    PALETTE,
    WHITE_IS_0,
    YCBCR,
    named,
)
from colorjax.images.tiff_pixels import decode

_PHOTOMETRIC, _INKS = 262, 332
_ASSOCIATED, _UNASSOCIATED = 1, 2  # kinds of alpha in ExtraSamples


def decoded(
    page: tifffile.TiffPage, file: BinaryIO, profile: bytes, *, sequential: bool
) -> tuple[pyvips.Image, tuple[str, ...]]:
    """The picture as sRGB, with alpha if it has any; and remarks on what is left out.

    Args:
      page: the directory.
      file: the TIFF; it must stay open while the image is in use.
      profile: of the picture, or empty.
      sequential: whether the rows are read once, from the top.

    Raises:
      ValueError: it is corrupt or cannot be read rightly.
    """
    _check(page, profile)
    return _seen(decode(page, file, sequential), page, profile)


def _check(page: tifffile.TiffPage, profile: bytes) -> None:
    photometric = page.photometric
    if _PHOTOMETRIC not in page.tags:  # the default would be a negative
        raise ValueError("does not state its colour space")
    if photometric not in COLOURS:
        raise ValueError(f"has a colour space that is not supported ({named(photometric)})")
    if photometric == CMYK and page.tags.valueof(_INKS, 1) != 1:
        raise ValueError("has inks other than cyan, magenta, yellow and black")
    channels = page.samplesperpixel - len(page.extrasamples or ())
    if (photometric <= 1 and channels > 2) or (photometric == 2 and channels < 3):
        kind = "grey" if photometric <= 1 else "RGB"
        raise ValueError(f"is said to be {kind}, but has {page.samplesperpixel} channels")
    if page.sampleformat == 3 and (profile or COLOURS[photometric] == 4 or photometric >= YCBCR):
        raise ValueError("has float samples with a profile or in another colour space than RGB")


def _seen(
    image: pyvips.Image, page: tifffile.TiffPage, profile: bytes
) -> tuple[pyvips.Image, tuple[str, ...]]:
    """The stored samples as sRGB, with alpha if there is any; and remarks on what is left out."""
    photometric, kinds = page.photometric, list(page.extrasamples or ())
    colours = COLOURS[photometric]
    if photometric in (PALETTE, YCBCR) and image.bands >= 3:
        colours = 3  # they are decoded to RGB
    extra = image.bands - colours
    if extra < 0:
        raise ValueError(f"is corrupt ({image.bands} channels are too few)")
    kinds += [0] * (extra - len(kinds))
    alpha = next((i for i in range(extra) if kinds[i] in (_ASSOCIATED, _UNASSOCIATED)), None)
    left = extra - (alpha is not None)
    notes = (f"its extra {'channel is' if left == 1 else 'channels are'} not kept",) if left else ()
    image = _integers(image)
    most = 65535 if image.format == "ushort" else 255
    colour = image[:colours] if colours > 1 else image[0]
    opacity = None if alpha is None else image[colours + alpha]
    if opacity is not None and kinds[alpha or 0] == _ASSOCIATED:
        both = colour.bandjoin(opacity).unpremultiply(max_alpha=most)
        colour = (both[:colours] if colours > 1 else both[0]) + 0.5
        colour = colour.cast(image.format)
    if photometric == WHITE_IS_0:
        colour = most - colour
        colour = colour.cast(image.format)
    if photometric in (CIELAB, ICCLAB):
        colour = _lab_to_srgb(colour, photometric)
    else:
        deep = image.format == "ushort"
        names = {1: "grey16" if deep else "b-w", 3: "rgb16" if deep else "srgb", 4: "cmyk"}
        colour = to_srgb(colour.copy(interpretation=names[colours]), profile or None)
    return colour if opacity is None else colour.bandjoin(opacity), notes


def _integers(image: pyvips.Image) -> pyvips.Image:
    """Samples between 0 and 1 as 16 bits; others as they are."""
    if image.format in ("float", "double"):
        return (image * 65535 + 0.5).cast("ushort")
    return image


def _lab_to_srgb(image: pyvips.Image, photometric: int) -> pyvips.Image:
    """CIE Lab of white point D50, as printers mean it (TIFF 6.0, section 23; ICC v2)."""
    if image.format == "uchar":
        scale, signed, size = 100 / 255, "char", 1
    elif photometric == CIELAB:
        scale, signed, size = 100 / 65535, "short", 256
    else:
        raise ValueError("has ICC Lab samples of 16 bits")
    ab = image[1:3].copy(format=signed) / size if photometric == CIELAB else image[1:3] - 128
    lab = (image[0] * scale).bandjoin(ab).copy(interpretation="lab")
    depth = 8 if image.format == "uchar" else 16
    return lab.icc_export(output_profile="srgb", pcs="lab", intent="relative", depth=depth)
