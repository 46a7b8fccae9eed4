"""Finding faces in a picture, so that the model sees them at the size it was trained with."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from skimage import data
from skimage.feature import Cascade

# Side of the cascade's detection as a fraction of the side of a face crop: the median over
# photographs of faces cropped like the training images.
DETECTION_SHARE = 0.67
# A crop larger than this fraction of the picture: the picture is a face crop itself.
CROP_SHARE = 0.8
# Distance at which the colours of the zoomed view no longer count, in sides of the crop. On
# pictures assembled from faces, 1 is worse for groups, and 3 gives walls the colour of skin.
REACH = 2.0
# Shorter side of the picture given to the cascade, in pixels: 0.05 s on one core.
SEARCH_SIDE = 256
MIN_DETECTION = 24


class Crop(NamedTuple):
    """A square around a face, in pixels. It may extend beyond the picture."""

    x: float
    y: float
    side: float


def face_crops(rgb: np.ndarray) -> list[Crop]:
    """Finds the faces of a picture, framed like the training images.

    scikit-image's LBP cascade detects frontal faces: about half of those in photographs like the
    training images, with a few false positives.

    Args:
      rgb: [H, W, 3] uint8.

    Returns:
      One crop per face; none for a picture that is a face crop itself.
    """
    short = min(rgb.shape[:2])
    if short < MIN_DETECTION:
        return []
    scale = min(1.0, SEARCH_SIDE / short)
    if scale < 1:
        rgb = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    detections = _cascade().detect_multi_scale(
        img=grey,
        scale_factor=1.2,
        step_ratio=1.5,
        min_size=(MIN_DETECTION, MIN_DETECTION),
        max_size=(min(grey.shape), min(grey.shape)),
    )
    crops = []
    for found in detections:
        side = found["width"] / DETECTION_SHARE
        x, y = (found[corner] + found["width"] / 2 - side / 2 for corner in ("c", "r"))
        crops.append(Crop(x / scale, y / scale, side / scale))
    return [crop for crop in crops if crop.side < CROP_SHARE * short]


@functools.cache
def _cascade() -> Cascade:
    return Cascade(data.lbp_frontal_face_cascade_filename())


def zoom(crops: Sequence[Crop], shape: tuple[int, int]) -> float:
    """Returns by how much to enlarge a picture (height, width) so that faces have training size.

    That is the shorter side divided by the median side of the crops, and at least 1.
    """
    sides = [crop.side for crop in crops]
    return max(1.0, min(shape) / float(np.median(sides))) if sides else 1.0


def nearness(crops: Sequence[Crop], shape: tuple[int, ...]) -> np.ndarray:
    """Returns the weight of the colours of the zoomed view, [height, width] float32.

    It is 1 within the crops and falls to 0 at REACH times their side from their centre.
    """
    near = np.zeros(shape, np.float32)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    for crop in crops:
        half = crop.side / 2
        distance = np.hypot(rows + 0.5 - crop.y - half, columns + 0.5 - crop.x - half) / crop.side
        near = np.maximum(near, np.clip((REACH - distance) / (REACH - 0.5), 0, 1))
    return near
