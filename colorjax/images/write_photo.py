"""Writes photographs with all that belongs to them: depth, alpha, profile, EXIF, XMP, dpi."""

import errno
import io
import os
import struct
import tempfile
from pathlib import Path
from typing import IO

import numpy as np
import pyvips
from PIL import Image, TiffImagePlugin

from colorjax.files import replaced
from colorjax.images.photo import EXIF, GPS, TEXT_TAGS, Photo, is_srgb, on_white, to_bytes


def write_photo(path: Path, photo: Photo) -> None:
    """Writes a photograph in its format and profile; `path` appears once it is complete.

    JPEG, WebP and BMP store 8 bits. JPEG and BMP store no alpha: the photograph is composited on
    white.

    Raises:
      OSError: it cannot be written.
    """
    with replaced(path) as temporary, temporary.open("w+b") as file:
        try:
            _encode(file, photo)
        except pyvips.Error as error:
            raise _os_error(str(error)) from error


def _encode(file: IO[bytes], photo: Photo) -> None:
    rgb, alpha = photo.rgb, photo.alpha
    if photo.format in ("jpeg", "webp", "bmp"):
        rgb, alpha = to_bytes(rgb), None if alpha is None else to_bytes(alpha)
    rgb = _from_srgb(rgb, photo.profile)
    if photo.format in ("jpeg", "bmp"):
        rgb, alpha = on_white(rgb, alpha), None
    if photo.format == "bmp":
        Image.fromarray(rgb).save(file, "BMP", **({"dpi": photo.dpi} if photo.dpi else {}))
        return
    image = _vips(rgb if alpha is None else np.dstack([rgb, alpha]))
    exif = Image.Exif() if photo.exif is None else photo.exif
    blobs = {"icc-profile-data": photo.profile, "xmp-data": photo.xmp}
    if exif or exif.get_ifd(EXIF) or exif.get_ifd(GPS):
        blobs["exif-data"] = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
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
    elif photo.format == "png":
        image.pngsave_target(target)
    else:
        image.tiffsave_target(target, compression="deflate", predictor="horizontal")
        _add_tiff_tags(file, exif)


def _add_tiff_tags(file: IO[bytes], exif: Image.Exif) -> None:
    """Adds to a little-endian TIFF (6.0, section 2) the tags that libvips omits.

    A new directory with all the old entries is appended, and the header made to point to it.
    """

    def append(data: bytes) -> int:
        offset = file.seek(0, io.SEEK_END)
        padding = offset % 2
        file.write(b"\0" * padding + data)
        return offset + padding

    file.seek(4)
    file.seek(struct.unpack("<I", file.read(4))[0])
    (count,) = struct.unpack("<H", file.read(2))
    entries = [file.read(12) for _ in range(count)]
    directory = {struct.unpack("<H", entry[:2])[0]: entry for entry in entries}
    for tag in TEXT_TAGS:
        text = str(exif.get(tag, "")).encode() + b"\0"
        if len(text) > 4:  # a shorter one would have to be stored in the entry itself
            directory[tag] = struct.pack("<HHII", tag, 2, len(text), append(text))
    for tag in (EXIF, GPS):
        within = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
        for key, value in exif.get_ifd(tag).items():
            if not isinstance(value, dict):  # a directory of its own: interoperability
                within[key] = value
        if len(within):
            offset = append(b"")
            append(within.tobytes(offset))
            directory[tag] = struct.pack("<HHII", tag, 4, 1, offset)
    entries = [directory[tag] for tag in sorted(directory)]
    offset = append(struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4))
    file.seek(4)
    file.write(struct.pack("<I", offset))


def _from_srgb(rgb: np.ndarray, profile: bytes | None) -> np.ndarray:
    """Converts sRGB to another RGB profile."""
    if profile is None or is_srgb(profile):
        return rgb
    with tempfile.NamedTemporaryFile(suffix=".icc") as file:  # libvips reads it from a file
        file.write(profile)
        file.flush()
        depth = 16 if rgb.dtype == np.uint16 else 8
        options = {"input_profile": "srgb", "intent": "relative", "depth": depth}
        return _vips(rgb).icc_transform(file.name, **options).numpy()


def _vips(pixels: np.ndarray) -> pyvips.Image:
    height, width, bands = pixels.shape
    deep = pixels.dtype == np.uint16
    image = pyvips.Image.new_from_memory(
        np.ascontiguousarray(pixels).data, width, height, bands, "ushort" if deep else "uchar"
    )
    return image.copy(interpretation="rgb16" if deep else "srgb")


def _os_error(text: str) -> OSError:
    """Libvips reports the cause of a failed write only in words."""
    for number in (errno.ENOSPC, errno.EDQUOT):
        if os.strerror(number) in text:
            return OSError(number, os.strerror(number))
    return OSError(f"cannot be written ({' '.join(text.split())})")
