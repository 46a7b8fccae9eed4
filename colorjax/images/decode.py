"""From the bytes of a prepared image to a square of pixels."""

import os

import cv2
import numpy as np

# The pipeline decodes in threads and processes of its own; OpenCV's would only fight with them.
cv2.setNumThreads(1)


def decode_bgr(image: bytes) -> np.ndarray:
    """Decodes JPEG or PNG bytes to [H, W, 3] uint8 BGR, turned upright as EXIF says."""
    bgr = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError("these bytes are no image, although the data were checked")
    return bgr


def decode(image: bytes) -> np.ndarray:
    """Decodes JPEG or PNG bytes to [H, W, 3] uint8 RGB, turned upright as EXIF says."""
    return cv2.cvtColor(decode_bgr(image), cv2.COLOR_BGR2RGB)


def resize(image: np.ndarray, size: int, out: np.ndarray | None = None) -> np.ndarray:
    """Resizes [H, W, 3] to [size, size, 3]: means of areas to shrink it, bicubic to enlarge it.

    With `out`, into that.
    """
    shrink = size < min(image.shape[:2])
    interpolation = cv2.INTER_AREA if shrink else cv2.INTER_CUBIC
    return cv2.resize(image, (size, size), dst=out, interpolation=interpolation)


def centre_square(image: np.ndarray) -> np.ndarray:
    """The largest square in the middle of [H, W, 3]."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def num_cores() -> int:
    """How many; of a machine shared by a batch system or a container often not all it has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
