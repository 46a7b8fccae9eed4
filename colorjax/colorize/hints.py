"""Hints: colours that a person gives for pixels of a picture. Imports JAX only to rasterise."""

import json
import math
import numbers
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from colorjax.images.folders import printable
from colorjax.images.photo import read_photo, to_bytes
from colorjax.terminal.errors import InputError

# The side of a hint is this share of the side of the images that the model was trained with.
SHARE = 1 / 32
PNG, JSON = ".png", ".json"
# Positions beyond it, and NaN, are no numbers of pixels.
_FAR = 1e9
_COLOUR = re.compile("#[0-9a-f]{6}", re.IGNORECASE)


class Hints(NamedTuple):
    """The hints for a picture.

    Attributes:
      pixels: [K, 2] int, column and row.
      rgb: [K, 3] uint8 sRGB.
      size: width and height of the upright picture, if known.
    """

    pixels: np.ndarray
    rgb: np.ndarray
    size: tuple[int, int] | None = None

    def of(self, size: tuple[int, int]) -> "Hints":
        """The hints for a picture of this size. Raises InputError if they do not fit into it."""
        width, height = size
        if self.size not in (None, size):
            given = "×".join(map(str, self.size or ()))
            raise InputError(
                f"the hints are {given} pixels and the upright picture is {width}×{height}; "
                "give hints of its size"
            )
        outside = ((self.pixels < 0) | (self.pixels >= size)).any(axis=1)
        if outside.any():
            at = int(np.argmax(outside))
            (x, y), colour = self.pixels[at].tolist(), _hex(self.rgb[at])
            raise InputError(
                f"the hint {colour} at ({x}, {y}) is outside the upright picture of "
                f"{width}×{height} pixels; give x in [0, {width - 1}] and y in [0, {height - 1}]"
            )
        return self._replace(size=size)


def parse(points: Any) -> Hints:
    """Hints from triples.

    Args:
      points: a sequence of (x, y, "#rrggbb"), in pixels of the upright picture. x is its column and
        y its row, counted from 0; fractions belong to the pixel that they lie in.

    Raises:
      InputError: names the first that is not such a triple.
    """
    if isinstance(points, Hints):
        return points
    if not isinstance(points, Sequence) or isinstance(points, str):
        raise InputError(f'hints are a list of (x, y, "#rrggbb"), not {points!r:.60}')
    for point in points:
        if not _is_hint(point):
            raise InputError(f'a hint is (x, y, "#rrggbb") in pixels, not {point!r:.60}')
    pixels = [(math.floor(x), math.floor(y)) for x, y, _ in points]
    rgb = [list(bytes.fromhex(colour[1:])) for *_, colour in points]
    return Hints(np.array(pixels, np.int64).reshape(-1, 2), np.array(rgb, np.uint8).reshape(-1, 3))


def fitting(hints: Any, sizes: Sequence[tuple[int, int]]) -> list[Hints | None]:
    """Parsed hints for pictures.

    Args:
      hints: for each picture a list of hints, see `parse`; or None.
      sizes: widths and heights of the upright pictures.

    Returns:
      For each picture its hints with its size, or None if there are none.

    Raises:
      InputError: there are not as many lists as pictures; or see `parse` and `Hints.of`.
    """
    if not isinstance(hints, (list, tuple)) or len(hints) != len(sizes):
        raise InputError("for a list of pictures, hints are a list of as many lists or None")
    found = [None if one is None else parse(one) for one in hints]
    return [
        one.of(size) if one is not None and len(one.pixels) else None
        for one, size in zip(found, sizes, strict=True)
    ]


def _is_hint(point: Any) -> bool:
    if not isinstance(point, (list, tuple)) or len(point) != 3:
        return False
    *place, colour = point
    if not isinstance(colour, str) or not _COLOUR.fullmatch(colour):
        return False
    return all(map(_is_position, place))


def _is_position(x: Any) -> bool:
    is_number = isinstance(x, numbers.Real) and not isinstance(x, bool)
    return is_number and bool(abs(x) < _FAR)


