"""How the image files of people are stored: as OpenCV decodes them to what people see."""

import contextlib
from typing import NamedTuple

import cv2
import numpy as np

from colorjax.images.decode import decode
from colorjax.images.photo import on_white, read_photo, to_bytes

MAX_PIXELS = 100_000_000
JPEG_QUALITY = 95
# Mean difference in levels between two decoders of the same JPEG.
JPEG_TOLERANCE = 0.5
# A picture with a smaller share of its pixels in colour is grey.
COLOURFUL_SHARE = 0.05


class Stored(NamedTuple):
    """A JPEG or PNG, and the [H, W, 3] uint8 sRGB that people see in it."""

    data: bytes
    rgb: np.ndarray


def as_stored(data: bytes) -> Stored:
    """The file itself if OpenCV decodes it to what people see; else a JPEG or PNG of that.

    OpenCV, which decodes during training, applies no profiles and truncates 16 bits. Of several
    pictures the first is stored; transparent parts are composited on white.

    Raises:
      ValueError: see `read_photo`; an image may have MAX_PIXELS.
    """
    photo = read_photo(data, max_pixels=MAX_PIXELS, first_picture=True)
    rgb = to_bytes(on_white(photo.rgb, photo.alpha))
    is_jpeg = photo.format == "jpeg"
    if is_jpeg or photo.format == "png":
        tolerance = JPEG_TOLERANCE if is_jpeg else 0
        with contextlib.suppress(ValueError, cv2.error):  # OpenCV reads fewer files
            found = decode(data)
            if found.shape == rgb.shape and cv2.absdiff(found, rgb).mean() <= tolerance:
                return Stored(data, rgb)
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, options) if is_jpeg else cv2.imencode(".png", bgr)
    return Stored(encoded.tobytes(), rgb)


def check(data: bytes, min_chroma: float) -> tuple[bool, bool]:
    """Decodes a file, and says how it is used.

    Args:
      data: contents of an image file.
      min_chroma: a picture is grey if fewer than COLOURFUL_SHARE of its pixels have this chroma
        (Lab units); 0 takes none for grey.

    Returns:
      Whether the file is stored as it is, and whether its picture is grey.

    Raises:
      ValueError: see `as_stored`.
    """
    stored = as_stored(data)
    is_grey = min_chroma > 0 and colourful_share(stored.rgb, min_chroma) < COLOURFUL_SHARE
    return stored.data is data, is_grey


def colourful_share(rgb: np.ndarray, chroma: float) -> float:
    """The share of the pixels of [H, W, 3] uint8 sRGB whose chroma in Lab exceeds `chroma`."""
    height, width = rgb.shape[:2]
    scale = min(1.0, 128 / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    # Averaging also removes the colour noise of a grey photograph.
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    ab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)[..., 1:]
    return float(np.mean(np.hypot(ab[..., 0], ab[..., 1]) > chroma))
