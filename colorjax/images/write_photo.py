"""Writes photographs with all that belongs to them: depth, alpha, profile, EXIF, XMP, texts.

libvips encodes the pixels and the profile. The rest is inserted here as raw bytes.
"""

import contextlib
import errno
import io
import os
import shutil
import struct
import tempfile
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyvips

from colorjax.files import replaced
from colorjax.images import exif, photoshop
from colorjax.images.kinds import Photo, Text
from colorjax.images.metadata import (
    EXIF_MARK,
    PHOTOSHOP_MARK,
    RAW_PROFILE,
    XMP_KEYWORD,
    XMP_MARK,
)
from colorjax.images.profiles import exported
from colorjax.images.reasons import details
from colorjax.images.webp import riff_chunks

_SEGMENT = 65533  # bytes in a segment of a JPEG
_XMP_ROOM = len(XMP_MARK) + 1000  # bytes that `xmp.marked` may add
# Flags of WebP's extended header.
_WEBP_PROFILE, _WEBP_ALPHA, _WEBP_EXIF, _WEBP_XMP = 0x20, 0x10, 0x08, 0x04


def write_photo(path: Path, photo: Photo) -> None:
    """Writes a photograph in its format and profile; `path` appears once it is complete.

    JPEG, WebP and BMP store 8 bits. JPEG and BMP store no alpha: the photograph is composited on
    white. Only TIFF stores `photo.pages`. What a format cannot store is left out, see `not_kept`;
    WebP stores no resolution.

    Raises:
      OSError: it cannot be written.
    """
    with replaced(path) as temporary:
        try:
            if photo.format == "tiff":
                from colorjax.images.write_tiff import write_tiff  # it needs tifffile: slow

                write_tiff(temporary, [photo._replace(pages=()), *photo.pages])
                return
            # Colours are in the profile that the file has.
            image = _image(photo._replace(profile=None) if photo.format == "bmp" else photo)
            with temporary.open("w+b") as file:
                if photo.format == "bmp":
                    _write_bmp(file, image, photo.dpi)
                    return
                with tempfile.TemporaryFile(dir=temporary.parent) as encoded:
                    _encode(encoded, image, photo.format)
                    encoded.seek(0)
                    _INSERTING[photo.format](encoded, file, photo)
        except pyvips.Error as error:
            raise _os_error(error) from error


def not_kept(photo: Photo, format: str) -> tuple[str, ...]:
    """What belongs to a photograph and cannot be written in a format, a short clause each."""
    sizes = {
        "EXIF": len(EXIF_MARK + (photo.exif or b"")) if photo.exif else 0,
        "XMP": len(photo.xmp) + _XMP_ROOM if photo.xmp else 0,
        "IPTC": len(photo.iptc or b""),
        "Photoshop's data": len(photo.resources or b""),
        "texts": max((len(_comment(text)) for text in photo.texts), default=0),
    }
    if format == "jpeg":
        lost = [name for name in ("EXIF", "XMP", "texts") if sizes[name] > _SEGMENT]
        reason = "too long for a JPEG"
    else:
        names: dict[str, tuple[str, ...]] = {"tiff": ("texts",), "bmp": tuple(sizes)}
        names["webp"] = ("IPTC", "Photoshop's data", "texts")
        lost = [name for name in names.get(format, ()) if sizes[name]]
        reason = f"not in a {'WebP' if format == 'webp' else format.upper()}"
    notes = [f"not kept: {', '.join(lost)} ({reason})"] if lost else []
    if format == "tiff" and photo.exif:
        skipped: list[int] = []
        with contextlib.suppress(ValueError):
            exif.parse(photo.exif, exif.DESCRIBING, skipped)
        notes.extend(exif.not_kept(skipped))
    return tuple(notes)


