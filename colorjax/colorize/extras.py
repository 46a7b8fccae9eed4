"""What is written besides one coloured photograph: candidates, uncertainty, grey and coloured."""

import errno
import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from colorjax.colorize.colorizer import Colorizer
from colorjax.colorize.full_size import area_mean, interpolate_rows
from colorjax.images.photo import Photo, to_bytes
from colorjax.images.photo_reader import LARGE_BYTES

# Longest side of a grey and a coloured picture side by side, in pixels.
COMPARED_SIDE = 16_384
# The standard deviation of a*b* that is white in pictures of the uncertainty, in Lab units.
WHITE = 50.0


def candidate(
    photo: Photo, coefficients: Sequence[np.ndarray], colorizer: Colorizer, folder: Path
) -> Photo:
    """A coloured copy of a photograph."""

    def coloured(page: Photo, of_page: np.ndarray) -> Photo:
        out = _room(page.rgb.shape, page.rgb.dtype, folder)
        return page._replace(rgb=colorizer.full_size(page.rgb, of_page, out=out))

    first, *others = map(coloured, (photo, *photo.pages), coefficients)
    return first._replace(pages=tuple(others))


def uncertainty_picture(uncertainty: np.ndarray, shape: tuple[int, int], folder: Path) -> Photo:
    """[h, w] in Lab units as a grey picture of a larger shape."""
    grey = _room((*shape, 1), np.dtype(np.uint8), folder)
    for top in range(0, shape[0], 256):
        bottom = min(top + 256, shape[0])
        rows = interpolate_rows(uncertainty[..., None], shape, top, bottom)
        grey[top:bottom] = np.rint(np.clip(rows / WHITE, 0, 1) * 255).reshape(-1, shape[1], 1)
    return Photo(grey, format="png")


def side_by_side(rgb: np.ndarray, colorizer: Colorizer) -> Photo:
    """Grey and coloured."""
    height, width = rgb.shape[:2]
    scale = min(1.0, COMPARED_SIDE / max(height, 2 * width))
    size = max(1, int(scale * width)), max(1, int(scale * height))
    small = area_mean(rgb, size) if scale < 1 else rgb
    both = np.empty((size[1], 2 * size[0], 3), np.uint8)
    for top in range(0, size[1], 256):
        both[top : top + 256] = np.tile(to_bytes(small[top : top + 256]), (1, 2, 1))
    grey = both[:, : size[0]]
    # Colours have the lightness of the grey picture.
    colorizer.full_size(grey, np.zeros((1, 1, 4), np.float32), out=grey)
    grey[..., 0] = grey[..., 2] = grey[..., 1]
    return Photo(both, format="jpeg")


def _room(shape: tuple[int, ...], dtype: np.dtype[Any], folder: Path) -> np.ndarray:
    """An array to be filled; a large one lies in a file in this folder, which nobody sees."""
    size = math.prod(shape) * dtype.itemsize
    if size <= LARGE_BYTES:
        return np.empty(shape, dtype)
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < size:  # to write into what is mapped would end the process
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.asarray(np.memmap(file, dtype, "w+", shape=shape))  # type: ignore[call-overload]