def read_hints(path: Path) -> Hints:
    """Reads hints from a file.

    Args:
      path: a .png of the size of the upright picture, transparent but for strokes: every pixel of
        an opacity of 50 % or more is a hint; or a .json of [[x, y, "#rrggbb"], …], see `parse`.

    Raises:
      InputError: it is no such file, or has no hints.
    """
    kind, name = path.suffix.lower(), f"--hints {printable(path)}"
    if kind not in (PNG, JSON):
        raise InputError(f"{name} must end in {PNG} or {JSON}")
    try:
        hints = _from_png(path) if kind == PNG else parse(json.loads(path.read_bytes()))
    except FileNotFoundError as error:
        raise InputError(f"{name} does not exist; check the path") from error
    except OSError as error:
        raise InputError(f"{name} cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        reason = f"is not JSON ({error})" if isinstance(error, json.JSONDecodeError) else str(error)
        raise InputError(f"{name}: {reason}") from error
    if not len(hints.pixels):
        raise InputError(f"{name} has no hints; {_EMPTY[kind]}")
    return hints


_EMPTY = {
    PNG: "paint strokes with an opacity of 50 % or more",
    JSON: 'give [[x, y, "#rrggbb"], …]',
}


def _from_png(path: Path) -> Hints:
    photo = read_photo(path)
    if photo.format != "png":
        raise ValueError("is not a PNG; save it as one")
    if photo.alpha is None:
        raise ValueError("has no transparency; paint strokes on a transparent layer")
    rows, columns = np.nonzero(photo.alpha >= np.iinfo(photo.alpha.dtype).max / 2)
    height, width = photo.alpha.shape
    rgb = to_bytes(photo.rgb[rows, columns])
    return Hints(np.stack([columns, rows], axis=-1), rgb, (width, height))


def raster(hints: Hints, shape: tuple[int, int], training_size: int) -> np.ndarray:
    """Hints as a model sees them in a view of the picture.

    Each is a square around its pixel, clipped at the edges. A pixel of the view that lies within
    several squares has the mean of their a*b*, or of those hints that lie in it, if there are any:
    strokes of different colours do not mix at their seam.

    Args:
      hints: with the size of the picture.
      shape: height and width of the view.
      training_size: side of the images that the model was trained with.

    Returns:
      [height, width, 3] float32: a*b* in Lab units and 1; 0 where there are no hints.
    """
    if hints.size is None:
        raise ValueError("hints need the size of their picture")
    height, width = shape
    # By the centre of the pixel.
    columns, rows = ((2 * hints.pixels + 1) * (width, height) // (2 * np.array(hints.size))).T
    cells = rows * width + columns
    values = *_ab(hints.rgb), np.ones(len(cells))
    sums = np.stack(
        [np.bincount(cells, weights, minlength=height * width) for weights in values], axis=-1
    ).reshape(height, width, 3)
    sides = (
        _side(width, hints.size[0], training_size),
        _side(height, hints.size[1], training_size),
    )
    around = cv2.boxFilter(sums, cv2.CV_64F, sides, normalize=False, borderType=cv2.BORDER_CONSTANT)
    # The filter's sums are running ones: their rounding must not count as a hint.
    around *= around[..., 2:] > 0.5
    total = np.where(sums[..., 2:] > 0, sums, around)
    return (total / np.maximum(total[..., 2:], 1)).astype(np.float32)


def _ab(rgb: np.ndarray) -> np.ndarray:
    """[2, K] a*b* of sRGB [K, 3] uint8."""
    import jax

    from colorjax.lab import rgb_to_lab

    # Strokes have few colours. Padded to a power of two, few numbers of them are compiled.
    packed = rgb.astype(np.int32) @ (1 << np.array([16, 8, 0]))
    colours, which = np.unique(packed, return_inverse=True)
    colours = np.pad(colours, (0, (1 << (len(colours) - 1).bit_length()) - len(colours)))
    unpacked = colours[:, None] >> np.array([16, 8, 0]) & 255
    return np.asarray(jax.jit(rgb_to_lab)(unpacked.astype(np.float32) / 255)).T[1:, which]


def _side(length: int, of: int, training_size: int) -> int:
    """The odd side of a hint in a view, such as 5 pixels at 128, and no less than the pixel's."""
    return 2 * (max(round(SHARE * training_size), math.ceil(length / of)) // 2) + 1


def _hex(rgb: np.ndarray) -> str:
    return f"#{bytes(rgb.tolist()).hex()}"
