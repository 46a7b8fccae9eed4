"""The views of a picture that a model is given, and what it predicts for them."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cv2
import jax
import numpy as np

from colorjax.colorize import faces
from colorjax.colorize.full_size import area_mean
from colorjax.colorize.hints import Hints, raster
from colorjax.models import SIZE_MULTIPLE

# Longest side of a view given to the model, in pixels.
MAX_SIDE = 1024
# Views of larger pictures are made from one whose longest side is REDUCED_SIDE.
LARGE_PIXELS = 1 << 25
REDUCED_SIDE = 4 * MAX_SIDE
# Views [N, H, W, 3] and their hints [N, H, W, 3], or None -> maps [N, H, W, C], first of them L.
Output = Callable[[jax.Array, jax.Array | None], jax.Array]


class Views(NamedTuple):
    """How pictures are given to a model.

    Attributes:
      image_size: side of the images that it was trained with, in pixels.
      batch_size: maximum number of such images per batch.
      device: where it runs.
    """

    image_size: int
    batch_size: int
    device: jax.Device

    def maps(
        self,
        output: Output,
        pictures: Sequence[np.ndarray],
        crops: Sequence[Sequence[faces.Crop]],
        hints: Sequence[Hints | None],
    ) -> list[np.ndarray]:
        """Maps [h, w, C] of pictures; near faces those of a zoomed view.

        Args:
          output: of the model.
          pictures: arrays [H, W, 1 or 3] of uint8 or uint16, sRGB.
          crops: for each picture its faces.
          hints: for each picture its hints, with its size, or None.
        """
        views = [resized(picture, self.image_size) for picture in pictures]
        maps = self._predict(output, views, hints)
        zoomed = {
            i: resized(pictures[i], self.image_size * faces.zoom(found, pictures[i].shape[:2]))
            for i, found in enumerate(crops)
            if faces.zoom(found, pictures[i].shape[:2]) > 1
        }
        near = self._predict(output, list(zoomed.values()), [hints[i] for i in zoomed])
        for i, of_view in zip(zoomed, near, strict=True):
            scale = of_view.shape[0] / pictures[i].shape[0]
            maps[i] = _blended(maps[i], of_view, crops[i], scale)
        return maps

    def at(
        self,
        output: Callable[..., jax.Array],
        picture: np.ndarray,
        crops: Sequence[faces.Crop],
        hints: Hints | None,
        place: tuple[float, float],
    ) -> np.ndarray:
        """What a model predicts at one place; near faces a mixture with that of the zoomed view.

        Args:
          output: (view, hints, row, column) -> an array.
          picture: see `maps`.
          crops: its faces.
          hints: see `maps`.
          place: column and row as shares of the width and the height.

        Returns:
          Of the output's shape, float64.
        """

        def of_view(zoom: float) -> tuple[np.ndarray, float]:
            view = resized(picture, self.image_size * zoom)
            height, width = view.shape[:2]
            row, column = int(place[1] * height), int(place[0] * width)
            seen = None if hints is None else self._stacked([self._raster(hints, view)])
            found = output(self._stacked([_padded(view)]), seen, row, column)
            near = _nearness((height, width), crops, height / picture.shape[0])
            return np.asarray(found, np.float64), float(near[row, column])

        far, _ = of_view(1.0)
        zoom = faces.zoom(crops, picture.shape[:2])
        if zoom <= 1:
            return far
        closer, near = of_view(zoom)
        return far + near * (closer - far)

    def _predict(
        self, output: Output, views: Sequence[np.ndarray], hints: Sequence[Hints | None]
    ) -> list[np.ndarray]:
        """Maps [h, w, C] of views [h, w, 3], in batches of one padded size each."""
        padded = [_padded(view) for view in views]
        rasters = [
            None if given is None else self._raster(given, view)
            for view, given in zip(views, hints, strict=True)
        ]
        by_size = defaultdict(list)
        for index, view in enumerate(padded):
            by_size[view.shape, rasters[index] is None].append(index)
        maps: dict[int, np.ndarray] = {}
        for ((height, width, _), without_hints), indices in by_size.items():
            fitting = max(1, self.batch_size * self.image_size**2 // (height * width))
            batch_size = 1 << (fitting.bit_length() - 1)
            for start in range(0, len(indices), batch_size):
                batch = indices[start : start + batch_size]
                # A number of views is padded to a power of two, so that few sizes are compiled.
                size = 1 << (len(batch) - 1).bit_length()
                chosen = (batch + size * batch[-1:])[:size]
                seen = None if without_hints else self._stacked([rasters[i] for i in chosen])
                found = output(self._stacked([padded[i] for i in chosen]), seen)
                maps.update(zip(batch, np.asarray(found), strict=False))
        return [maps[i][: view.shape[0], : view.shape[1]] for i, view in enumerate(views)]

    def _raster(self, hints: Hints, view: np.ndarray) -> np.ndarray:
        return _padded(raster(hints, view.shape[:2], self.image_size))

    def _stacked(self, arrays: Sequence[Any]) -> jax.Array:
        return jax.device_put(np.stack(arrays), self.device)


def reduced(picture: np.ndarray) -> np.ndarray:
    """A picture of few enough pixels to be in memory several times: shrunk if it is large."""
    height, width = picture.shape[:2]
    if height * width <= LARGE_PIXELS:
        return picture
    scale = REDUCED_SIDE / max(height, width)
    return area_mean(picture, (max(1, round(scale * width)), max(1, round(scale * height))))


def resized(rgb: np.ndarray, side: float) -> np.ndarray:
    """[h, w, 3] float32, with `side` as the shorter side unless the longer exceeds MAX_SIDE."""
    height, width = rgb.shape[:2]
    scale = min(side / min(height, width), MAX_SIDE / max(height, width))
    size = max(1, round(scale * width)), max(1, round(scale * height))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    pixels = small.reshape(*small.shape[:2], -1).astype(np.float32) / np.iinfo(rgb.dtype).max
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def _padded(view: np.ndarray) -> np.ndarray:
    """Pads a view [h, w, 3] to one of few sizes, since the model is compiled for each."""

    def padding(side: int) -> tuple[int, int]:
        return 0, -side % (SIZE_MULTIPLE * (1 if side <= 256 else 2 if side <= 512 else 4))

    height, width = view.shape[:2]
    return np.pad(view, (padding(height), padding(width), (0, 0)), mode="symmetric")


def _blended(
    lab: np.ndarray, zoomed: np.ndarray, crops: Sequence[faces.Crop], scale: float
) -> np.ndarray:
    """The Lab of a view `scale` times as large as the picture; far from faces the a*b* of `lab`.

    In the place of a*b* there may be any number of channels.
    """
    near = _nearness(zoomed.shape[:2], crops, scale)[..., None]
    far = cv2.resize(lab[..., 1:], zoomed.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    far = far.reshape(*near.shape[:2], -1)  # OpenCV drops a single channel
    return np.concatenate([zoomed[..., :1], far + near * (zoomed[..., 1:] - far)], axis=-1)


def _nearness(shape: tuple[int, int], crops: Sequence[faces.Crop], scale: float) -> np.ndarray:
    """`faces.nearness` in a view `scale` times as large as the picture of the crops."""
    scaled = [
        faces.Crop(scale * crop.x, scale * crop.y, scale * crop.side, crop.weight) for crop in crops
    ]
    return faces.nearness(scaled, shape)
