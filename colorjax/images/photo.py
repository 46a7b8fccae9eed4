"""People's photographs: read with all that belongs to them, and written with all of it.

libvips decodes and encodes (16 bits, profiles, CMYK, palettes); Pillow reads what a file says of
itself, and BMP.
"""

import errno
import io
import logging
import operator
import os
import struct
import tempfile
import warnings
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import pyvips
from PIL import Image, ImageCms, TiffImagePlugin

from colorjax.files import replaced

# Remarks on odd but readable files.
logging.getLogger("pyvips").setLevel(logging.ERROR)

SUFFIXES = {"jpeg": ".jpg", "png": ".png", "webp": ".webp", "tiff": ".tif", "bmp": ".bmp"}
# By the ending of a file's name.
FORMATS = {suffix: format for format, suffix in SUFFIXES.items()}
FORMATS |= {".jpeg": "jpeg", ".tiff": "tiff"}
_PILLOW_FORMATS = {"JPEG": "jpeg", "PNG": "png", "WEBP": "webp", "TIFF": "tiff", "BMP": "bmp"}
_ORIENTATION, _EXIF, _GPS = 0x0112, 0x8769, 0x8825
# What a TIFF's own directory says in words: description, make, model, software, date, artist,
# copyright.
_TEXT_TAGS = (270, 271, 272, 305, 306, 315, 33432)


