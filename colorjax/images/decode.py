"""From the bytes of a prepared image to a square of pixels."""

import os

import cv2
import numpy as np

# The pipeline decodes in threads and processes of its own, with which OpenCV's would compete.
cv2.setNumThreads(1)


def decode_bgr(image: bytes) -> np.ndarray:
    """Decodes a JPEG or PNG to [H, W, 3] uint8 BGR, turned upright as its EXIF says.

    Raises:
      ValueError: it cannot be decoded.
    """
    bgr = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError("OpenCV cannot decode the image")
    return bgr


def decode(image: bytes) -> np.ndarray:
    """Like `decode_bgr`, but RGB."""
    return cv2.cvtColor(decode_bgr(image), cv2.COLOR_BGR2RGB)


def resize(image: np.ndarray, size: int, out: np.ndarray | None = None) -> np.ndarray:
    """Resizes [H, W, 3] to [size, size, 3]: area means to shrink it, bicubic to enlarge it."""
    shrink = size < min(image.shape[:2])
    interpolation = cv2.INTER_AREA if shrink else cv2.INTER_CUBIC
    return cv2.resize(image, (size, size), dst=out, interpolation=interpolation)


def centre_square(image: np.ndarray) -> np.ndarray:
    """The largest centred square of [H, W, 3]."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def num_cores() -> int:
    """The number of CPU cores that this process may use: fewer than the machine has in a container
    or under a batch system.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
