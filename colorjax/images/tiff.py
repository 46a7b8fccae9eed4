"""Reads TIFFs: which of their directories are photographs, and all that belongs to these."""

import io
import logging
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyvips
import tifffile

from colorjax.images import exif, tiff_pixels
from colorjax.images.kinds import Opened, Photo
from colorjax.images.profiles import to_srgb
from colorjax.images.tiff_directory import (
    CIELAB,
    CMYK,
    COLOURS,
    ICCLAB,
    PALETTE,
    WHITE_IS_0,
    YCBCR,
    raw_value,
)

# tifffile logs remarks on unusual but readable files.
logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)

# Tags that describe a photograph, and not how its pixels are stored: name, description, make,
# model, page name, software, date, artist, computer, rating, copyright, and those of Windows.
_WINDOWS = range(40091, 40096)
DESCRIBING = (269, 270, 271, 272, 285, 305, 306, 315, 316, 18246, 18249, 33432, *_WINDOWS)
_XMP, _IPTC, _PROFILE, _LAYERS, _PAGE_NUMBER = 700, 33723, 34675, 37724, 297
_REDUCED, _ONE_OF_SEVERAL, _MASK = 1, 2, 4  # bits of NewSubfileType
_ASSOCIATED, _UNASSOCIATED = 1, 2  # kinds of alpha in ExtraSamples
_MAX_PAGES = 1000
_INCHES = {2: 1.0, 3: 2.54}  # a resolution's unit


class _File(io.FileIO):
    """Closes itself when no image is read from it any more."""

    def __del__(self) -> None:
        self.close()


class _Picture(NamedTuple):
    """A directory with a picture, and the one in the chain that it belongs to."""

    page: tifffile.TiffPage
    parent: tifffile.TiffPage

    @property
    def size(self) -> int:
        return int(self.page.imagewidth * self.page.imagelength)


def open_tiff(source: Path | bytes, max_pixels: int) -> list[Opened]:
    """Opens every page of a TIFF; of previews, pyramids and thumbnails the largest picture.

    Args:
      source: a file, or the contents of one.
      max_pixels: a page that has more is refused before it is decoded.

    Raises:
      OSError: the file cannot be read.
      ValueError: a page is corrupt, too large, or cannot be read rightly.
    """
    file: BinaryIO = _File(source) if isinstance(source, Path) else io.BytesIO(source)
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    try:
        tiff = tifffile.TiffFile(file)
    except Exception as error:  # tifffile's many kinds, of untrusted bytes
        raise ValueError(f"is corrupt ({error})") from error
    pictures, notes = _pictures(tiff)
    pages = []
    for number, picture in enumerate(pictures, 1):
        try:
            pages.append(_open(picture, file, size, max_pixels, notes))
        except ValueError as error:
            if len(pictures) == 1:
                raise
            raise ValueError(f"page {number} {error}") from error
    return pages


def _pictures(tiff: tifffile.TiffFile) -> tuple[list[_Picture], tuple[str, ...]]:
    """What is meant to be seen, and remarks on what is left out."""
    notes: list[str] = []
    pages = list(_chain(tiff.pages, notes))
    if not pages:
        raise ValueError("is corrupt (its first directory cannot be read)")
    found = []
    for page in pages:
        within: Any = _subdirectories(page)
        levels = [page, *(level for level in within if not level.subfiletype & _MASK)]
        found.append(_Picture(max(levels, key=lambda level: _Picture(level, page).size), page))
    seen = [picture for picture in found if not picture.page.subfiletype & (_REDUCED | _MASK)]
    seen = seen or [max(found, key=lambda picture: picture.size)]
    largest = max(seen, key=lambda picture: picture.size)
    kept = [picture for picture in seen if not _is_preview(picture, largest)]
    if len(kept) < len(seen):
        notes.append("smaller pictures of the same shape in it are taken for previews")
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


def _is_preview(picture: _Picture, largest: _Picture) -> bool:
    """Whether a picture that is not said to be one has the shape of a preview of the largest."""
    page, whole = picture.page, largest.page
    if page.subfiletype & _ONE_OF_SEVERAL or _PAGE_NUMBER in page.tags:
        return False
    scale = whole.imagewidth / page.imagewidth
    return scale >= 2 and abs(whole.imagelength / scale - page.imagelength) <= 1


