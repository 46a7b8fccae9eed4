"""Colours of small faces in pictures assembled from photographs, and in a cropped photograph."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import jax.numpy as jnp
import numpy as np

from colorjax.colorize import faces
from colorjax.colorize.colorizer import Colorizer
from colorjax.colorize.pictures import in_threads
from colorjax.display import to_float
from colorjax.evaluation import metrics
from colorjax.images.folders import open_root
from colorjax.lab import rgb_to_lab
from colorjax.parallel import devices
from colorjax.runs.model_paths import DEFAULT_MODEL
from colorjax.terminal.errors import InputError

Row = Mapping[str, Any]

# Side of a face of the zip, in pixels.
TILE = 128
# The photograph is cropped by 0 to 8 pixels, and the colours of crops by up to 4 are compared.
SHIFTS, NEAR = 8, 4
BATCH = 8


def measure(*, path: str, model: str) -> tuple[list[Row], Row]:
    """Colours pictures with small faces, with and without the search for faces.

    Args:
      path: a folder or zip with photographs of single faces.
      model: see `Colorizer.load`; by default the one that is best for faces.

    Returns:
      Rows with the MSE and the threshold loss at 10 of four kinds of pictures, and of how little
      the colours of scikit-image's astronaut depend on how the photograph is cropped; and the
      conditions.

    Raises:
      InputError: the folder or zip holds too few images, or scikit-image is not installed.
    """
    devices.configure()
    colorizer = Colorizer.load(model or DEFAULT_MODEL)
    rows: list[Row] = []
    for name, pictures in _assembled(Path(path)).items():
        plain, found = (_scores(colorizer, pictures, search) for search in (False, True))
        rows.append(
            {
                "pictures of": f"{name} ({len(pictures)})",
                "complete picture only": "{:.1f} / {:.3f}".format(*plain),
                "with face detection": "{:.1f} / {:.3f}".format(*found),
            }
        )
    rows += [_stability(colorizer, search) for search in (False, True)]
    return rows, {"model": model or DEFAULT_MODEL, "cells": "MSE / threshold loss at 10"}


def _assembled(path: Path) -> dict[str, list[np.ndarray]]:
    """The pictures by what they show; each face appears once."""
    tiles = _tiles(path)

    def grid(rows: int, columns: int, side: int = TILE) -> np.ndarray:
        return np.vstack(
            [np.hstack([_sized(next(tiles), side) for _ in range(columns)]) for _ in range(rows)]
        )

    try:
        return {
            "one face": [grid(1, 1) for _ in range(24)],
            "2 × 2 faces": [grid(2, 2) for _ in range(12)],
            "3 × 3 faces": [grid(3, 3) for _ in range(8)],
            "eight small and two large": [
                np.vstack([grid(1, 2, 2 * TILE), grid(2, 4)]) for _ in range(8)
            ],
        }
    except StopIteration:
        raise InputError(f"{path} holds fewer than 224 images; give more") from None


def _tiles(path: Path) -> Iterator[np.ndarray]:
    """The images [H, W, 3] uint8 in an order that is the same everywhere."""
    root = open_root(path)
    names = sorted(root.names)
    with root.reader() as read:
        for index in np.random.default_rng(0).permutation(len(names)):
            decoded = cv2.imdecode(np.frombuffer(read(names[index]), np.uint8), cv2.IMREAD_COLOR)
            if decoded is not None:
                yield cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def _sized(image: np.ndarray, side: int) -> np.ndarray:
    method = cv2.INTER_AREA if side < min(image.shape[:2]) else cv2.INTER_CUBIC
    return cv2.resize(image, (side, side), interpolation=method)


def _scores(
    colorizer: Colorizer, pictures: Sequence[np.ndarray], search: bool
) -> tuple[float, float]:
    """MSE and threshold loss at 10, means over the pictures."""
    ab = _ab(np.stack(_coloured(colorizer, pictures, search)))
    truth = _ab(np.stack(pictures))
    loss = metrics.threshold_loss(ab, truth, (10.0,))
    return float(metrics.mse(ab, truth).mean()), float(loss.mean())


def _coloured(
    colorizer: Colorizer, pictures: Sequence[np.ndarray], search: bool
) -> list[np.ndarray]:
    coloured = []
    for start in range(0, len(pictures), BATCH):
        some = pictures[start : start + BATCH]
        coefficients = colorizer.coefficients(some, None if search else [[]] * len(some))
        coloured += in_threads(colorizer.full_size, some, coefficients)
    return coloured


def _ab(rgb: np.ndarray) -> jnp.ndarray:
    return rgb_to_lab(to_float(jnp.asarray(rgb)))[..., 1:]


def _stability(colorizer: Colorizer, search: bool) -> Row:
    """How much the colours of a photograph change when it is cropped by a few pixels."""
    try:
        from skimage.data import astronaut
    except ImportError:
        raise InputError("--assembled needs scikit-image; pip install scikit-image") from None
    picture = astronaut()
    side = min(picture.shape[:2]) - SHIFTS
    offsets = [(y, x) for y in range(SHIFTS + 1) for x in range(SHIFTS + 1)]
    crops = [np.ascontiguousarray(picture[y : y + side, x : x + side]) for y, x in offsets]
    found = [bool(one) for one in in_threads(faces.face_crops, crops)] if search else []
    near = [(y, x) for y, x in offsets if max(y, x) <= NEAR]
    coloured = dict(
        zip(
            near, _coloured(colorizer, [crops[offsets.index(o)] for o in near], search), strict=True
        )
    )
    common = side - NEAR
    views = [
        np.asarray(_ab(rgb[NEAR - y : NEAR - y + common, NEAR - x : NEAR - x + common]))
        for (y, x), rgb in coloured.items()
    ]
    changes = [float(np.abs(view - views[0]).mean()) for view in views[1:]]
    return {
        "astronaut, cropped by 0 to 8 pixels": "with face detection" if search else "without",
        "crops with a face": f"{sum(found)} of {len(found)}" if search else "",
        "mean change of a*b*": float(np.mean(changes)),
        "largest": max(changes),
    }
