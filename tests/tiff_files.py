"""TIFFs for tests, made by tifffile, and how they are read."""

import io

import numpy as np
import pytest
import pyvips
import tifffile
from skimage import data

from colorjax.images.tiff import open_tiff

A = data.astronaut()[40:232:2, 40:180:2]  # [96, 70, 3]
GREY = A[..., 1]
DEEP = A.astype(np.uint16) * 257 + 1 - (A > 200)
RAMP = np.linspace(0, 255, GREY.size).reshape(GREY.shape).astype(np.uint8)
STRIPS, TILES = {"rowsperstrip": 32}, {"tile": (32, 32)}


def tiff(*pictures, **options):
    """A TIFF of one page for each picture or pair of picture and options."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file, **options.pop("file", {})) as writer:
        for picture in pictures:
            array, more = picture if isinstance(picture, tuple) else (picture, {})
            given = {"photometric": "rgb", "metadata": None, "contiguous": False, **options, **more}
            writer.write(array, **given)
    return file.getvalue()


def read(contents, pages=1):
    found = list(open_tiff(contents, 10**6))
    assert len(found) == pages
    return found[0].image.numpy()


def refused(contents, words):
    """Refused when it is opened or when its pixels are read."""
    with pytest.raises((ValueError, pyvips.Error), match=words):
        read(contents)


def grey(channel):
    return np.repeat(channel[..., None], 3, axis=-1)


def flipped(contents, segment, rng):
    with tifffile.TiffFile(io.BytesIO(contents)) as file:
        page = file.pages[0]
        start, count = page.dataoffsets[segment], page.databytecounts[segment]
    changed = bytearray(contents)
    for at in rng.integers(start + 4, start + count - 8, 3):
        changed[at : at + 6] = bytes(rng.integers(0, 256, 6, dtype=np.uint8))
    return bytes(changed)
