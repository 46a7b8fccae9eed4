"""Decoders of BMP, with Pillow, of HEIC, with pillow-heif, and of AVIF."""

import contextlib
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyvips
from PIL import BmpImagePlugin

from colorjax.images.metadata import EXIF_MARK, Metadata
from colorjax.images.reasons import check_size, one_line
from colorjax.terminal.errors import installing

# Layouts of a pixel that are read in rows, as Pillow names them: of one byte, of one a letter.
_INDEX = ("P", "L")
_LETTERS = ("BGR", "BGRX", "XBGR", "BGXR", "RGBX", "RGBA", "BGRA", "ABGR", "BGAR")


def open_bmp(
    source: Path | bytes, file: BinaryIO, max_pixels: int
) -> tuple[pyvips.Image, Metadata]:
    """Opens a BMP; see `open_photo` for errors, which are also Pillow's."""
    file.seek(0)
    image = BmpImagePlugin.BmpImageFile(file)  # without Pillow's limit of pixels
    dpi = image.info.get("dpi")
    found = Metadata(dpi=dpi if dpi and min(dpi) > 0 else None)
    tile: Any = image.tile[0]
    codec, _, offset, (layout, stride, direction, *_) = tile
    if codec == "raw" and layout in (*_INDEX, *_LETTERS):
        check_size(*image.size, max_pixels)
        stored = _rows(source, offset, stride, image.height)
        stored = stored.flipver() if direction < 0 else stored
        return _colours(stored, image, layout), found
    check_size(*image.size, max_pixels, "BMPs of this kind")
    alpha = image.mode in ("RGBA", "LA", "PA")
    try:
        return _vips(np.asarray(image.convert("RGBA" if alpha else "RGB"))), found
    except ValueError as error:
        raise ValueError(f"is corrupt or truncated ({one_line(error)})") from error


def _vips(pixels: np.ndarray) -> pyvips.Image:
    return pyvips.Image.new_from_array(pixels).copy(interpretation="srgb")


def _rows(source: Path | bytes, offset: int, stride: int, height: int) -> pyvips.Image:
    """The bytes of a plain BMP, [height, stride], a few rows in memory at a time."""
    size = source.stat().st_size if isinstance(source, Path) else len(source)
    if offset + stride * height > size:
        raise ValueError("is truncated")
    if isinstance(source, Path):
        return pyvips.Image.rawload(os.fsencode(source), stride, height, 1, offset=offset)
    rows = memoryview(source)[offset : offset + stride * height]
    return pyvips.Image.new_from_memory(rows, stride, height, 1, "uchar")


def _colours(stored: pyvips.Image, image: BmpImagePlugin.BmpImageFile, layout: str) -> pyvips.Image:
    """The bytes of rows as sRGB, with alpha if there is any."""
    pixels = stored.crop(0, 0, len(layout) * image.width, image.height)
    if layout in _LETTERS:
        pixels = pixels.bandfold(factor=len(layout))
        bands = [pixels[layout.index(name)] for name in "RGBA" if name in layout]
        return bands[0].bandjoin(bands[1:]).copy(interpretation="srgb")
    if image.palette is None:
        return pixels.copy(interpretation="b-w")
    entries = np.frombuffer(bytes(image.palette.palette), np.uint8)
    entries = entries.reshape(-1, len(image.palette.rawmode or "BGR"))[:256]
    table = np.zeros((256, 3), np.uint8)  # indices beyond the palette are black
    table[: len(entries)] = entries[:, 2::-1]
    return pixels.maplut(_vips(table[None])).copy(interpretation="srgb")


def open_vips(source: Path | bytes, access: str, fail_on: str) -> pyvips.Image:
    """Opens what libvips decodes."""
    if isinstance(source, Path):
        stream = pyvips.Source.new_from_file(os.fsencode(source))
    else:
        stream = pyvips.Source.new_from_memory(source)
    return pyvips.Image.new_from_source(stream, "", access=access, fail_on=fail_on)


def open_avif(
    source: Path | bytes, file: BinaryIO, max_pixels: int
) -> tuple[pyvips.Image, Metadata]:
    """Opens an AVIF, turned upright; see `open_photo` for errors."""
    try:
        image = open_vips(source, "sequential", "truncated")
    except pyvips.Error:
        file.seek(8)
        if file.read(4) == b"avis":
            raise ValueError("holds several pictures; save them one by one") from None
        raise
    check_size(image.width, image.height, max_pixels, "AVIFs")
    names = {"exif": "exif-data", "xmp": "xmp-data", "profile": "icc-profile-data"}
    present = set(image.get_fields())
    values = {key: bytes(image.get(name)) for key, name in names.items() if name in present}
    if "exif" in values:
        values["exif"] = values["exif"].removeprefix(EXIF_MARK)
    return image, Metadata(**values)  # type: ignore[arg-type]


def open_heic(
    source: Path | bytes, file: BinaryIO, max_pixels: int
) -> tuple[pyvips.Image, Metadata]:
    """Opens a HEIC, turned upright; see `open_photo` for errors, which are also pillow-heif's."""
    try:
        heif = importlib.import_module("pillow_heif")
    except ImportError as error:
        raise ValueError(f"is HEIC; to read it: {installing('heic')}") from error
    file.seek(0)
    with _heif_errors():
        image = heif.open_heif(file)
    width, height = image.size
    check_size(width, height, max_pixels, "HEICs")
    info = image.info
    block = info.get("exif")
    found = Metadata(
        exif=block.removeprefix(EXIF_MARK) if block else None,
        xmp=info.get("xmp") or None,
        profile=info.get("icc_profile") or None,
    )
    with _heif_errors():
        return _vips(np.asarray(image)), found


@contextlib.contextmanager
def _heif_errors() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"is corrupt ({error})") from error
