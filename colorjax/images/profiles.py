"""ICC profiles: which are sRGB or of use, and conversions from and to sRGB."""

import functools
import struct

import numpy as np
import pyvips

# Two levels of 255: what tables and curves of sRGB profiles differ by.
_SAME = 2 * 257
# Colours in the middle of the grey axis come back from a profile at least this well.
_NEAR = 16 * 257
# Paper may be darker than white.
_WHITE = 200 * 257
_INTENT = "relative"
_CHANNELS = {b"GRAY": 1, b"RGB ": 3, b"CMYK": 4}
_INTERPRETATIONS = {1: "grey16", 3: "rgb16", 4: "cmyk"}


def to_srgb(image: pyvips.Image, profile: bytes | None) -> pyvips.Image:
    """The colour channels of an image (uchar or ushort, its interpretation set) in sRGB.

    A profile that cannot be used counts as none. CMYK without a profile is converted by that of
    libvips.
    """
    deep = image.format == "ushort"
    if image.interpretation == "cmyk":
        return _imported(image, profile if profile and usable(profile, 4) else None)
    if profile is None or not usable(profile, image.bands) or is_srgb(profile):
        return image.colourspace("rgb16" if deep else "srgb")
    return _imported(image, profile)


def from_gamma(image: pyvips.Image, gamma: float) -> pyvips.Image:
    """SRGB of samples (uchar or ushort) that are light raised to a power."""
    most = 65535 if image.format == "ushort" else 255
    light = np.linspace(0, 1, most + 1) ** (1 / gamma)
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    table = np.round(srgb * most).astype(np.uint16 if most > 255 else np.uint8)
    return image.maplut(pyvips.Image.new_from_array(table[None])).copy(
        interpretation=image.interpretation
    )


def from_srgb(rgb: np.ndarray, profile: bytes | None) -> np.ndarray:
    """[H, W, 3] uint8 or uint16 sRGB in an RGB profile; None and sRGB change nothing."""
    if profile is None or is_srgb(profile):
        return rgb
    height, width, bands = rgb.shape
    deep = rgb.dtype == np.uint16
    image = pyvips.Image.new_from_memory(
        np.ascontiguousarray(rgb).data, width, height, bands, "ushort" if deep else "uchar"
    )
    image = image.copy(interpretation="rgb16" if deep else "srgb")
    return np.asarray(exported(image, profile).numpy())


def exported(image: pyvips.Image, profile: bytes | None) -> pyvips.Image:
    """Like `from_srgb`, for an image of libvips."""
    if profile is None or is_srgb(profile):
        return image
    depth = 16 if image.format == "ushort" else 8
    image = image.icc_import(input_profile="srgb", pcs="lab", intent=_INTENT).copy()
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    return image.icc_export(pcs="lab", intent=_INTENT, depth=depth)


def is_srgb(profile: bytes) -> bool:
    """Whether an ICC profile has the curves and primaries of sRGB, whatever its name."""
    colours, seen = _cube(), _seen(profile, 3)
    return seen is not None and bool(abs(seen.astype(int) - colours).max() <= _SAME)


def usable(profile: bytes, channels: int) -> bool:
    """Whether a profile is of 1 (grey), 3 (RGB) or 4 (CMYK) channels and converts to sRGB."""
    return _seen(profile, channels) is not None and _keeps_tones(profile, channels)


@functools.lru_cache(maxsize=16)
def _keeps_tones(profile: bytes, channels: int) -> bool:
    """Whether a ramp from black to white is one in sRGB too; else the profile is corrupt."""
    ramp = np.linspace(0, 65535, 16).astype(np.uint16)
    stored = np.repeat((65535 - ramp if channels == 4 else ramp)[None, :, None], channels, axis=2)
    tones = _imported(_image(stored), profile).numpy().mean(axis=(0, 2))
    return bool((np.diff(tones) > -_SAME).all() and tones[-1] >= _WHITE)


@functools.lru_cache(maxsize=16)
def works_both_ways(profile: bytes) -> bool:
    """Whether an RGB profile also converts from sRGB: scanners' profiles do not."""
    if not usable(profile, 3):
        return False
    levels = np.linspace(65535 // 4, 3 * 65535 // 4, 9).astype(np.uint16)
    grey = np.repeat(levels[None, :, None], 3, axis=2)
    try:
        stored = _image(from_srgb(grey, profile))
        back = _imported(stored, profile).numpy()
    except pyvips.Error:
        return False
    return is_srgb(profile) or bool(abs(back.astype(int) - grey).max() <= _NEAR)


def _imported(image: pyvips.Image, profile: bytes | None) -> pyvips.Image:
    image = image.copy()
    if profile:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    else:
        image.remove("icc-profile-data")
    depth = 16 if image.format == "ushort" else 8
    return image.icc_transform("srgb", embedded=True, intent=_INTENT, depth=depth)


@functools.lru_cache(maxsize=16)
def _seen(profile: bytes, channels: int) -> np.ndarray | None:
    """`_cube` of a profile in sRGB (of other channels: some colours); None if it fails."""
    if _CHANNELS.get(profile[16:20]) != channels or not _is_whole(profile):
        return None
    colours = _cube() if channels == 3 else np.full((1, 4, channels), 30000, np.uint16)
    try:
        return np.asarray(_imported(_image(colours), profile).numpy())
    except pyvips.Error:
        return None


def _is_whole(profile: bytes) -> bool:
    """Whether all parts that the header and the table of tags name are there (ICC.1, 7.2, 7.3)."""
    if len(profile) < 132 or profile[36:40] != b"acsp":
        return False
    size, number = (int.from_bytes(profile[at : at + 4], "big") for at in (0, 128))
    if size > len(profile) or 132 + 12 * number > size:
        return False
    tags = (struct.unpack_from(">II", profile, 136 + 12 * tag) for tag in range(number))
    return all(offset + length <= size for offset, length in tags)


@functools.cache
def _cube() -> np.ndarray:
    """[1, N, 3] uint16: 6×6×6 colours and 32 greys."""
    levels = np.linspace(0, 65535, 6)
    cube = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(-1, 3)
    greys = np.repeat(np.linspace(0, 65535, 32)[:, None], 3, axis=1)
    return np.concatenate([cube, greys])[None].astype(np.uint16)


def _image(colours: np.ndarray) -> pyvips.Image:
    image = pyvips.Image.new_from_array(np.ascontiguousarray(colours))
    return image.copy(interpretation=_INTERPRETATIONS[colours.shape[2]])
