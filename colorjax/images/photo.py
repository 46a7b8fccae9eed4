"""Reads image files with all that belongs to the picture: depth, alpha, profile, EXIF, XMP.

libvips decodes (16 bits, profiles, CMYK, palettes); Pillow reads the metadata, and BMP.
"""

import contextlib
import io
import logging
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyvips
from PIL import Image

from colorjax.images import exif, profiles, xmp
from colorjax.images.opened import Opened, Photo
from colorjax.images.tiff import open_tiff

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
MAX_PIXELS = 1_000_000_000

TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_photo(
    source: Path | bytes, *, max_pixels: int = MAX_PIXELS, first_picture: bool = False
) -> Photo:
    """Reads a photograph: see `open_photo`. Further pages of a TIFF are in `Photo.pages`."""
    opened = open_photo(source, max_pixels=max_pixels, first_picture=first_picture)
    try:
        first, *others = (_decoded(page) for page in (opened[:1] if first_picture else opened))
    except pyvips.Error as error:
        raise ValueError(corrupt(error)) from error
    return first._replace(pages=tuple(others))


def _decoded(opened: Opened) -> Photo:
    pixels = opened.image.numpy()
    alpha = pixels[..., 3] if pixels.shape[2] == 4 else None
    return opened.photo._replace(rgb=pixels[..., :3], alpha=alpha)


def open_photo(
    source: Path | bytes, *, max_pixels: int = MAX_PIXELS, first_picture: bool = False
) -> list[Opened]:
    """Opens a JPEG, PNG, WebP, TIFF or BMP.

    Args:
      source: a file, or the contents of one.
      max_pixels: a picture that claims more is refused before it is decoded.
      first_picture: opens the first frame of an animation instead of refusing it.

    Returns:
      A photograph per page: more than one of TIFFs only. Decoding the pixels raises pyvips.Error
      if they are corrupt: see `corrupt`.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is not such an image, is corrupt or truncated, is an animation, has more than
        `max_pixels`, or samples that cannot be read rightly.
    """
    data = source if isinstance(source, bytes) else source.read_bytes()
    try:
        if data[:4] in TIFF_SIGNATURES:
            return open_tiff(source, max_pixels)
        return [_open(data, max_pixels, first_picture)]
    except pyvips.Error as error:
        raise ValueError(corrupt(error)) from error


def corrupt(error: pyvips.Error) -> str:
    """What libvips found wrong with a file."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"is corrupt or truncated ({lines[1]})" if len(lines) > 1 else "is corrupt or truncated"


def _open(data: bytes, max_pixels: int, first_picture: bool) -> Opened:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on unusual but readable files
        try:
            with _image(data) as image:
                if image.width * image.height > max_pixels:
                    raise ValueError(
                        f"has {image.width} × {image.height} pixels; at most "
                        f"{max_pixels / 1e6:.0f} million are read"
                    )
                frames = getattr(image, "n_frames", 1)
                if frames > 1 and image.format != "MPO" and not first_picture:
                    raise ValueError(f"holds {frames} pictures; save them one by one")
                dpi = image.info.get("dpi")
                photo = Photo(
                    rgb=np.empty((0, 0, 3), np.uint8),
                    # Some JPEGs of phones are "MPO": a second picture follows the first.
                    format="jpeg" if image.format == "MPO" else str(image.format).lower(),
                    exif=_exif(image, data),
                    xmp=image.info.get("xmp"),
                    profile=image.info.get("icc_profile") or None,
                    dpi=(float(dpi[0]), float(dpi[1])) if dpi and min(dpi) > 0 else None,
                )
                pixels = None
                if photo.format == "bmp":  # libvips reads none
                    has_alpha = image.mode in ("RGBA", "LA", "PA")
                    rgb = np.asarray(image.convert("RGBA" if has_alpha else "RGB"))
                    pixels = pyvips.Image.new_from_array(rgb)
        except Image.UnidentifiedImageError as error:
            raise ValueError(f"is not an image ({', '.join(SUFFIXES)})") from error
        except ValueError:
            raise
        except Exception as error:  # Pillow's plugins raise many kinds for corrupt files
            raise ValueError(f"is corrupt ({error})") from error
    photo, orientation = _upright(photo)
    if pixels is None:
        access = "random" if orientation > 1 else "sequential"
        pixels = pyvips.Image.new_from_buffer(data, "", access=access, fail_on="truncated")
        if pixels.get_typeof("iptc-data"):
            photo = photo._replace(iptc=pixels.get("iptc-data"))
        if orientation > 1:
            pixels = pixels.copy()
            pixels.set_type(pyvips.GValue.gint_type, "orientation", orientation)
            pixels = pixels.autorot()
    profile, note = profiles.to_write(photo.profile)
    image = _to_srgb(pixels, photo.profile)
    return Opened(photo._replace(profile=profile, notes=(*photo.notes, *note)), image)


def _image(data: bytes) -> Image.Image:
    """Opens an image with Pillow, without its limit of pixels: there is one here."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        return Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP", "BMP"))
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _exif(image: Image.Image, data: bytes) -> bytes | None:
    """The EXIF block of an image as it is stored."""
    block = image.info.get("exif")
    if block is None and image.format == "PNG":
        block = next((chunk for kind, chunk in _png_chunks(data) if kind == b"eXIf"), None)
        if block is None and (text := image.info.get("Raw profile type exif")):
            with contextlib.suppress(ValueError):  # ImageMagick's form: a name, a length, digits
                block = bytes.fromhex("".join(text.split("\n")[3:]))
    return block.removeprefix(b"Exif\0\0") if block else None


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    start = 8
    while start + 12 <= len(data):
        length = int.from_bytes(data[start : start + 4], "big")
        yield data[start + 4 : start + 8], data[start + 8 : start + 8 + length]
        start += 12 + length


def _upright(photo: Photo) -> tuple[Photo, int]:
    """The metadata of the upright photograph; and the orientation of the file, 0 or 1 to 8."""
    orientation = 0
    if photo.exif:
        try:
            orientation = exif.orientation(photo.exif)
            photo = photo._replace(exif=exif.upright(photo.exif))
        except (ValueError, struct.error):
            photo = photo._replace(exif=None, notes=("its EXIF is corrupt and is not kept",))
    if photo.xmp:
        photo = photo._replace(xmp=xmp.upright(photo.xmp))
    return photo, orientation


def _to_srgb(image: pyvips.Image, profile: bytes | None) -> pyvips.Image:
    """3 bands of sRGB, or 4 with alpha, of 8 bits, or of 16 if the image has more than 8."""
    if image.format not in ("uchar", "ushort"):
        raise ValueError("has samples that are not integers of at most 16 bits")
    alpha = None
    if image.hasalpha():
        alpha = image[image.bands - 1]
        image = image[: image.bands - 1] if image.bands > 2 else image[0]
    image = profiles.to_srgb(image, profile)
    if image.bands != 3:
        raise ValueError(f"has {image.bands} channels")
    return image if alpha is None else image.bandjoin(alpha.cast(image.format))


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
