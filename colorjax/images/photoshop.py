"""Photoshop's image resources: blocks in JPEGs and TIFFs, one of which is IPTC-IIM."""

import struct

_IPTC = 0x0404
# What a coloured copy makes wrong or states elsewhere: thumbnails, a profile, EXIF, XMP.
_LEFT_OUT = (0x0409, 0x040C, 0x040F, 0x0422, 0x0423, 0x0424)


def split(resources: bytes) -> tuple[bytes | None, bytes | None]:
    """IPTC-IIM, and the other resources that are kept."""
    iptc, others = b"", b""
    at = 0
    while resources[at : at + 4] == b"8BIM" and at + 12 <= len(resources):
        kind, name = struct.unpack_from(">HB", resources, at + 4)
        start = at + 6 + (name + 2) // 2 * 2 + 4
        if start > len(resources):
            break
        (size,) = struct.unpack_from(">I", resources, start - 4)
        end = start + size
        if kind == _IPTC:
            iptc = iptc or resources[start:end]
        elif kind not in _LEFT_OUT and end <= len(resources):
            others += resources[at:end] + bytes(size % 2)
        at = end + size % 2
    return iptc or None, others or None


def joined(iptc: bytes | None, others: bytes | None) -> bytes:
    """The resources that `split` divides."""
    if not iptc:
        return others or b""
    head = struct.pack(">4sHHI", b"8BIM", _IPTC, 0, len(iptc))
    return head + iptc + bytes(len(iptc) % 2) + (others or b"")