def _image(photo: Photo) -> pyvips.Image:
    """The picture as it is encoded."""
    pixels = _joined(photo.rgb, photo.alpha)
    height, width, bands = pixels.shape
    deep = pixels.dtype == np.uint16
    image = pyvips.Image.new_from_memory(
        pixels.data, width, height, bands, "ushort" if deep else "uchar"
    )
    kinds = ("grey16", "b-w") if bands == 1 else ("rgb16", "srgb")
    image = image.copy(interpretation=kinds[0 if deep else 1])
    alpha = image[3] if bands == 4 else None
    image = exported(image[:3] if bands == 4 else image, photo.profile)
    image = image if alpha is None else image.bandjoin(alpha)
    if photo.format != "png" and deep:
        image = image.linear(1 / 257, 0).rint().cast("uchar").copy(interpretation="srgb")
    if photo.format in ("jpeg", "bmp") and alpha is not None:
        image = image.flatten(background=255)
    if photo.profile:
        image = image.copy()
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", photo.profile)
    else:
        image.remove("icc-profile-data")
    return image


def _joined(rgb: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """[H, W, 3 or 4], contiguous; without a copy where `rgb` and `alpha` lie in one such array."""
    if alpha is None:
        return np.ascontiguousarray(rgb)
    height, width = alpha.shape
    size = rgb.itemsize
    strides = (4 * size * width, 4 * size, size)
    address = rgb.__array_interface__["data"][0] + 3 * size
    shared = alpha.__array_interface__["data"][0] == address and alpha.strides == strides[:2]
    if rgb.strides == strides and shared:
        return np.lib.stride_tricks.as_strided(rgb, (height, width, 4), strides)
    return np.dstack([rgb, alpha])


def _encode(file: BinaryIO, image: pyvips.Image, format: str) -> None:
    target = pyvips.Target.new_to_descriptor(file.fileno())
    if format == "jpeg":
        image.jpegsave_target(target, Q=95, subsample_mode="off", keep="icc")
    elif format == "webp":
        image.webpsave_target(target, Q=95, smart_subsample=True, keep="icc")
    else:
        image.pngsave_target(target, keep="none")


def _insert_jpeg(encoded: BinaryIO, file: BinaryIO, photo: Photo) -> None:
    """Inserts segments at the beginning, instead of libvips' JFIF if it wrote one."""
    kind, length = struct.unpack(">2xHH", encoded.read(6))
    encoded.seek(4 + length if kind == 0xFFE0 else 2)
    across, down = (min(round(value), 65535) for value in photo.dpi or (0, 0))
    density = (1, across, down) if across and down else (0, 1, 1)
    jfif = struct.pack(">5sHBHHBB", b"JFIF\0", 0x0101, *density, 0, 0)
    segments = [(0xE0, jfif)]
    if photo.exif:
        segments.append((0xE1, EXIF_MARK + photo.exif))
    if photo.xmp:
        segments.append((0xE1, XMP_MARK + photo.xmp))
    resources = photoshop.joined(photo.iptc, photo.resources)
    for at in range(0, len(resources), 65000):
        segments.append((0xED, PHOTOSHOP_MARK + resources[at : at + 65000]))
    segments += [(0xFE, _comment(text)) for text in photo.texts]
    file.write(b"\xff\xd8")
    for kind, data in segments:
        if len(data) <= _SEGMENT:
            file.write(struct.pack(">BBH", 0xFF, kind, len(data) + 2) + data)
    shutil.copyfileobj(encoded, file, 1 << 20)


def _comment(text: Text) -> bytes:
    whole = f"{text.keyword}: {text.text}" if text.keyword else text.text
    return whole.encode("utf-8", "surrogateescape")


def _insert_png(encoded: BinaryIO, file: BinaryIO, photo: Photo) -> None:
    """Inserts chunks behind the header, and leaves out the resolution that libvips makes up."""
    file.write(encoded.read(8 + 25))
    chunks = []
    if photo.profile:  # libpng refuses those with small faults
        chunks.append((b"iCCP", b"icc\0\0" + zlib.compress(photo.profile)))
    if photo.dpi:
        across, down = (round(value / 0.0254) for value in photo.dpi)
        if across and down:
            chunks.append((b"pHYs", struct.pack(">IIB", across, down, 1)))
    if photo.exif:
        chunks.append((b"eXIf", photo.exif))
    if photo.xmp:
        chunks.append((b"iTXt", XMP_KEYWORD.encode() + b"\0\0\0\0\0" + photo.xmp))
    if resources := photoshop.joined(photo.iptc, photo.resources):
        name = "iptc" if photo.iptc else "8bim"
        digits = resources.hex()
        lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
        text = f"{RAW_PROFILE}{name}\0\n{name}\n{len(resources):8d}\n{lines}\n"
        chunks.append((b"tEXt", text.encode()))
    chunks += [text.chunk or _png_text(text) for text in photo.texts]
    for kind, data in chunks:
        file.write(struct.pack(">I", len(data)) + kind + data)
        file.write(struct.pack(">I", zlib.crc32(kind + data)))
    while len(head := encoded.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IDAT":
            file.write(head)
            break
        data = encoded.read(length + 4)
        if kind != b"pHYs":
            file.write(head + data)
    shutil.copyfileobj(encoded, file, 1 << 20)


def _png_text(text: Text) -> tuple[bytes, bytes]:
    name = (text.keyword or "Comment").encode("latin-1", "replace")[:79] + b"\0"
    data = text.text.encode("utf-8", "surrogateescape")
    try:
        utf8 = bool(data.decode()) and not data.isascii()
    except UnicodeDecodeError:  # Latin-1, most probably
        utf8 = False
    return (b"iTXt", name + b"\0\0\0\0" + data) if utf8 else (b"tEXt", name + data)


def _insert_webp(encoded: BinaryIO, file: BinaryIO, photo: Photo) -> None:
    size = encoded.seek(0, io.SEEK_END)
    chunks = []
    for kind, data in riff_chunks(encoded):
        if kind != b"VP8X":
            chunks.append((kind, data))
    kinds = {kind for kind, _ in chunks}
    flags = _WEBP_PROFILE * (b"ICCP" in kinds) + _WEBP_ALPHA * (photo.alpha is not None)
    for kind, flag, value in (
        (b"EXIF", _WEBP_EXIF, photo.exif),
        (b"XMP ", _WEBP_XMP, photo.xmp),
    ):
        if value:
            chunks.append((kind, value))
            flags += flag
    if not flags:
        encoded.seek(0)
        shutil.copyfileobj(encoded, file, size)
        return
    height, width = photo.rgb.shape[:2]
    extent = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBP"
    for kind, data in [(b"VP8X", struct.pack("<I", flags) + extent), *chunks]:
        body += kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
    file.write(b"RIFF" + struct.pack("<I", len(body)) + body)


_INSERTING = {"jpeg": _insert_jpeg, "png": _insert_png, "webp": _insert_webp}


def _write_bmp(file: BinaryIO, image: pyvips.Image, dpi: tuple[float, float] | None) -> None:
    """Writes 24 bits a pixel, rows from the lowest to the uppermost, each padded to 4 bytes."""
    stride = (3 * image.width + 3) // 4 * 4
    size = stride * image.height
    if size + 54 >= 1 << 32:
        raise OSError(errno.EFBIG, "too large for a BMP (4 GB); choose another --format")
    across, down = (round(value / 0.0254) for value in dpi or (0, 0))
    file.write(struct.pack("<2sIII", b"BM", 54 + size, 0, 54))
    file.write(struct.pack("<IiiHHII", 40, image.width, image.height, 1, 24, 0, size))
    file.write(struct.pack("<iiII", across, down, 0, 0))
    file.flush()
    bgr = image[2].bandjoin([image[1], image[0]]).flipver().copy(interpretation="multiband")
    rows = bgr.bandunfold().embed(0, 0, stride, image.height)
    rows.rawsave_target(pyvips.Target.new_to_descriptor(file.fileno()))


def _os_error(error: pyvips.Error) -> OSError:
    """Libvips reports the cause of a failed write only in words."""
    text, words = str(error), details(error)
    for number in (errno.ENOSPC, errno.EDQUOT):
        if os.strerror(number) in text:
            return OSError(number, os.strerror(number))
    return OSError(f"cannot be written ({words})")