class Photo(NamedTuple):
    """A photograph as it is seen: upright, in sRGB.

    Attributes:
      rgb: [H, W, 3] uint8 or uint16 sRGB.
      alpha: [H, W] of the same type, or None.
      format: a key of SUFFIXES.
      exif: without an orientation.
      xmp: as in the file, or None.
      profile: the ICC profile of the file, if it is one of RGB; None means sRGB.
      dpi: pixels an inch, across and down, or None.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    format: str = "png"
    exif: Image.Exif = Image.Exif()
    xmp: bytes | None = None
    profile: bytes | None = None
    dpi: tuple[float, float] | None = None


def read_photo(path: Path) -> Photo:
    """Reads a JPEG, PNG, WebP, TIFF or BMP.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is no such image, is damaged or cut short, holds several pictures, or claims
        to have more pixels than Pillow takes for honest (179 million).
    """
    with path.open("rb") as file:
        header = _read_header(file)
        file.seek(0)
        # libvips has no BMP of its own.
        pixels = _decode_bmp(file) if header.format == "bmp" else _decode(file, header.exif)
    try:
        rgb, alpha = _to_srgb(pixels, header.profile)
    except pyvips.Error as error:
        raise ValueError(_reason(error)) from error
    header.exif.pop(_ORIENTATION, None)
    is_rgb = header.profile is not None and _color_space(header.profile) == "RGB"
    return header._replace(rgb=rgb, alpha=alpha, profile=header.profile if is_rgb else None)


def write_photo(path: Path, photo: Photo) -> None:
    """Writes a photograph in its format and in its profile, whole or not at all.

    JPEG, WebP and BMP hold 8 bits, JPEG and BMP no alpha: it is laid on white there.

    Raises:
      OSError: it cannot be written.
    """
    if photo.format in ("jpeg", "webp", "bmp") and photo.rgb.dtype == np.uint16:
        photo = photo._replace(
            rgb=to_bytes(photo.rgb),
            alpha=photo.alpha if photo.alpha is None else to_bytes(photo.alpha),
        )
    with replaced(path) as beside, beside.open("w+b") as file:
        try:
            _encode(file, photo)
        except pyvips.Error as error:
            raise _write_error(str(error)) from error


def _read_header(file: IO[bytes]) -> Photo:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on odd but readable files
        try:
            with Image.open(file, formats=list(_PILLOW_FORMATS)) as image:
                return _header(image, file)
        except Image.UnidentifiedImageError as error:
            raise ValueError(f"is no image ({', '.join(SUFFIXES)})") from error
        except Image.DecompressionBombError as error:
            raise ValueError("claims to have more than 179 million pixels") from error
        except (SyntaxError, EOFError, struct.error) as error:  # Pillow's plugins
            raise ValueError(f"is damaged ({error})") from error


def _header(image: Image.Image, file: IO[bytes]) -> Photo:
    assert image.format is not None
    pictures = getattr(image, "n_frames", 1)
    # A phone's JPEG may have a second picture behind the first.
    if pictures > 1 and image.format != "MPO":
        raise ValueError(f"holds {pictures} pictures; save them one by one")
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _check_length(image, file)
    dpi = image.info.get("dpi")
    return Photo(
        rgb=np.zeros((0, 0, 3), np.uint8),
        format=_PILLOW_FORMATS.get(image.format, "jpeg"),
        exif=_exif(image),
        xmp=image.info.get("xmp"),
        profile=image.info.get("icc_profile") or None,
        dpi=(float(dpi[0]), float(dpi[1])) if dpi and min(dpi) > 0 else None,
    )


def _check_length(image: TiffImagePlugin.TiffImageFile, file: IO[bytes]) -> None:
    """Libtiff takes what is missing at the end of a file for black."""
    tags = image.tag_v2
    for starts, lengths in ((273, 279), (324, 325)):  # of strips, of tiles
        ends = map(operator.add, tags.get(starts, ()), tags.get(lengths, ()))
        if max(ends, default=0) > os.fstat(file.fileno()).st_size:
            raise ValueError("is cut short")


def _exif(image: Image.Image) -> Image.Exif:
    """What says something of the photograph, not of how its pixels lie in a TIFF."""
    kept = Image.Exif()
    if image.format == "PNG" and "exif" not in image.info:
        return kept  # Pillow would decode it all to see whether some comes last
    found = image.getexif()
    for tag, value in found.items():
        if tag in _TEXT_TAGS or (image.format != "TIFF" and tag not in (_EXIF, _GPS)):
            kept[tag] = value
    for tag in (_EXIF, _GPS):
        kept.get_ifd(tag).update(found.get_ifd(tag))
    if found.get(_ORIENTATION, 1) != 1:
        kept[_ORIENTATION] = found[_ORIENTATION]
    return kept


def _decode(file: IO[bytes], exif: Image.Exif) -> pyvips.Image:
    try:
        source = pyvips.Source.new_from_descriptor(file.fileno())
        turned = exif.get(_ORIENTATION, 1) != 1
        image = pyvips.Image.new_from_source(
            source, "", access="random" if turned else "sequential", fail_on="truncated"
        )
        # Decoded here, where the file is open.
        return (image.autorot() if turned else image).copy_memory()
    except pyvips.Error as error:
        raise ValueError(_reason(error)) from error


def _decode_bmp(file: IO[bytes]) -> pyvips.Image:
    try:
        with Image.open(file) as image:
            has_alpha = image.mode in ("RGBA", "LA", "PA")
            return pyvips.Image.new_from_array(
                np.asarray(image.convert("RGBA" if has_alpha else "RGB"))
            )
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"is damaged ({error})") from error


def _to_srgb(image: pyvips.Image, profile: bytes | None) -> tuple[np.ndarray, np.ndarray | None]:
    """[H, W, 3] sRGB and [H, W] alpha or None, of 8 bits, or of 16 if the image has more than 8."""
    deep = image.format not in ("uchar", "char")
    alpha = None
    if image.hasalpha():
        alpha = image[image.bands - 1]
        image = image[: image.bands - 1] if image.bands > 2 else image[0]
    if image.interpretation == "cmyk" or (profile and not _is_srgb(profile)):
        try:
            image = image.icc_transform(
                "srgb", embedded=True, intent="relative", depth=16 if deep else 8
            )
        except pyvips.Error:  # a damaged profile: as if there were none
            image = image.colourspace("rgb16" if deep else "srgb")
    else:
        image = image.colourspace("rgb16" if deep else "srgb")
    if image.bands != 3:
        raise ValueError(f"has {image.bands} channels")
    kind = "ushort" if deep else "uchar"
    rgb = image.cast(kind).numpy()
    return rgb, None if alpha is None else alpha.cast(kind).numpy().reshape(rgb.shape[:2])


def _encode(file: IO[bytes], photo: Photo) -> None:
    rgb = _from_srgb(photo.rgb, photo.profile)
    if photo.format == "bmp":
        dpi = {"dpi": photo.dpi} if photo.dpi else {}
        Image.fromarray(_on_white(rgb, photo.alpha)).save(file, "BMP", **dpi)
        return
    if photo.alpha is None or photo.format == "jpeg":
        image = _vips(_on_white(rgb, photo.alpha))
    else:
        image = _vips(np.dstack([rgb, photo.alpha]))
    for name, value in _blobs(photo).items():
        image.set_type(pyvips.GValue.blob_type, name, value)
    across, down = photo.dpi or (72, 72)  # libvips always writes some
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
        _add_tiff_tags(file, photo.exif)


def _blobs(photo: Photo) -> dict[str, bytes]:
    blobs = {"icc-profile-data": photo.profile, "xmp-data": photo.xmp}
    if photo.exif or photo.exif.get_ifd(_EXIF) or photo.exif.get_ifd(_GPS):
        blobs["exif-data"] = b"Exif\0\0" + photo.exif.tobytes().removeprefix(b"Exif\0\0")
    return {name: value for name, value in blobs.items() if value}


def _add_tiff_tags(file: IO[bytes], exif: Image.Exif) -> None:
    """Adds to a little-endian TIFF (6.0, section 2) what libvips leaves out.

    A new directory with all the old entries goes to the end; the header then points there.
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
    for tag in _TEXT_TAGS:
        text = str(exif.get(tag, "")).encode() + b"\0"
        if len(text) > 4:  # a shorter one would have to stand in the entry itself
            directory[tag] = struct.pack("<HHII", tag, 2, len(text), append(text))
    for tag in (_EXIF, _GPS):
        within = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
        for key, value in exif.get_ifd(tag).items():
            if not isinstance(value, dict):  # one more directory: interoperability
                within[key] = value
        if len(within):
            offset = append(b"")
            append(within.tobytes(offset))
            directory[tag] = struct.pack("<HHII", tag, 4, 1, offset)
    offset = append(
        struct.pack("<H", len(directory))
        + b"".join(directory[tag] for tag in sorted(directory))
        + bytes(4)
    )
    file.seek(4)
    file.write(struct.pack("<I", offset))


