"""Writes photographs with all that belongs to them: depth, alpha, profile, EXIF, XMP, dpi."""

import errno
import os
from pathlib import Path
from typing import IO

import numpy as np
import pyvips
from PIL import Image

from colorjax.files import replaced
from colorjax.images.photo import Photo, on_white, to_bytes
from colorjax.images.profiles import as_vips, from_srgb
from colorjax.images.write_tiff import write_tiff


def write_photo(path: Path, photo: Photo) -> None:
    """Writes a photograph in its format and profile; `path` appears once it is complete.

    Further pages are written to TIFFs only. JPEG, WebP and BMP store 8 bits. JPEG and BMP store no
    alpha: the photograph is composited on white.

    Raises:
      OSError: it cannot be written.
    """
    with replaced(path) as temporary:
        try:
            if photo.format == "tiff":
                write_tiff(temporary, [photo, *photo.pages])
            else:
                with temporary.open("w+b") as file:
                    _encode(file, photo)
        except pyvips.Error as error:
            raise _os_error(str(error)) from error


def _encode(file: IO[bytes], photo: Photo) -> None:
    rgb, alpha = photo.rgb, photo.alpha
    if photo.format in ("jpeg", "webp", "bmp"):
        rgb, alpha = to_bytes(rgb), None if alpha is None else to_bytes(alpha)
    rgb = from_srgb(rgb, photo.profile)
    if photo.format in ("jpeg", "bmp"):
        rgb, alpha = on_white(rgb, alpha), None
    if photo.format == "bmp":
        Image.fromarray(rgb).save(file, "BMP", **({"dpi": photo.dpi} if photo.dpi else {}))
        return
    image = as_vips(rgb if alpha is None else np.dstack([rgb, alpha]))
    blobs = {
        "icc-profile-data": photo.profile,
        "exif-data": b"Exif\0\0" + photo.exif if photo.exif else None,
        "xmp-data": photo.xmp,
        "iptc-data": photo.iptc,
    }
    for name, value in blobs.items():
        if value:
            image.set_type(pyvips.GValue.blob_type, name, value)
    across, down = photo.dpi or (72, 72)  # libvips always writes a resolution
    image = image.copy(xres=across / 25.4, yres=down / 25.4)
    target = pyvips.Target.new_to_descriptor(file.fileno())
    if photo.format == "jpeg":
        image.jpegsave_target(target, Q=95, subsample_mode="off")
    elif photo.format == "webp":
        image.webpsave_target(target, Q=95, smart_subsample=True)
    else:
        image.pngsave_target(target)


def _os_error(text: str) -> OSError:
    """Libvips reports the cause of a failed write only in words."""
    for number in (errno.ENOSPC, errno.EDQUOT):
        if os.strerror(number) in text:
            return OSError(number, os.strerror(number))
    return OSError(f"cannot be written ({' '.join(text.split())})")
