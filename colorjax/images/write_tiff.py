"""Writes photographs as the pages of one TIFF, with all that belongs to them."""

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile

from colorjax.images import exif, photoshop
from colorjax.images.kinds import Photo
from colorjax.images.profiles import from_srgb
from colorjax.images.tiff_metadata import IPTC, PHOTOSHOP, XMP

_BYTE, _LONG, _UNDEFINED = 1, 4, 7
_BIG = 0xF0000000  # bytes; offsets in a plain TIFF have 32 bits
# tifffile writes no directories within directories: unused tags beside theirs are renamed.
_RENAMED = {exif.EXIF: exif.EXIF - 1, exif.GPS: exif.GPS - 1}
_STRIP = 1 << 20  # bytes; a strip is compressed in one piece


def write_tiff(path: Path, photos: Sequence[Photo]) -> None:
    """Writes 8 or 16 bits, deflated, with alpha, profile, EXIF, XMP and IPTC, one page each.

    The rows are read a few at a time: the pixels may be memory-mapped. A TIFF of more than 4 GB
    (BigTIFF) keeps the texts of the EXIF, but not the directories in it.

    Raises:
      OSError: it cannot be written.
    """
    big = sum(_size(photo) for photo in photos) > _BIG
    with (
        path.open("w+b") as file,
        tifffile.TiffWriter(file, byteorder="<", bigtiff=big) as tiff,
    ):
        for photo in photos:
            directory = _described(photo)
            offsets = {} if big else _append(file, directory)
            _write_page(tiff, photo, directory, offsets, several=len(photos) > 1)
    with tifffile.TiffFile(path) as tiff, path.open("r+b") as file:
        for page in tiff.pages:
            for tag, number in _RENAMED.items():
                if renamed := page.aspage().tags.get(number):
                    file.seek(renamed.offset)
                    file.write(struct.pack("<H", tag))


def _size(photo: Photo) -> int:
    return int(photo.rgb.nbytes + (0 if photo.alpha is None else photo.alpha.nbytes))


def _described(photo: Photo) -> exif.Directory:
    try:
        return exif.parse(photo.exif) if photo.exif else {}
    except ValueError:
        return {}


def _append(file: BinaryIO, directory: exif.Directory) -> dict[int, int]:
    """Appends the directories within a directory; where each begins."""
    offsets = {}
    for tag in (exif.EXIF, exif.GPS):
        if tag in directory and not isinstance(within := directory[tag].value, bytes):
            offset = file.seek(0, io.SEEK_END)
            offset += file.write(bytes(offset % 2))
            file.write(exif.serialise_at(within, offset))
            offsets[tag] = offset
    return offsets


def _write_page(
    tiff: tifffile.TiffWriter,
    photo: Photo,
    directory: exif.Directory,
    offsets: dict[int, int],
    *,
    several: bool,
) -> None:
    height, width = photo.rgb.shape[:2]
    channels = 3 if photo.alpha is None else 4
    rows = max(1, min(height, _STRIP // (width * channels * photo.rgb.itemsize)))
    tags: list[tuple[int, int, int, Any, bool]] = [
        # EXIF 3.0 calls texts in UTF-8 a type of its own, which TIFF does not know.
        (tag, exif.TEXT if entry.type == exif.UTF8 else entry.type, entry.count, entry.value, True)
        for tag, entry in directory.items()
        if tag in exif.TEXTS
    ]
    tags += [(_RENAMED[tag], _LONG, 1, offset, True) for tag, offset in offsets.items()]
    for tag, kind, value in (
        (XMP, _BYTE, photo.xmp),
        (IPTC, _UNDEFINED, photo.iptc),
        (PHOTOSHOP, _UNDEFINED, photoshop.joined(None, photo.resources)),
    ):
        if value:
            tags.append((tag, kind, len(value), value, True))
    resolution: dict[str, Any] = {}
    if photo.dpi:
        resolution = {"resolution": photo.dpi, "resolutionunit": "inch"}
    tiff.write(
        _strips(photo, rows),
        shape=(height, width, channels),
        dtype=photo.rgb.dtype,
        photometric="rgb",
        planarconfig="contig",
        extrasamples=None if photo.alpha is None else ["unassalpha"],
        compression="zlib",
        predictor=True,
        rowsperstrip=rows,
        iccprofile=photo.profile,
        subfiletype=2 if several else 0,
        metadata=None,
        software=False,
        extratags=tags,
        **resolution,
    )


def _strips(photo: Photo, rows: int) -> Iterator[bytes]:
    """The strips, deflated; tifffile would ask for all rows at once."""
    for start in range(0, photo.rgb.shape[0], rows):
        pixels = from_srgb(np.asarray(photo.rgb[start : start + rows]), photo.profile)
        if photo.alpha is not None:
            pixels = np.dstack([pixels, photo.alpha[start : start + rows]])
        differences = pixels.astype(pixels.dtype.newbyteorder("<"))
        differences[:, 1:] -= pixels[:, :-1]  # the predictor (TIFF 6.0, section 14)
        yield zlib.compress(differences.tobytes())