def _from_srgb(rgb: np.ndarray, profile: bytes | None) -> np.ndarray:
    """The same colours in another RGB profile."""
    if profile is None or _is_srgb(profile):
        return rgb
    with tempfile.NamedTemporaryFile(suffix=".icc") as file:  # libvips wants a file
        file.write(profile)
        file.flush()
        depth = 16 if rgb.dtype == np.uint16 else 8
        image = _vips(rgb).icc_transform(
            file.name, input_profile="srgb", intent="relative", depth=depth
        )
        return image.numpy()


def _vips(pixels: np.ndarray) -> pyvips.Image:
    height, width, bands = pixels.shape
    deep = pixels.dtype == np.uint16
    image = pyvips.Image.new_from_memory(
        np.ascontiguousarray(pixels).data, width, height, bands, "ushort" if deep else "uchar"
    )
    return image.copy(interpretation="rgb16" if deep else "srgb")


def _on_white(rgb: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    if alpha is None:
        return rgb
    share = alpha[..., None] / np.float32(np.iinfo(alpha.dtype).max)
    white = np.iinfo(rgb.dtype).max
    return np.round(rgb * share + white * (1 - share)).astype(rgb.dtype)


def _write_error(text: str) -> OSError:
    """What libvips says of it in words."""
    for number in (errno.ENOSPC, errno.EDQUOT):
        if os.strerror(number) in text:
            return OSError(number, os.strerror(number))
    return OSError(f"cannot be written ({' '.join(text.split())})")


def to_bytes(x: np.ndarray) -> np.ndarray:
    """uint16 as the nearest uint8; uint8 as it is."""
    if x.dtype == np.uint8:
        return x
    return ((x.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _is_srgb(profile: bytes) -> bool:
    return "srgb" in _profile_text(profile, "profile_description").lower()


def _color_space(profile: bytes) -> str:
    return _profile_text(profile, "xcolor_space").strip()


def _profile_text(profile: bytes, attribute: str) -> str:
    try:
        text: Any = getattr(ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile, attribute)
    except OSError:  # damaged
        return ""
    return text or ""


def _reason(error: pyvips.Error) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "is damaged or cut short" + (f" ({lines[1]})" if len(lines) > 1 else "")
