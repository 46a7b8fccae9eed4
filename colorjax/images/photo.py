"""Reads image files with all that belongs to the picture: depth, alpha, profile, EXIF, XMP.

libvips decodes (16 bits, profiles, CMYK, palettes); Pillow reads the metadata, and BMP.
"""

import io
import logging
import operator
import struct
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyvips
from PIL import Image, ImageCms, ImageOps, TiffImagePlugin

# libvips logs remarks on unusual but readable files.
logging.getLogger("pyvips").setLevel(logging.ERROR)
# No operation is repeated: libvips would only keep files in memory.
pyvips.cache_set_max(0)

# The format of each file suffix, and the suffix that a file of each format gets.
FORMATS = {
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".png": "png",
    ".webp": "webp",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".bmp": "bmp",
}
SUFFIXES = {"jpeg": ".jpg", "png": ".png", "webp": ".webp", "tiff": ".tif", "bmp": ".bmp"}
MAX_PIXELS = 179_000_000  # Pillow's own limit

# EXIF tags: the orientation, and the directories of camera data and of the place.
ORIENTATION, EXIF, GPS = 0x0112, 0x8769, 0x8825
# The text tags of a TIFF directory: description, make, model, software, date, artist, copyright.
TEXT_TAGS = (270, 271, 272, 305, 306, 315, 33432)
_TIFF_MODES = ("YCbCr", "LAB")


