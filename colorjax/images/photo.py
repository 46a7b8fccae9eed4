"""Reads image files with all that belongs to the picture: depth, alpha, profile, EXIF, XMP.

libvips decodes (16 bits, profiles, CMYK, palettes); Pillow reads BMP, pillow-heif HEIC.
"""

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyvips

from colorjax.images import decoders, exif, profiles, xmp
from colorjax.images.kinds import Opened, Photo
from colorjax.images.metadata import EXIF_MARK, JPEG_END, Metadata, read_metadata, resolution

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


def output_suffix(path: Path) -> str:
    """The suffix of a coloured copy: that of the file, but ".jpg" for HEIC and AVIF."""
    readable_only = FORMATS.get(path.suffix.lower()) in ("heic", "avif")
    return ".jpg" if readable_only else path.suffix


def open_photo(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> list[Opened]:
    """Opens a JPEG, PNG, WebP, TIFF, BMP, HEIC or AVIF; each page of a TIFF.

    Args:
      source: a file, or the contents of one.
      max_pixels: an image that has more is refused before it is decoded.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is not such an image, is corrupt, holds an animation, has more than
        `max_pixels`, or cannot be read rightly. Decoding `Opened.image` may still fail.
    """
    with reasons():
        return _open_any(source, max_pixels, first_picture=False)


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
        opened = _open_any(source, max_pixels, first_picture)
        photo, *others = map(_decoded, opened[:1] if first_picture else opened)
    return photo._replace(pages=tuple(others))


def _decoded(opened: Opened) -> Photo:
    pixels = opened.image.numpy()
    alpha = pixels[..., 3] if pixels.shape[2] == 4 else None
    return opened.photo._replace(rgb=pixels[..., :3], alpha=alpha)


@contextlib.contextmanager
def reasons() -> Iterator[None]:
    """Turns the errors of decoders into ValueErrors."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            raise
        raise ValueError(f"is corrupt ({_one_line(error)})") from error  # of Pillow's
    except pyvips.Error as error:
        raise ValueError(f"is corrupt or truncated{_details(error)}") from error
    except UnicodeDecodeError as error:  # libvips' words hold bytes of the file
        raise ValueError("is corrupt or truncated") from error
    except (ValueError, MemoryError):
        raise
    except Exception as error:  # decoders' many kinds, of untrusted bytes
        name = type(error).__name__
        raise ValueError(f"is corrupt ({name}: {_one_line(error)})") from error


def _open_any(source: Path | bytes, max_pixels: int, first_picture: bool) -> list[Opened]:
    stream = source.open("rb") if isinstance(source, Path) else io.BytesIO(source)
    with stream as file:
        return _open(source, file, max_pixels, first_picture)


def _open(
    source: Path | bytes, file: BinaryIO, max_pixels: int, first_picture: bool
) -> list[Opened]:
    format = _format(file.read(64))
    if format is None:
        raise ValueError(f"is not an image ({', '.join(SUFFIXES)}, heic, avif)")
    if format == "tiff":
        from colorjax.images.tiff import open_tiff  # it needs tifffile: slow

        return [Opened(_checked(photo), image) for photo, image in open_tiff(source, max_pixels)]

    def check_size(width: int, height: int) -> None:
        if width * height > max_pixels:
            limit = f"at most {max_pixels / 1e6:.0f} million are read"
            raise ValueError(f"has {width} × {height} pixels; {limit}")

    if format in ("bmp", "heic"):
        read = decoders.open_bmp if format == "bmp" else decoders.open_heic
        image, found = read(source, file, check_size)
        photo, _ = _described(found, "jpeg" if format == "heic" else format)
    elif format == "avif":
        image = _vips(source, "sequential", "truncated")
        check_size(image.width, image.height)
        photo, _ = _described(_avif_metadata(image), "jpeg")  # libvips turns the picture
    else:
        found = read_metadata(file, format)
        if found.pictures > 1 and not first_picture:
            raise ValueError(f"holds {found.pictures} pictures; save them one by one")
        if not found.ends:
            file.seek(0)
            source = file.read() + JPEG_END
        photo, turn = _described(found, format)
        # libjpeg only warns of what it fills with grey. An error in a PNG may be a wrong checksum.
        fail_on = "warning" if format == "jpeg" and found.strict else "truncated"
        image = _vips(source, "random" if turn > 1 else "sequential", fail_on)
        check_size(image.width, image.height)
        if turn > 1:
            image = image.copy()
            image.set_type(pyvips.GValue.gint_type, "orientation", turn)
            image = image.autorot()
    image = _to_srgb(image, photo.profile)
    return [Opened(_checked(photo), image)]


def _format(head: bytes) -> str | None:
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        size = min(int.from_bytes(head[:4], "big"), len(head))
        brands = {head[8:12], *(head[at : at + 4] for at in range(16, size, 4))}
        # Both kinds name the brand of their container, mif1, too.
        kinds = (("avif", _AVIF_BRANDS), ("heic", _HEIC_BRANDS))
        return next((kind for kind, known in kinds if not brands.isdisjoint(known)), None)
    return next((name for mark, name in _SIGNATURES.items() if head.startswith(mark)), None)


def _vips(source: Path | bytes, access: str, fail_on: str) -> pyvips.Image:
    if isinstance(source, Path):
        stream = pyvips.Source.new_from_file(os.fsencode(source))
    else:
        stream = pyvips.Source.new_from_memory(source)
    return pyvips.Image.new_from_source(stream, "", access=access, fail_on=fail_on)


def _avif_metadata(image: pyvips.Image) -> Metadata:
    names = {"exif": "exif-data", "xmp": "xmp-data", "profile": "icc-profile-data"}
    present = set(image.get_fields())
    values = {key: bytes(image.get(name)) for key, name in names.items() if name in present}
    if "exif" in values:
        values["exif"] = values["exif"].removeprefix(EXIF_MARK)
    return Metadata(**values)  # type: ignore[arg-type]


def _described(found: Metadata, format: str) -> tuple[Photo, int]:
    """A photograph without pixels, and the orientation that these are stored in."""
    block, notes, turn = found.exif, found.notes, 0
    if block is not None:
        try:
            turn, block = exif.orientation(block), exif.upright(block)
        except ValueError:
            block, notes = None, (*notes, "its EXIF is corrupt and is not kept")
    dpi = found.dpi or (resolution(block) if block else None)
    if found.xmp:
        turn = turn or xmp.orientation(found.xmp)
    photo = Photo(
        rgb=np.empty((0, 0, 3), np.uint8),
        format=format,
        exif=block,
        xmp=xmp.upright(found.xmp) if found.xmp else None,
        iptc=found.iptc,
        texts=found.texts,
        profile=found.profile,
        dpi=dpi,
        notes=notes,
    )
    return photo, turn


def _checked(photo: Photo) -> Photo:
    """The photograph without a profile or resolution that it cannot be written with."""
    if photo.dpi and not all(1e-3 <= value <= _MAX_DPI for value in photo.dpi):
        photo = photo._replace(dpi=None)
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


def _to_srgb(image: pyvips.Image, profile: bytes | None) -> pyvips.Image:
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
    return rgb if alpha is None else rgb.bandjoin(alpha.cast(rgb.format))


def _details(error: pyvips.Error) -> str:
    """What libvips says, in brackets, without the names of its operation and of the file."""
    lines = [line.rpartition(": ")[2].strip() for line in str(error).splitlines()[1:]]
    lines = [line for line in lines if line and "bad seek" not in line]  # before it tries a format
    return f" ({lines[0][:200]})" if lines else ""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


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
