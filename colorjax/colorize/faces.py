"""Finding faces in a picture, so that the model sees them at the size it was trained with."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

# YuNet of March 2023 (Wu, Peng and Yu: YuNet, a tiny millisecond-level face detector), from the
# OpenCV model zoo. MIT licence, see the file beside it.
DETECTOR = Path(__file__).parents[1] / "assets" / "models" / "face_detection_yunet_2023mar.onnx"
# Geometric mean of the sides of a detection as a fraction of the side of a face crop: the median
# over photographs of faces cropped like the training images.
DETECTION_SHARE = 0.72
# The weight of a face rises from 0 to 1 between these scores. Nearly all faces have 0.9; the best
# detection in photographs without people seldom has 0.6.
SCORES = 0.55, 0.75
# The zoomed view counts in full from this zoom on, and not at all at a zoom of 1: the picture is
# a face crop itself.
FULL_ZOOM = 1.25
# Distance at which the colours of the zoomed view no longer count, in sides of the crop. On
# pictures assembled from faces, 1 is worse for groups, and 3 gives walls the colour of skin.
REACH = 2.0
if hasattr(cv2.utils, "logging"):  # OpenCV 5, which warns of a target that its detector sets itself
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
# Sides of the picture given to the detector, in pixels; it finds faces of 10 to 300.
SEARCH_SIDE, MAX_SEARCH_SIDE = 320, 1280
MIN_SIDE = 24


class Crop(NamedTuple):
    """A square around a face, in pixels. It may extend beyond the picture."""

    x: float
    y: float
    side: float
    weight: float = 1.0  # in (0, 1]: how certain it is that this is a face


def face_crops(rgb: np.ndarray) -> list[Crop]:
    """Finds the faces of a picture, framed like the training images.

    Only the lightness is used, and the result depends little on how the picture is cropped.

    Args:
      rgb: [H, W, 3] uint8.

    Returns:
      One crop per face, also in a picture that is a face crop itself.
    """
    short, long = sorted(rgb.shape[:2])
    if short < MIN_SIDE:
        return []
    scale = min(1.0, SEARCH_SIDE / short, MAX_SEARCH_SIDE / long)
    if scale < 1:
        size = max(1, round(scale * rgb.shape[1])), max(1, round(scale * rgb.shape[0]))
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2BGR)
    # One for each picture (4 ms), because threads must not share a detector.
    detector = cv2.FaceDetectorYN.create(str(DETECTOR), "", grey.shape[1::-1], SCORES[0])
    _, detections = detector.detect(grey)
    crops = []
    for x, y, width, height, *_, score in () if detections is None else detections.tolist():
        side = np.sqrt(max(width, 1) * max(height, 1)) / DETECTION_SHARE
        corner = x + (width - side) / 2, y + (height - side) / 2
        weight = (score - SCORES[0]) / (SCORES[1] - SCORES[0])
        if weight > 0:
            x, y, side = (float(value / scale) for value in (*corner, side))
            crops.append(Crop(x, y, side, min(1.0, weight)))
    return crops


def zoom(crops: Sequence[Crop], shape: tuple[int, int]) -> float:
    """Returns by how much to enlarge a picture (height, width) so that faces have training size.

    That is the shorter side divided by the geometric mean of the crops' sides, by weight, and at
    least 1.
    """
    if not crops:
        return 1.0
    sides = np.log([crop.side for crop in crops])
    mean = np.exp(np.average(sides, weights=[crop.weight for crop in crops]))
    return max(1.0, min(shape) / float(mean))


def nearness(crops: Sequence[Crop], shape: tuple[int, int]) -> np.ndarray:
    """Returns the weight of the colours of the zoomed view, [height, width] float32.

    It is that of the crop within a crop, and falls to 0 at REACH times the side from its centre.
    It is less where the zoom is close to 1, so that it changes continuously with the crops.
    """
    near = np.zeros(shape, np.float32)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    for crop in crops:
        half = crop.side / 2
        distance = np.hypot(rows + 0.5 - crop.y - half, columns + 0.5 - crop.x - half) / crop.side
        falling = np.clip((REACH - distance) / (REACH - 0.5), 0, 1)
        near = np.maximum(near, crop.weight * falling)
    # NumPy's scalars would make the coefficients float64, and colouring half as fast again.
    return (near * min(1.0, (zoom(crops, shape) - 1) / (FULL_ZOOM - 1))).astype(np.float32)
