"""Where faces are in a picture, and at what size the model should see it."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from skimage import data
from skimage.feature import Cascade

# The cascade's frame around a face, as a share of the side of a face crop: the median over
# photographs of faces that fill them as those the models are trained on.
FRAME = 0.67
# A face that is nearly as large as the picture: the picture is a face crop.
CROP_SHARE = 0.8
# Beyond so many sides of a face crop from its centre a picture is seen whole. Measured on
# assembled pictures: 1 loses in groups of faces, 3 paints walls like skin.
REACH = 2.0
# The cascade looks at the picture with its shorter side at most this long (0.05 s on one core).
SEARCH_SIDE = 256
SMALLEST_FRAME = 24


class Crop(NamedTuple):
    """A square around a face, in pixels; it may reach over the edges of the picture."""

    x: float
    y: float
    side: float


def face_crops(rgb: np.ndarray) -> list[Crop]:
    """The crops around the faces of a picture, as the models know them.

    scikit-image's LBP cascade finds frontal faces, about every second one of those in photographs
    for training, and now and then one that is none.

    Args:
      rgb: [H, W, 3] uint8.

    Returns:
      Empty for a picture that is a face crop itself.
    """
    short = min(rgb.shape[:2])
    if short < SMALLEST_FRAME:
        return []
    factor = min(1.0, SEARCH_SIDE / short)
    if factor < 1:
        rgb = cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    found = _cascade().detect_multi_scale(
        img=grey,
        scale_factor=1.2,
        step_ratio=1.5,
        min_size=(SMALLEST_FRAME, SMALLEST_FRAME),
        max_size=(min(grey.shape), min(grey.shape)),
    )
    crops = []
    for frame in found:
        side = frame["width"] / FRAME
        x, y = (frame[corner] + frame["width"] / 2 - side / 2 for corner in ("c", "r"))
        crops.append(Crop(x / factor, y / factor, side / factor))
    return [crop for crop in crops if crop.side < CROP_SHARE * short]


@functools.cache
def _cascade() -> Cascade:
    return Cascade(data.lbp_frontal_face_cascade_filename())


def zoom(crops: Sequence[Crop], shape: tuple[int, int]) -> float:
    """How much larger than a face crop the model should see a picture: its faces as it knows them.

    Args:
      crops: in the picture.
      shape: its (height, width).

    Returns:
      1 or more: what its shorter side is divided by the median crop.
    """
    if not crops:
        return 1.0
    return max(1.0, min(shape) / float(np.median([crop.side for crop in crops])))


def nearness(crops: Sequence[Crop], shape: tuple[int, int]) -> np.ndarray:
    """How much of the colours of a picture shall be those seen at its faces' size.

    Args:
      crops: in pixels of the picture.
      shape: its (height, width).

    Returns:
      [height, width] float32: 1 within a crop, falling to 0 at REACH of its sides from its centre.
    """
    near = np.zeros(shape, np.float32)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    for crop in crops:
        half = crop.side / 2
        distance = np.hypot(rows + 0.5 - crop.y - half, columns + 0.5 - crop.x - half) / crop.side
        near = np.maximum(near, np.clip((REACH - distance) / (REACH - 0.5), 0, 1))
    return near
