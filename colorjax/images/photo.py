"""Reads image files with all that belongs to the picture: depth, alpha, profile, EXIF, XMP.

libvips decodes (16 bits, profiles, CMYK, palettes); Pillow reads BMP, pillow-heif HEIC.
"""

import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyvips

from colorjax.images import decoders, exif, jpeg, png, profiles, webp, xmp
from colorjax.images.kinds import Opened, Photo
from colorjax.images.metadata import Metadata, resolution
from colorjax.images.reasons import check_size, reasons

# Remarks on unusual but readable files; pyvips fails at bytes of theirs in them.
pyvips._remove_log_handler()
# No operation is repeated: libvips would only keep files in memory.
pyvips.cache_set_max(0)

# The format of each file suffix, and the suffix that a file of each format gets.
FORMATS = {
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".jpe": "jpeg",
    ".jfif": "jpeg",
    ".png": "png",
    ".webp": "webp",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".bmp": "bmp",
    ".heic": "heic",
    ".heif": "heic",
    ".avif": "avif",
}
SUFFIXES = {"jpeg": ".jpg", "png": ".png", "webp": ".webp", "tiff": ".tif", "bmp": ".bmp"}
MAX_PIXELS = 1_000_000_000
_MAX_DPI = 1e6

_SIGNATURES = {
    b"\xff\xd8\xff": "jpeg",
    b"\x89PNG\r\n\x1a\n": "png",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
    b"BM": "bmp",
}
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
_READERS = {"jpeg": jpeg.read_jpeg, "png": png.read_png, "webp": webp.read_webp}
_DECODERS = {
    "bmp": decoders.open_bmp,
    "heic": decoders.open_heic,
    "avif": decoders.open_avif,  # libvips turns the picture
}


def output_suffix(path: Path) -> str:
    """The suffix of a coloured copy: that of the file, but ".jpg" for HEIC and AVIF."""
    readable_only = FORMATS.get(path.suffix.lower()) in ("heic", "avif")
    return ".jpg" if readable_only else path.suffix


