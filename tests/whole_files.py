"""Photographs with metadata of all kinds, in the formats that are read; for fuzz.py."""

import io
import random
import struct

import numpy as np
import tifffile
from PIL import Image, PngImagePlugin

HEIGHT, WIDTH = 40, 48


def picture(rng: random.Random) -> np.ndarray:
    """[HEIGHT, WIDTH, 3] uint8 with levels from 60 to 230."""
    noise = np.random.default_rng(rng.getrandbits(32)).normal(0, 8, (HEIGHT, WIDTH, 3))
    ramp = np.linspace(90, 200, WIDTH)[None, :, None]
    return np.clip(ramp + noise, 60, 230).astype(np.uint8)


def exif_block(rng: random.Random) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = rng.choice([1, 1, 3, 6, 8])
    exif[0x010F], exif[0x0110] = "LG", "Telefon"
    exif[0x011A] = exif[0x011B] = 300.0
    exif[0x9C9B] = "Titel\0".encode("utf-16-le")
    exif.get_ifd(0x8769).update(
        {0x829A: 0.01, 0x8827: 100, 0x9003: "1950:01:01 00:00:00", 0x9204: -0.5, 0x927C: b"maker"}
    )
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 8.0, 14.0), 29: "1950:01:01"})
    return exif.tobytes()


def _texts() -> dict[str, bytes]:
    xmp = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    caption = "Großmutter".encode()
    iptc = b"\x1c\2\x78" + struct.pack(">H", len(caption)) + caption
    resource = b"8BIM\4\4\0\0" + struct.pack(">I", len(iptc)) + iptc + b"\0" * (len(iptc) % 2)
    return {"xmp": xmp.encode(), "iptc": iptc, "app13": b"Photoshop 3.0\0" + resource}


def jpg(rng: random.Random, exif: bytes, profile: bytes | None) -> bytes:
    image = Image.fromarray(picture(rng)).convert(rng.choice(["RGB", "RGB", "L", "CMYK"]))
    options = {"progressive": rng.random() < 0.3, "quality": rng.choice([60, 90])}
    if image.mode == "RGB":
        options["subsampling"] = rng.choice([0, 2])
        options["icc_profile"] = profile
    if rng.random() < 0.3:
        options["restart_marker_rows"] = 1
    data = _encoded(image, "jpeg", exif=exif, comment="Oma, 1950", xmp=_texts()["xmp"], **options)
    app13 = _texts()["app13"]
    return data[:2] + b"\xff\xed" + struct.pack(">H", len(app13) + 2) + app13 + data[2:]


def png(rng: random.Random, exif: bytes, profile: bytes | None) -> bytes:
    mode = rng.choice(["RGB", "RGB", "RGBA", "L", "P", "I;16"])
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "Oma")
    info.add_itxt("XML:com.adobe.xmp", _texts()["xmp"].decode(), zip=rng.random() < 0.5)
    if mode == "I;16":
        image = Image.fromarray(picture(rng)[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(picture(rng)).convert(mode)
    profile = profile if mode in ("RGB", "RGBA") else None
    return _encoded(image, "png", exif=exif, pnginfo=info, dpi=(300, 300), icc_profile=profile)


def webp(rng: random.Random, exif: bytes, profile: bytes | None) -> bytes:
    image = Image.fromarray(picture(rng)).convert(rng.choice(["RGB", "RGBA"]))
    lossless, xmp = rng.random() < 0.5, _texts()["xmp"]
    return _encoded(image, "webp", exif=exif, xmp=xmp, icc_profile=profile, lossless=lossless)


def tif(rng: random.Random, exif: bytes, profile: bytes | None) -> bytes:
    if rng.random() < 0.3:
        mode = rng.choice(["RGB", "L", "RGBA"])
        # Pillow writes directories of EXIF only if nothing is compressed.
        compression = rng.choice(["raw", "tiff_lzw"])
        options = {"exif": exif_block(rng)} if compression == "raw" else {}
        image = Image.fromarray(picture(rng)).convert(mode)
        return _encoded(image, "tiff", compression=compression, dpi=(300, 300), **options)
    dtype = rng.choice([np.uint8, np.uint8, np.uint16, np.float32])
    rgb = picture(rng)
    rgb = (
        rgb / np.float32(255)
        if dtype == np.float32
        else rgb.astype(dtype) * (257 if dtype == np.uint16 else 1)
    )
    compression = rng.choice([None, "lzw", "deflate", "packbits", "zstd", "lzma", "jpeg"])
    if compression == "jpeg" and dtype != np.uint8:
        compression = None
    file = io.BytesIO()
    tags = [(315, "s", 0, "Großmutter".encode(), True), (33723, "B", 0, _texts()["iptc"], True)]
    tags += [(34675, "B", 0, profile, True)] if profile else []
    tags += [(700, "B", 0, _texts()["xmp"], True), (274, "H", 1, rng.choice([1, 3, 6]), True)]
    tifffile.imwrite(
        file,
        rgb,
        photometric="rgb",
        compression=compression,
        byteorder=rng.choice("<>"),
        bigtiff=rng.random() < 0.1,
        tile=(16, 16) if rng.random() < 0.3 else None,
        rowsperstrip=16,
        predictor=compression in ("lzw", "deflate") and dtype != np.float32 and rng.random() < 0.5,
        extratags=tags,
        metadata=None,
        resolution=(300, 300),
    )
    return file.getvalue()


def bmp(rng: random.Random, exif: bytes, profile: bytes | None) -> bytes:
    del exif, profile
    return _encoded(Image.fromarray(picture(rng)).convert(rng.choice(["RGB", "L", "P"])), "bmp")


def _encoded(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **{key: value for key, value in options.items() if value is not None})
    return file.getvalue()