def _open(
    picture: _Picture, file: BinaryIO, size: int, max_pixels: int, notes: tuple[str, ...]
) -> Opened:
    page = picture.page
    if picture.size > max_pixels:
        limit = f"at most {max_pixels / 1e6:.0f} million are read"
        raise ValueError(f"has {page.imagewidth} × {page.imagelength} pixels; {limit}")
    photometric = page.photometric
    if photometric not in COLOURS:
        raise ValueError(f"has a colour space that is not supported ({_name(photometric)})")
    if photometric == CMYK and _number(page, 332, 1) != 1:
        raise ValueError("has inks other than cyan, magenta, yellow and black")
    if 258 not in page.tags and page.samplesperpixel > 1:  # the default is 1
        raise ValueError("does not state the bits of its samples")
    channels = page.samplesperpixel - len(page.extrasamples or ())
    if (photometric <= 1 and channels > 2) or (photometric == 2 and channels < 3):
        kind = "grey" if photometric <= 1 else "RGB"
        raise ValueError(f"is said to be {kind}, but has {page.samplesperpixel} channels")
    orientation = _number(page, 274, _number(picture.parent, 274, 1))
    turned = 2 <= orientation <= 8
    profile = _value(picture, _PROFILE)
    if page.sampleformat == 3 and (profile or COLOURS[photometric] == 4 or photometric >= YCBCR):
        raise ValueError("has float samples with a profile or in another colour space than RGB")
    stored = tiff_pixels.decode(page, file, size, sequential=not turned)
    image, more = _seen(stored, page, profile)
    if turned:
        image = image.copy()
        image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
        image = image.autorot()
    if _LAYERS in picture.parent.tags:
        more = (*more, "its layers are not kept")
    block, texts_lost = _exif(picture, file, size)
    resolution = _resolution(page)
    photo = Photo(
        rgb=np.empty((0, 0, 3), np.uint16 if image.format == "ushort" else np.uint8),
        format="tiff",
        exif=block,
        xmp=_value(picture, _XMP) or None,
        iptc=_iptc(_value(picture, _IPTC)),
        profile=profile if profile and photometric in (2, PALETTE, YCBCR) else None,
        dpi=resolution,
        notes=(*notes, *more, *texts_lost),
    )
    return Opened(photo, image)


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


def _exif(picture: _Picture, file: BinaryIO, size: int) -> tuple[bytes | None, tuple[str, ...]]:
    """What describes the photograph, as an EXIF block."""
    if picture.page.parent.is_bigtiff:
        kept: exif.Directory = {}
        for tag in DESCRIBING:
            if value := _value(picture, tag):
                kept[tag] = exif.Entry(7 if tag >= 40091 else 2, len(value), value)
        lost = any(tag in picture.parent.tags for tag in (exif.EXIF, exif.GPS))
        notes = ("its EXIF is not kept",) if lost else ()
        return exif.serialise(kept) if kept else None, notes
    directory = {**_directory(picture.parent, file), **_directory(picture.page, file)}
    kept = {
        tag: entry for tag, entry in directory.items() if tag in (*DESCRIBING, exif.EXIF, exif.GPS)
    }
    return exif.serialise(kept) if kept else None, ()


def _directory(page: tifffile.TiffPage, file: BinaryIO) -> exif.Directory:
    """A directory of a file that is no BigTIFF, with its values byte for byte."""
    start = page.offset.to_bytes(4, "little" if page.parent.byteorder == "<" else "big")
    try:
        if isinstance(file, io.BytesIO):
            whole = file.getbuffer()
            return exif.parse(bytes(whole[:4]) + start + bytes(whole[8:]))
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as data:
            data[4:8] = start  # of a private copy
            return exif.parse(data)  # type: ignore[arg-type]
    except ValueError:
        return {}


def _value(picture: _Picture, tag: int) -> bytes:
    """A tag's bytes, of the directory itself or of the one it belongs to."""
    return raw_value(picture.page, tag) or raw_value(picture.parent, tag)


def _number(page: tifffile.TiffPage, tag: int, default: int) -> int:
    value = page.tags.valueof(tag, default)
    return int(value) if isinstance(value, int) else default


def _resolution(page: tifffile.TiffPage) -> tuple[float, float] | None:
    """In pixels per inch; None if the file does not state it."""
    inches = _INCHES.get(_number(page, 296, 2))
    across, down = (page.tags.valueof(tag) for tag in (282, 283))
    try:
        found = across[0] / across[1] * inches, down[0] / down[1] * inches
    except (TypeError, ZeroDivisionError, IndexError):
        return None
    return found if min(found) > 0 else None


def _iptc(value: bytes) -> bytes | None:
    """IPTC-IIM; programs that stored it as numbers turned the bytes of each."""
    if value[:1] != b"\x1c" and value[3:4] == b"\x1c":
        value = b"".join(value[i : i + 4][::-1] for i in range(0, len(value), 4))
    return value or None


def _name(value: Any) -> str:
    return str(getattr(value, "name", value))