def open_photo(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> Iterator[Opened]:
    """Opens a JPEG, PNG, WebP, TIFF, BMP, HEIC or AVIF; pages of a TIFF when they are asked for.

    Args:
      source: a file, or the contents of one.
      max_pixels: an image that has more is refused before it is decoded.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is not such an image, is corrupt, holds an animation, has more than
        `max_pixels`, or cannot be read rightly. Decoding `Opened.image` may still fail.
    """
    with reasons():
        yield from _open(source, max_pixels, first_picture=False)


def read_photo(
    source: Path | bytes, *, max_pixels: int = MAX_PIXELS, first_picture: bool = False
) -> Photo:
    """Like `open_photo`, but decoded.

    Args:
      source: see `open_photo`.
      max_pixels: see `open_photo`.
      first_picture: reads the first of several pages or frames only.
    """
    with reasons():
        opened = _open(source, max_pixels, first_picture)
        photo, *others = map(_decoded, itertools.islice(opened, 1 if first_picture else None))
    return photo._replace(pages=tuple(others))


def _decoded(opened: Opened) -> Photo:
    pixels = opened.image.numpy()
    alpha = pixels[..., 3] if pixels.shape[2] == 4 else None
    return opened.photo._replace(rgb=pixels[..., :3], alpha=alpha)


def _open(source: Path | bytes, max_pixels: int, first_picture: bool) -> Iterator[Opened]:
    stream = source.open("rb") if isinstance(source, Path) else io.BytesIO(source)
    with stream as file:
        format = format_of(file.read(64))
        if format is None:
            raise ValueError(f"is not an image ({', '.join(SUFFIXES)}, heic, avif)")
        if format == "tiff":
            from colorjax.images.tiff import open_tiff  # it needs tifffile: slow

            pages = open_tiff(source, max_pixels)
        elif format in _READERS:
            pages = iter([_coded(source, file, format, max_pixels, first_picture)])
        else:
            image, found = _DECODERS[format](source, file, max_pixels)
            photo, _ = _described(found, format if format in SUFFIXES else "jpeg")
            pages = iter([Opened(photo, _to_srgb(image, photo.profile))])
        yield from map(_checked, pages)  # which keeps none of them


def _coded(
    source: Path | bytes, file: BinaryIO, format: str, max_pixels: int, first_picture: bool
) -> Opened:
    """Opens a JPEG, PNG or WebP."""
    found = _READERS[format](file)
    if found.pictures > 1 and not first_picture:
        raise ValueError(f"holds {found.pictures} pictures; save them one by one")
    photo, turn = _described(found, format)
    contents = jpeg.mended(file, found) if format == "jpeg" else None
    # libjpeg only warns of what it fills with grey. An error in a PNG may be a wrong checksum.
    fail_on = "warning" if format == "jpeg" else "truncated"
    access = "random" if turn > 1 else "sequential"
    image = decoders.open_vips(contents or source, access, fail_on)
    check_size(image.width, image.height, max_pixels, found.whole)
    if turn > 1:
        image = image.copy()
        image.set_type(pyvips.GValue.gint_type, "orientation", turn)
        image = image.autorot()
    image = _to_srgb(image, photo.profile, found.gamma)
    return Opened(photo, image)


def format_of(head: bytes) -> str | None:
    """The format of a file that starts with these 64 bytes; None if it is no image."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        size = min(int.from_bytes(head[:4], "big"), len(head))
        brands = {head[8:12], *(head[at : at + 4] for at in range(16, size, 4))}
        # Both kinds name the brand of their container, mif1, too.
        kinds = (("avif", _AVIF_BRANDS), ("heic", _HEIC_BRANDS))
        return next((kind for kind, known in kinds if not brands.isdisjoint(known)), None)
    return next((name for mark, name in _SIGNATURES.items() if head.startswith(mark)), None)


def _described(found: Metadata, format: str) -> tuple[Photo, int]:
    """A photograph without pixels, and the orientation that these are stored in."""
    block, notes, turn = found.exif, found.notes, 0
    if block is not None:
        try:
            turn, block = exif.orientation(block), exif.upright(block)
        except ValueError:
            block, notes = None, (*notes, "its EXIF is corrupt and is not kept")
    dpi = found.dpi or (resolution(block) if block else None)
    packet = xmp.readable(found.xmp) if found.xmp else None
    if packet:
        turn = turn or xmp.orientation(packet)
    elif found.xmp:
        notes = (*notes, xmp.NOT_KEPT)
    photo = Photo(
        rgb=np.empty((0, 0, 3), np.uint8),
        format=format,
        exif=block,
        xmp=xmp.upright(packet) if packet else None,
        iptc=found.iptc,
        resources=found.resources,
        texts=found.texts,
        profile=found.profile,
        dpi=dpi,
        notes=notes,
    )
    return photo, turn


def _checked(opened: Opened) -> Opened:
    return opened._replace(photo=_writable(opened.photo))


def _writable(photo: Photo) -> Photo:
    """The photograph without a profile or resolution that it cannot be written with."""
    if photo.dpi and not all(1e-3 <= value <= _MAX_DPI for value in photo.dpi):
        photo = photo._replace(dpi=None)
    if photo.profile:  # padding behind it is left out
        size = int.from_bytes(photo.profile[:4], "big")
        photo = photo._replace(profile=photo.profile[:size])
    profile = photo.profile
    if profile is None or profiles.works_both_ways(profile):
        return photo
    if profiles.usable(profile, 3):
        note = "its colour profile works one way only; written in sRGB"
    elif profiles.usable(profile, 1) or profiles.usable(profile, 4):
        return photo._replace(profile=None)  # it has colours now
    else:
        note = "its colour profile is corrupt; written in sRGB"
    return photo._replace(profile=None, notes=(*photo.notes, note))


def _to_srgb(
    image: pyvips.Image, profile: bytes | None, gamma: float | None = None
) -> pyvips.Image:
    """SRGB and alpha of 8 bits, or of 16 if the image has more than 8."""
    if image.format not in ("uchar", "ushort"):
        raise ValueError("has samples that are not integers of at most 16 bits")
    alpha = None
    if image.hasalpha():
        alpha = image[image.bands - 1]
        image = image[: image.bands - 1] if image.bands > 2 else image[0]
    rgb = profiles.to_srgb(image, profile)
    if rgb.bands != 3:
        raise ValueError(f"has {rgb.bands} channels")
    rgb = profiles.from_gamma(rgb, gamma) if gamma else rgb
    return rgb if alpha is None else rgb.bandjoin(alpha.cast(rgb.format))


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
