"""Photographs to upload, and what comes back."""

import io

import cv2
import numpy as np
import tifffile
from image_files import encoded
from PIL import Image
from skimage import color, data

BLUE = "#2040ff"


def grey(width=48, height=40):
    """[height, width] uint8: upside down, so that no face is found."""
    photo = cv2.resize(data.astronaut()[300::-1, 100:350], (width, height))
    return cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)


def png(*size):
    return encoded(Image.fromarray(grey(*size)))


def turned_jpeg():
    """Lies on its side, and has EXIF, a profile and a comment."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    return encoded(Image.fromarray(grey()), "JPEG", exif=exif, comment=b"hello", dpi=(300, 300))


def deep_tiff():
    """Two pages of 16 bits."""
    file = io.BytesIO()
    pages = np.stack([grey(), grey()[::-1]]).astype(np.uint16) * 257
    tifffile.imwrite(file, pages, photometric="minisblack", compression="deflate")
    return file.getvalue()


def transparent_webp():
    image = Image.fromarray(grey()).convert("RGBA")
    image.putalpha(Image.fromarray(grey()))
    return encoded(image, "WEBP", lossless=True)


PHOTOS = {
    "a.jpg": turned_jpeg,
    "b.TIF": deep_tiff,
    "c.webp": transparent_webp,
    "d.png": lambda: encoded(Image.fromarray(grey().astype(np.uint16) * 257)),
    "a PNG.jpeg": png,
    "no ending": png,
}


def lab_of(jpeg):
    with Image.open(io.BytesIO(jpeg)) as image:
        return color.rgb2lab(np.asarray(image.convert("RGB")) / 255)
