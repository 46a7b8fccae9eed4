"""Decoders of what libvips does not read: BMP by Pillow, HEIC by pillow-heif."""

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import pyvips
from PIL import BmpImagePlugin

from colorjax.images.metadata import EXIF_MARK, Metadata

# Called with the width and height before pixels are decoded; raises ValueError.
CheckSize: TypeAlias = Callable[[int, int], None]


def open_bmp(
    source: Path | bytes, file: BinaryIO, check_size: CheckSize
) -> tuple[pyvips.Image, Metadata]:
    """Opens a BMP; see `open_photo` for errors, which are also Pillow's."""
    file.seek(0)
    image = BmpImagePlugin.BmpImageFile(file)  # without Pillow's limit of pixels
    check_size(*image.size)
    dpi = image.info.get("dpi")
    found = Metadata(dpi=dpi if dpi and min(dpi) > 0 else None)
    codec, _, offset, options = image.tile[0]
    if isinstance(source, Path) and codec == "raw" and options == ("BGR", _stride(image.width), -1):
        return _mapped(source, image.width, image.height, offset), found
    alpha = image.mode in ("RGBA", "LA", "PA")
    return _vips(np.asarray(image.convert("RGBA" if alpha else "RGB"))), found


def _vips(pixels: np.ndarray) -> pyvips.Image:
    return pyvips.Image.new_from_array(pixels).copy(interpretation="srgb")


def _stride(width: int) -> int:
    return (3 * width + 3) // 4 * 4


def _mapped(path: Path, width: int, height: int, offset: int) -> pyvips.Image:
    """The pixels of a plain BMP, a few rows in memory at a time."""
    if offset + _stride(width) * height > path.stat().st_size:
        raise ValueError("is truncated")
    stored = pyvips.Image.rawload(os.fsencode(path), _stride(width), height, 1, offset=offset)
    bgr = stored.crop(0, 0, 3 * width, height).bandfold(factor=3)
    upright = bgr.flipver()
    return upright[2].bandjoin([upright[1], upright[0]]).copy(interpretation="srgb")


def open_heic(
    source: Path | bytes, file: BinaryIO, check_size: CheckSize
) -> tuple[pyvips.Image, Metadata]:
    """Opens a HEIC, turned upright; see `open_photo` for errors, which are also pillow-heif's."""
    try:
        heif = importlib.import_module("pillow_heif")
    except ImportError as error:
        raise ValueError(
            "is HEIC; to read it: pip install 'colorjax[heic]' (from a checkout: pip install "
            "'.[heic]')"
        ) from error
    file.seek(0)
    with _heif_errors():
        image = heif.open_heif(file)
    check_size(*image.size)
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
