"""Pillow images and arrays as the samples that are coloured, and back."""

import contextlib
import io
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps

from colorjax.images.decode import num_cores
from colorjax.images.photo import to_bytes

# The modes whose profile is one of RGB.
_OF_RGB = ("RGB", "RGBA", "RGBa", "RGBX", "P", "PA")
_ORIENTATION = ExifTags.Base.Orientation
# What Pillow raises for EXIF that it cannot parse or write back.
_EXIF_ERRORS = (SyntaxError, TypeError, ValueError, KeyError, OverflowError, struct.error)


def upright(image: Any) -> Any:
    """A PIL image turned as its EXIF says, without the orientation; anything else as it is."""
    if not isinstance(image, Image.Image):
        return image
    try:
        return ImageOps.exif_transpose(image)
    except _EXIF_ERRORS:
        exif = Image.Exif()
        with contextlib.suppress(*_EXIF_ERRORS):
            exif[_ORIENTATION] = image.getexif().get(_ORIENTATION, 1)
        plain = image.copy()
        plain.info.pop("Raw profile type exif", None)
        plain.info["exif"] = exif.tobytes()  # the rest is left out
        return ImageOps.exif_transpose(plain)


def to_array(image: Any) -> np.ndarray:
    """[H, W, 1 or 3] uint8 or uint16."""
    if isinstance(image, Image.Image):
        image = _pil_samples(image)
    if not isinstance(image, np.ndarray) or image.dtype.str[1:] not in ("u1", "u2"):
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise TypeError(f"expected a PIL image or an array of uint8 or uint16, not {kind}")
    image = image.astype(image.dtype.newbyteorder("="), copy=False)  # as XLA and OpenCV need it
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3) or not image.size:
        raise ValueError(f"expected shape [H, W], [H, W, 1] or [H, W, 3], not {image.shape}")
    return image


def _pil_samples(image: Image.Image) -> np.ndarray:
    """[H, W] uint16, or [H, W, 3] uint8."""
    if image.mode.startswith("I;16"):
        return np.asarray(image)
    if image.mode in ("I", "F"):
        return _as_uint16(np.asarray(image), image.mode)
    profile = image.info.get("icc_profile")
    if profile and image.mode in ("L", "LA", "CMYK"):
        plain = image.convert("L") if image.mode == "LA" else image
        with contextlib.suppress(ImageCms.PyCMSError, OSError):  # a corrupt one counts as none
            srgb = ImageCms.createProfile("sRGB")
            seen = ImageCms.profileToProfile(plain, io.BytesIO(profile), srgb, outputMode="RGB")
            return np.asarray(seen)
    return np.asarray(_rgba(image).convert("RGB"))


def _as_uint16(samples: np.ndarray, mode: str) -> np.ndarray:
    """Samples of unknown range: of [0, 1], 8 bits or 16 bits, each of which would be nearly black
    in the next.
    """
    low, high = (samples.min(), samples.max()) if samples.size else (0, 0)
    if not 0 <= low <= high <= 65535:  # nor NaN
        raise ValueError(
            f"samples of mode {mode} must be in [0, 65535], not {low} to {high}; scale them first"
        )
    scale = 65535 if mode == "F" and high <= 1 else 257 if high <= 255 else 1
    return np.round(samples * np.float64(scale)).astype(np.uint16)


def _rgba(image: Image.Image) -> Image.Image:
    """RGBA if the image has transparent parts, else as it is."""
    if image.mode == "La":  # Pillow converts it to LA only
        image = image.convert("LA")
    return image.convert("RGBA") if image.has_transparency_data else image


def like(original: Any, rgb: np.ndarray) -> Any:
    """The coloured pixels as an image of the original's kind."""
    if not isinstance(original, Image.Image):
        return rgb
    image = Image.fromarray(to_bytes(rgb))
    if original.has_transparency_data:
        image.putalpha(_rgba(original).getchannel("A"))
    # A colour of the original that is transparent, and a compression such as that of faxes.
    of_original = ("transparency", "compression")
    image.info = {key: value for key, value in original.info.items() if key not in of_original}
    if original.mode not in _OF_RGB:  # the profile of another colour space
        image.info.pop("icc_profile", None)
    return image


def in_threads(function: Callable[..., Any], *arguments: Sequence[Any]) -> list[Any]:
    """Maps in one thread per core: neither the detector nor XLA uses all cores for one picture."""
    with ThreadPoolExecutor(num_cores()) as pool:
        return list(pool.map(function, *arguments))


def to_rgb8(image: np.ndarray) -> np.ndarray:
    """[H, W, 3] uint8."""
    return np.broadcast_to(to_bytes(image), (*image.shape[:2], 3))
