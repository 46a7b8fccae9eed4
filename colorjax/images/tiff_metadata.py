"""What a directory of a TIFF holds beside its pixels."""

import io
import mmap
from typing import BinaryIO

import numpy as np
import tifffile

from colorjax.images import exif, photoshop, xmp
from colorjax.images.kinds import Photo
from colorjax.images.tiff_directory import raw_value
from colorjax.images.tiff_pages import Picture

XMP, IPTC, PHOTOSHOP = 700, 33723, 34377
_LAYERS = 37724
_INCHES = {2: 1.0, 3: 2.54}  # a resolution's unit


def described(picture: Picture, file: BinaryIO) -> Photo:
    """The photograph of a directory, without pixels and profile."""
    block, notes = _exif(picture, file)
    if _LAYERS in picture.parent.tags:
        notes = (*notes, "its layers are not kept")
    packet = value(picture, XMP)
    readable = xmp.readable(packet) if packet else None
    if packet and not readable:
        notes = (*notes, xmp.NOT_KEPT)
    iptc, resources = photoshop.split(value(picture, PHOTOSHOP))
    return Photo(
        rgb=np.empty((0, 0, 3), np.uint8),
        format="tiff",
        exif=block,
        xmp=readable,
        iptc=_iptc(value(picture, IPTC)) or iptc,
        resources=resources,
        dpi=_resolution(picture.page),
        notes=notes,
    )


def value(picture: Picture, tag: int) -> bytes:
    """A tag's bytes, of the directory itself or of the one it belongs to."""
    return raw_value(picture.page, tag) or raw_value(picture.parent, tag)


def number(page: tifffile.TiffPage, tag: int, default: int) -> int:
    """A tag's value; the default if it is none."""
    found = page.tags.valueof(tag, default)
    return int(found) if isinstance(found, int) else default


def _exif(picture: Picture, file: BinaryIO) -> tuple[bytes | None, tuple[str, ...]]:
    """What describes the photograph, as an EXIF block; and remarks on what is not in it."""
    kept: exif.Directory = {}
    skipped: list[int] = []
    if picture.page.parent.is_bigtiff:
        for tag in exif.TEXTS:
            if text := value(picture, tag):
                kept[tag] = exif.Entry(7 if tag >= 40091 else 2, len(text), text)
        lost = any(tag in picture.parent.tags for tag in (exif.EXIF, exif.GPS))
        notes: tuple[str, ...] = ("its EXIF is not kept",) if lost else ()
    else:
        kept = _directory(picture.parent, file, skipped)
        if picture.page is not picture.parent:
            kept |= _directory(picture.page, file, skipped)
        notes = exif.not_kept(skipped)
    return exif.serialise(kept) if kept else None, notes


def _directory(page: tifffile.TiffPage, file: BinaryIO, skipped: list[int]) -> exif.Directory:
    """What describes a photograph in a file that is no BigTIFF, byte for byte."""
    start = page.offset.to_bytes(4, "little" if page.parent.byteorder == "<" else "big")
    try:
        if isinstance(file, io.BytesIO):
            whole = file.getbuffer()
            return exif.parse(bytes(whole[:4]) + start + bytes(whole[8:]), exif.DESCRIBING, skipped)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as data:
            data[4:8] = start  # of a private copy
            return exif.parse(data, exif.DESCRIBING, skipped)  # type: ignore[arg-type]
    except ValueError:
        return {}


def _resolution(page: tifffile.TiffPage) -> tuple[float, float] | None:
    """In pixels per inch; None if the file does not state it."""
    inches = _INCHES.get(number(page, 296, 2), 0.0)
    both = [page.tags.valueof(tag) for tag in (282, 283)]
    if not all(isinstance(ratio, tuple) and len(ratio) == 2 and ratio[1] for ratio in both):
        return None
    across, down = (above / below * inches for above, below in both)
    return (across, down) if min(across, down) > 0 else None


def _iptc(value: bytes) -> bytes | None:
    """IPTC-IIM; programs that stored it as numbers turned the bytes of each."""
    if value[:1] != b"\x1c" and value[3:4] == b"\x1c":
        value = b"".join(value[i : i + 4][::-1] for i in range(0, len(value), 4))
    return value or None
