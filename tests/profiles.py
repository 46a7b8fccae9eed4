"""ICC profiles for tests."""

import functools
import struct

import numpy as np
from PIL import ImageCms
from skimage import color

# The primaries of Adobe RGB (1998) and of sRGB in XYZ, adapted to D50.
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
GAMMA = 563 / 256


@functools.cache  # it holds the time at which it was made
def srgb():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exchanged():
    """A profile with another name, whose first channel is sRGB's green and its second red."""
    other = srgb().replace(b"s\0R\0G\0B", b"t\0e\0s\0t").replace(b"sRGB", b"test")
    return other.replace(b"rXYZ", b"----").replace(b"gXYZ", b"rXYZ").replace(b"----", b"gXYZ")


def _s15(*values):
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def adobe():
    """An ICC v2 profile of Adobe RGB, and its conversion to sRGB in closed form."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(GAMMA * 256)) + b"\0\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"wide\0" + bytes(8 + 3 + 67)
    tags = {
        b"desc": description + b"\0" * (-len(description) % 4),
        b"wtpt": b"XYZ \0\0\0\0" + _s15(0.9642, 1.0, 0.8249),
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
    }
    for channel, primary in zip(b"rgb", ADOBE, strict=True):
        tags[bytes([channel]) + b"XYZ"] = b"XYZ \0\0\0\0" + _s15(*primary)
        tags[bytes([channel]) + b"TRC"] = curve
    offset, table, body = 132 + 12 * len(tags), b"", b""
    for tag, contents in tags.items():
        table += tag + struct.pack(">II", offset + len(body), len(contents))
        body += contents
    size = offset + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + _s15(0.9642, 1.0, 0.8249)
    header += bytes(128 - len(header))
    return header + struct.pack(">I", len(tags)) + table + body, _adobe_to_srgb


def _adobe_to_srgb(rgb):
    xyz = (rgb / 255) ** GAMMA @ np.array(ADOBE)
    out = np.clip(xyz @ np.linalg.inv(np.array(SRGB)), 0, 1)
    out = np.where(out <= 0.0031308, 12.92 * out, 1.055 * out ** (1 / 2.4) - 0.055)
    return np.round(out * 255).astype(np.uint8)


def linear():
    """Linear curves and the primaries of Adobe RGB, under the name of sRGB."""
    gamma = struct.pack(">IH", 1, round(GAMMA * 256))
    return adobe()[0].replace(gamma, struct.pack(">IH", 1, 256)).replace(b"wide\0", b"sRGB\0")


def one_way():
    """A scanner's profile: a table from RGB to Lab, and none back."""
    corners = np.array(list(np.ndindex(2, 2, 2)), np.uint8)[None] * 255
    lab = color.rgb2lab(corners)[0]
    table = np.round(lab * (2.55, 1, 1) + (0, 128, 128)).clip(0, 255).astype(np.uint8)
    ramps = bytes(range(256)) * 3
    lut = (
        b"mft1\0\0\0\0\3\3\2\0" + _s15(1, 0, 0, 0, 1, 0, 0, 0, 1) + ramps + table.tobytes() + ramps
    )
    whole = adobe()[0]
    tags = {b"wtpt": b"XYZ \0\0\0\0" + _s15(0.9642, 1.0, 0.8249), b"A2B0": lut}
    offset, entries, body = 132 + 12 * len(tags), b"", b""
    for tag, contents in tags.items():
        entries += tag + struct.pack(">II", offset + len(body), len(contents))
        body += contents + bytes(-len(contents) % 4)
    header = struct.pack(">I", offset + len(body)) + whole[4:12] + b"scnrRGB Lab " + whole[24:128]
    return header + struct.pack(">I", len(tags)) + entries + body