class Photo(NamedTuple):
    """A photograph as it is seen: upright, in sRGB.

    Attributes:
      rgb: [H, W, 3] uint8 or uint16 sRGB.
      alpha: [H, W] of the same type, or None.
      format: a key of SUFFIXES.
      exif: without an orientation; None if there is no metadata.
      xmp: as in the file, or None.
      profile: the ICC profile of the file if its colour space is RGB; None means sRGB.
      dpi: pixels per inch, horizontally and vertically, or None.
      notes: what could not be kept.
      pages: further pages of a multi-page TIFF.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    format: str = "png"
    exif: Image.Exif | None = None
    xmp: bytes | None = None
    profile: bytes | None = None
    dpi: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    pages: tuple["Photo", ...] = ()


def read_photo(
    source: Path | bytes, *, max_pixels: int = MAX_PIXELS, first_picture: bool = False
) -> Photo:
    """Reads a JPEG, PNG, WebP, TIFF or BMP.

    Args:
      source: a file, or the contents of one.
      max_pixels: an image that claims more is refused before it is decoded.
      first_picture: reads the first of several pictures instead of refusing the file.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is not such an image, is corrupt or truncated, holds several pictures, has
        more than `max_pixels`, or samples that are not integers of at most 16 bits.
    """
    data = source if isinstance(source, bytes) else source.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on unusual but readable files
        try:
            with Image.open(io.BytesIO(data), formats=("JPEG", *map(str.upper, SUFFIXES))) as image:
                if image.width * image.height > max_pixels:
                    raise Image.DecompressionBombError
                _check(image, len(data), first_picture)
                exif = _exif(image)
                dpi = image.info.get("dpi")
                photo = Photo(
                    rgb=np.empty((0, 0, 3), np.uint8),
                    # Some JPEGs of phones are "MPO": a second picture follows the first.
                    format="jpeg" if image.format == "MPO" else str(image.format).lower(),
                    xmp=image.info.get("xmp"),
                    profile=image.info.get("icc_profile") or None,
                    dpi=(float(dpi[0]), float(dpi[1])) if dpi and min(dpi) > 0 else None,
                )
                pixels = _decode_with_pillow(image) if _needs_pillow(image) else None
        except Image.UnidentifiedImageError as error:
            raise ValueError(f"is not an image ({', '.join(SUFFIXES)})") from error
        except Image.DecompressionBombError as error:
            raise ValueError(
                f"claims to have more than {max_pixels / 1e6:.0f} million pixels"
            ) from error
        except (OSError, SyntaxError, EOFError, struct.error) as error:  # Pillow's plugins
            raise ValueError(f"is corrupt ({error})") from error
    turned = exif.pop(ORIENTATION, 1) != 1
    try:
        if pixels is None:
            pixels = _decode(data, photo.format, turned)
        rgb, alpha = _to_srgb(pixels, photo.profile)
    except pyvips.Error as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        details = f" ({lines[1]})" if len(lines) > 1 else ""
        raise ValueError(f"is corrupt or truncated{details}") from error
    is_rgb = photo.profile is not None and _profile_text(photo.profile, "xcolor_space") == "RGB"
    return photo._replace(
        rgb=rgb, alpha=alpha, exif=exif, profile=photo.profile if is_rgb else None
    )


def _check(image: Image.Image, size: int, first_picture: bool) -> None:
    pictures = getattr(image, "n_frames", 1)
    if pictures > 1 and image.format != "MPO" and not first_picture:
        raise ValueError(f"holds {pictures} pictures; save them one by one")
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # libtiff reads what is missing at the end of a file as black.
        tags = image.tag_v2
        for starts, lengths in ((273, 279), (324, 325)):  # of strips, of tiles
            ends = map(operator.add, tags.get(starts, ()), tags.get(lengths, ()))
            if max(ends, default=0) > size:
                raise ValueError("is truncated")


def _exif(image: Image.Image) -> Image.Exif:
    """What describes the photograph, and not how its pixels are stored in a TIFF."""
    kept = Image.Exif()
    if image.format == "PNG" and "exif" not in image.info:
        return kept  # Pillow would decode all of it to look for EXIF at the end
    found = image.getexif()
    for tag, value in found.items():
        if tag in TEXT_TAGS or (image.format != "TIFF" and tag not in (EXIF, GPS)):
            kept[tag] = value
    for tag in (EXIF, GPS):
        kept.get_ifd(tag).update(found.get_ifd(tag))
    kept[ORIENTATION] = found.get(ORIENTATION, 1)
    return kept


def _decode(data: bytes, format: str, turned: bool) -> pyvips.Image:
    image = pyvips.Image.new_from_buffer(
        data,
        "",
        access="random" if turned else "sequential",
        # A TIFF strip that cannot be decoded is an error, and would be read as black; a PNG with a
        # wrong checksum is one too, and is read correctly.
        fail_on="error" if format == "tiff" else "truncated",
    )
    return image.autorot() if turned else image


def _needs_pillow(image: Image.Image) -> bool:
    """Whether libvips cannot read an image, or reads it wrongly."""
    compression = image.info.get("compression")
    return image.format == "BMP" or image.mode in _TIFF_MODES or compression in ("lzma", "zstd")


def _decode_with_pillow(image: Image.Image) -> pyvips.Image:
    if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", *_TIFF_MODES):
        raise ValueError(f"has a compression that is not supported at this depth ({image.mode})")
    has_alpha = image.mode in ("RGBA", "LA", "PA")
    upright = ImageOps.exif_transpose(image).convert("RGBA" if has_alpha else "RGB")
    return pyvips.Image.new_from_array(np.asarray(upright))


def _to_srgb(image: pyvips.Image, profile: bytes | None) -> tuple[np.ndarray, np.ndarray | None]:
    """[H, W, 3] sRGB and [H, W] alpha or None, of 8 bits, or of 16 if the image has more than 8."""
    if image.format not in ("uchar", "char", "ushort", "short"):
        raise ValueError("has samples that are not integers of at most 16 bits")
    deep = image.format not in ("uchar", "char")
    alpha = None
    if image.hasalpha():
        image = image.copy_memory()  # it is read twice
        alpha = image[image.bands - 1].numpy()
        image = image[: image.bands - 1] if image.bands > 2 else image[0]
    plain = "rgb16" if deep else "srgb"
    if image.interpretation == "cmyk" or (profile and not is_srgb(profile)):
        try:
            depth = 16 if deep else 8
            image = image.icc_transform("srgb", embedded=True, intent="relative", depth=depth)
        except pyvips.Error:  # a corrupt profile counts as none
            image = image.colourspace(plain)
    else:
        image = image.colourspace(plain)
    if image.bands != 3:
        raise ValueError(f"has {image.bands} channels")
    rgb = image.cast("ushort" if deep else "uchar").numpy()
    return rgb, alpha


def is_srgb(profile: bytes) -> bool:
    """Whether an ICC profile calls itself sRGB."""
    return "srgb" in _profile_text(profile, "profile_description").lower()


def _profile_text(profile: bytes, attribute: str) -> str:
    try:
        text: Any = getattr(ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile, attribute)
    except OSError:  # corrupt
        return ""
    return (text or "").strip()


def to_bytes(x: np.ndarray) -> np.ndarray:
    """uint16 as the nearest uint8; uint8 as it is."""
    if x.dtype == np.uint8:
        return x
    return ((x.astype(np.uint32) + 128) // 257).astype(np.uint8)


def on_white(rgb: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """[H, W, 3] composited on white by its [H, W] alpha; None means opaque."""
    if alpha is None:
        return rgb
    opacity = alpha[..., None] / np.float32(np.iinfo(alpha.dtype).max)
    white = np.iinfo(rgb.dtype).max
    return np.round(rgb * opacity + white * (1 - opacity)).astype(rgb.dtype)
