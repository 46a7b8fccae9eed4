"""An album of grey pictures, a constant model, and how results of these are looked at."""

import cv2
import jax.numpy as jnp
import numpy as np
from PIL import Image
from skimage import color, data

from colorjax.colorize.colorizer import Colorizer

ALBUM = ["1950/a.JPG", "1950/c.tif", "1950/summer/d.webp", "a.jpg", "b.png"]


def make_album(folder):
    """Five grey pictures of four formats in nested folders."""
    grey = cv2.resize(data.astronaut()[..., 1], (48, 40), interpolation=cv2.INTER_AREA)
    for name in ALBUM:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grey).save(folder / name)
    (folder / "notes.txt").write_text("not an image")
    return folder


def reddish(variables, l):
    return jnp.concatenate([20 + 0 * l, 10 + 0 * l], axis=-1)


def reddish_colorizer():
    return Colorizer(reddish, {}, image_size=32)


def is_reddish(path):
    """Also of a file object."""
    with Image.open(path) as image:
        lab = color.rgb2lab(np.asarray(image.convert("RGB")))
    return abs(lab[..., 1].mean() - 20) < 4


def names(folder):
    """All files but hidden ones: the record of what was written."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(folder)) for path in files if path.name[0] != ".")
