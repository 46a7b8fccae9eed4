"""What image files hold beside their pixels, as raw bytes; jpeg, png and webp read it."""

import contextlib
import struct
from typing import NamedTuple

from colorjax.images import exif
from colorjax.images.kinds import Text

EXIF_MARK, XMP_MARK = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
PHOTOSHOP_MARK = b"Photoshop 3.0\0"
XMP_KEYWORD, RAW_PROFILE = "XML:com.adobe.xmp", "Raw profile type "
_UNIT, _RESOLUTIONS = 0x0128, (0x011A, 0x011B)


class Metadata(NamedTuple):
    """See `Photo`; the EXIF block and XMP are as in the file.

    Attributes:
      pictures: their number.
      whole: files of its kind, if they are decoded as a whole and not some rows at a time.
      gamma: the power of light that samples are, if they are not those of sRGB or of a profile.
      strays: where bytes that do not belong to a JPEG begin and end.
      ends: whether a JPEG has its last marker.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    resources: bytes | None = None
    texts: tuple[Text, ...] = ()
    profile: bytes | None = None
    dpi: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    pictures: int = 1
    whole: str = ""
    gamma: float | None = None
    strays: tuple[tuple[int, int], ...] = ()
    ends: bool = True


def resolution(block: bytes) -> tuple[float, float] | None:
    """The pixels per inch that an EXIF block states."""
    with contextlib.suppress(ValueError, LookupError, ZeroDivisionError, struct.error, TypeError):
        directory = exif.parse(block, (_UNIT, *_RESOLUTIONS))
        unit = directory.get(_UNIT)
        inches = 2.54 if unit is not None and unit.value == b"\3\0" else 1.0
        both = [struct.unpack("<II", directory[tag].value) for tag in _RESOLUTIONS]  # type: ignore[arg-type]
        across, down = (above / below * inches for above, below in both)
        return (across, down) if min(across, down) > 0 else None
    return None
