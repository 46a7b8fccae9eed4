"""ICC colour profiles: from a photograph's colours to sRGB, and back."""

import functools
import io
import os
import tempfile

import numpy as np
import pyvips
from PIL import Image, ImageCms

# Levels of 255 by which colours may differ in a profile that counts as sRGB, and in greys that
# are converted to a profile and back.
SAME, RETURNED = 2, 8
_ONE_WAY = "its colour profile cannot be written; saved in sRGB"


def to_srgb(image: pyvips.Image, profile: bytes | None) -> pyvips.Image:
    """Converts an image of 8 or 16 bits, grey, RGB or CMYK, to sRGB; a corrupt profile is ignored.

    Args:
      image: without alpha.
      profile: of the image; None means sRGB, or for CMYK libvips' own.
    """
    deep = image.format == "ushort"
    if image.interpretation == "cmyk" or (profile and not is_srgb(profile)):
        image = image.copy()
        if profile:
            image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
        options = {"embedded": True, "intent": "relative", "depth": 16 if deep else 8}
        try:
            return image.icc_transform("srgb", **options)
        except pyvips.Error:
            pass
    return image.colourspace("rgb16" if deep else "srgb").cast("ushort" if deep else "uchar")


def from_srgb(rgb: np.ndarray, profile: bytes | None) -> np.ndarray:
    """Converts [H, W, 3] sRGB, uint8 or uint16, to an RGB profile that `to_write` accepts."""
    if profile is None or is_srgb(profile):
        return rgb
    # libvips reads an output profile from a file, which Windows does not open twice.
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "profile.icc")
        with open(path, "wb") as file:
            file.write(profile)
        depth = 16 if rgb.dtype == np.uint16 else 8
        options = {"input_profile": "srgb", "intent": "relative", "depth": depth}
        return as_vips(rgb).icc_transform(path, **options).numpy()


def as_vips(pixels: np.ndarray) -> pyvips.Image:
    """[H, W, C] uint8 or uint16 as an sRGB image of libvips."""
    height, width, bands = pixels.shape
    deep = pixels.dtype == np.uint16
    image = pyvips.Image.new_from_memory(
        np.ascontiguousarray(pixels).data, width, height, bands, "ushort" if deep else "uchar"
    )
    return image.copy(interpretation="rgb16" if deep else "srgb")


@functools.lru_cache(maxsize=8)
def is_srgb(profile: bytes) -> bool:
    """Whether an ICC profile has the colours of sRGB, whatever its name."""
    levels = np.linspace(0, 255, 6).astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(6, 36, 3)
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(given, ImageCms.createProfile("sRGB"), "RGB", "RGB")
        found = np.asarray(ImageCms.applyTransform(Image.fromarray(colours), transform))
    except (OSError, TypeError, ValueError, ImageCms.PyCMSError):  # corrupt, or of other colours
        return False
    return bool(abs(found.astype(int) - colours).max() <= SAME)


@functools.lru_cache(maxsize=8)
def to_write(profile: bytes | None) -> tuple[bytes | None, tuple[str, ...]]:
    """The profile that a photograph is written in, None for sRGB; and a note if it is another."""
    if profile is None:
        return None, ()
    try:
        space = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space.strip()
    except (OSError, AttributeError):
        return None, (_ONE_WAY,)
    if space != "RGB":
        return None, ()  # grey and CMYK become RGB
    greys = np.repeat(np.linspace(0, 255, 16).astype(np.uint8), 3).reshape(1, 16, 3)
    try:
        back = to_srgb(as_vips(from_srgb(greys, profile)), profile).numpy()
        image = as_vips(greys)
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
        image.pngsave_buffer()  # libpng checks it too
    except pyvips.Error:
        return None, (_ONE_WAY,)
    returned = abs(back.astype(int) - greys).max() <= RETURNED
    return (profile, ()) if returned else (None, (_ONE_WAY,))
