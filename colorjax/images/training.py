"""What people's image files hold, as upright 8-bit sRGB: any depth, palette, alpha, profile."""

import functools
import io
import warnings
import zipfile
import zlib
from typing import NamedTuple

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
MAX_PIXELS = 100_000_000

# What damaged files and zip members make zipfile and the decoders raise.
READ_ERRORS = (
    OSError,
    EOFError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    ValueError,
    cv2.error,
    zipfile.BadZipFile,
    zlib.error,
    Image.DecompressionBombError,
)
JPEG_QUALITY = 95


class Decoded(NamedTuple):
    """An image as people see it.

    Attributes:
      rgb: [H, W, 3] uint8, sRGB, upright.
      plain: whether `cv2.imdecode` gives the same from the file itself: an upright 8-bit JPEG or
        PNG without a profile, or a JPEG that EXIF turns.
      lossy: whether the file is a JPEG.
    """

    rgb: np.ndarray
    plain: bool
    lossy: bool


def decode_image(data: bytes) -> Decoded:
    """Decodes a whole file of one of FORMATS; transparent parts are seen on white.

    Raises:
      One of READ_ERRORS: the file is damaged or cut short, of another format, has more than
      MAX_PIXELS, or samples that are no integers of 1 to 16 bits.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL's remarks on odd but readable files
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width} × {image.height} pixels are too many")
            profile = _profile(image.info.get("icc_profile"))
            kind = image.format or ""
            # OpenCV fills up a truncated file with grey; PIL refuses it.
            image.load()
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
            plain = (
                profile is None
                and "transparency" not in image.info
                and image.mode in ("L", "RGB")
                and (kind in ("JPEG", "MPO") or (kind == "PNG" and not turned))
            )
            if plain:
                bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
                if bgr is None:
                    raise ValueError("OpenCV cannot decode it")
                return Decoded(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), True, kind != "PNG")
            rgb = np.array(_srgb(ImageOps.exif_transpose(image), profile))
            return Decoded(rgb, False, kind in ("JPEG", "MPO"))


def as_stored(data: bytes) -> bytes:
    """The file itself if it is plain (see `Decoded`); else a JPEG or PNG that is.

    Raises:
      One of READ_ERRORS: see `decode_image`.
    """
    decoded = decode_image(data)
    if decoded.plain:
        return data
    bgr = cv2.cvtColor(decoded.rgb, cv2.COLOR_RGB2BGR)
    if decoded.lossy:
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        return cv2.imencode(".jpg", bgr, options)[1].tobytes()
    return cv2.imencode(".png", bgr)[1].tobytes()


def colourful_share(rgb: np.ndarray, chroma: float) -> float:
    """The share of the pixels of [H, W, 3] uint8 sRGB whose chroma in Lab exceeds `chroma`."""
    height, width = rgb.shape[:2]
    scale = min(1.0, 128 / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    # Averaging also takes the colour noise out of a grey photograph.
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    ab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)[..., 1:]
    return float(np.mean(np.hypot(ab[..., 0], ab[..., 1]) > chroma))


def _profile(data: bytes | None) -> bytes | None:
    """An embedded ICC profile, unless it is broken or sRGB itself."""
    return None if not data or _is_srgb_or_broken(data) else data


@functools.lru_cache(maxsize=64)
def _is_srgb_or_broken(data: bytes) -> bool:
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        return "srgb" in ImageCms.getProfileDescription(profile).lower()
    except (OSError, ImageCms.PyCMSError):
        return True


def _srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Converts any mode to RGB: 16 to 8 bits, palettes, profiles, then alpha on white."""
    if image.mode.startswith("I;16") or image.mode == "I":
        levels = np.asarray(image).astype(np.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise ValueError("its samples have more than 16 bits")
        image = Image.fromarray(((levels + 128) // 257).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("its samples are floats")
    alpha = None
    if "transparency" in image.info or image.mode in ("LA", "PA", "La", "RGBa"):
        image = image.convert("RGBA")
    if image.mode == "RGBA":
        alpha = image.getchannel("A")
        image = image.convert("RGB")
    elif image.mode in ("P", "1"):
        image = image.convert("RGB")
    if profile is not None:
        image = _through(image, profile)
    image = image.convert("RGB")
    if alpha is not None:
        image = Image.composite(image, Image.new("RGB", image.size, "white"), alpha)
    return image


def _through(image: Image.Image, profile: bytes) -> Image.Image:
    """Converts from a profile to sRGB; a profile of another colour space is ignored."""
    try:
        converted = ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except ImageCms.PyCMSError:
        return image
    assert converted is not None  # it was not asked to work in place
    return converted
