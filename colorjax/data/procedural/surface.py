"""The surface of a head: where rays meet it, its normals, and the light that it reflects.

A horizontal cut through a head is an ellipse whose half width and half depth depend on the height.
Nose, lips, brow and cheeks are Gaussian bumps that push its front towards the viewer. Rays are
parallel. Lengths are in half heads (see subject.py). In the head's frame x points right, y up and
z out of the face; in the view's frame z points to the camera.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from colorjax.data.procedural.subject import Subject, View
from colorjax.data.procedural.textures import frame, step

_ENTRIES = 1024
# How far light bleeds past the terminator: in skin, red travels furthest.
SKIN = np.array([0.34, 0.16, 0.09], np.float32)
MATTE = np.full(3, 0.2, np.float32)
# Gaussians at (±x, y): height (negative for hollows), x, y, and widths along x and y.
Bumps = Sequence[tuple[float, float, float, float, float]]


class Rays(NamedTuple):
    """One ray for each pixel."""

    u: np.ndarray  # [size, size], right in the image, along the rolled head
    v: np.ndarray  # [size, size], up
    rotation: np.ndarray  # [3, 3], from the head's frame to the view's
    pixel: float  # width of a pixel


class Hit(NamedTuple):
    """Where rays meet a surface, [size, size] each."""

    x: np.ndarray  # in the head's frame
    y: np.ndarray
    normal: np.ndarray  # [3, size, size], in the view's frame
    alpha: np.ndarray  # covered fraction of the pixel
    around: np.ndarray  # 0 front, 1 side, 2 back
    hollow: np.ndarray  # depth below the surface without fine bumps


def make_rays(view: View, size: int) -> Rays:
    x, y = frame(size)
    x, y = (x - view.shift[0]) / view.scale, (y - view.shift[1]) / view.scale
    angles = np.array([view.roll, view.yaw, view.pitch], np.float32)
    (cos, cy, cp), (sin, sy, sp) = np.cos(angles), np.sin(angles)
    rotation = [[cy, 0, sy], [-sp * sy, cp, sp * cy], [-cp * sy, -sp, cp * cy]]
    u, v = x * cos + y * sin, y * cos - x * sin
    return Rays(u, v, np.array(rotation, np.float32), 2 / size / view.scale)


def skull(subject: Subject) -> tuple[np.ndarray, np.ndarray]:
    """Heights [entries] and cuts [3, entries] of the head: half width, half depth, shift."""
    y = np.linspace(-1, 1, _ENTRIES)
    up, down = np.maximum(y, 0), np.maximum(-y, 0)
    jaw = (1 - subject.jaw * down**1.3) * np.sqrt(1 - down**2.7)
    width = subject.width * np.where(y > 0, np.sqrt(1 - up**2.6), jaw)
    depth = 0.80 * np.where(y > 0, np.sqrt(1 - up**2.8), (1 - 0.42 * down) * np.sqrt(1 - down**5))
    # The jaw lies below the front of the skull, not below its middle.
    return y, np.stack([width, depth, 0.26 * down])


def hair_shell(head_width: float, volume: float, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Heights and cuts of a surface around the skull that falls straight down to y = −length."""
    top, grown = 1 + volume, 1 + 0.7 * volume
    y = np.linspace(-length, top, _ENTRIES)
    up, down = np.clip(y / top, 0, 1), np.maximum(-y, 0)
    fall = 1 + 0.10 * np.sin(np.minimum(down, 1.6) * 1.7) - 0.02 * down
    width = (head_width * grown + 0.02) * np.where(y > 0, np.sqrt(1 - up**2.6), fall)
    return y, np.stack([width, 0.84 * grown * np.sqrt(1 - up**2.8), 0 * y])


def face_bumps(subject: Subject, view: View) -> Bumps:
    """Nose ridge and tip, nostrils, brows, eyes, cheeks, lips and chin."""
    tip, mouth, ex = -subject.nose_length, subject.mouth_y, subject.eye_x
    full, wide = subject.lip_fullness, subject.mouth_width * (1 + 0.15 * view.smile)
    smile, drop = max(view.smile, 0), view.gape
    return [
        (0.11, 0, tip * 0.45, 0.075, 0.21),
        (0.18, 0, tip + 0.04, 0.4 * subject.nose_width + 0.04, 0.1),
        (0.05, subject.nose_width * 0.75, tip + 0.01, 0.045, 0.055),
        (0.025 if subject.feminine else 0.05, ex, 0.15, 0.2, 0.055),
        (-0.075, ex - 0.03, 0.02, 0.15, 0.10),
        (0.055, ex, 0.0, 0.10, 0.065),
        (0.06 + 0.03 * smile, 0.40, -0.25 + 0.04 * smile, 0.17, 0.15),
        (0.55 * full + 0.01, 0, mouth + 0.035 + drop, 0.7 * wide, 0.035),
        (0.75 * full + 0.01, 0, mouth - 0.05 - drop, 0.6 * wide, 0.04),
        (-0.02, 0, mouth, 0.8 * wide, 0.016 + drop),
        (-0.03 - 0.02 * smile, wide + 0.01, mouth + 0.03 * smile, 0.045, 0.06),
        (-0.03, 0, mouth - 0.15 - drop, 0.14, 0.045),
        (0.06, 0, -0.87, 0.15, 0.10),
    ]


def height(bumps: Bumps, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    """The sum of the bumps at (x, y) and its derivatives along x and y."""
    side, sign = np.abs(x), np.sign(x)
    total, along_x, along_y = np.zeros((3, *x.shape), np.float32)
    for peak, px, py, sx, sy in bumps:
        dx, dy = (side - px if px else x) * (1 / sx), (y - py) * (1 / sy)
        value = np.exp(-(dx * dx + dy * dy)) * peak
        total += value
        along_x -= value * dx * (sign if px else 1) * (2 / sx)
        along_y -= value * dy * (2 / sy)
    return total, along_x, along_y


def trace(rays: Rays, heights: np.ndarray, cuts: np.ndarray, bumps: Bumps = ()) -> Hit:
    """Intersects the rays with a surface, given as in `skull`, by fixed-point iteration.

    The first two bumps are so high that they hide what lies behind them when the head turns; the
    others show in the shading only.
    """
    slopes = np.clip(np.gradient(cuts, heights, axis=1), -6, 6)
    table = np.concatenate([np.maximum(cuts, 1e-3), slopes]).astype(np.float32)
    low, scale = float(heights[0]), float((_ENTRIES - 1) / np.ptp(heights))
    x0, y0, z0 = (rays.u * a + rays.v * b for a, b in rays.rotation[:2].T)
    dx, dy, dz = rays.rotation[2]
    t = np.full_like(x0, 0.75)
    for k in range(4):
        x, y = x0 + t * dx, y0 + t * dy
        index = np.clip((y - low) * scale, 0, _ENTRIES - 1).astype(np.int32)
        width, depth, shift = (row.take(index) for row in table[:3])
        iw, id_ = 1 / width, 1 / depth
        lift = shift + height(bumps[:2], x, y)[0] if bumps and k > 1 else shift
        x1, z1, dx1, dz1 = x0 * iw, (z0 - lift) * id_, dx * iw, dz * id_
        a, b = dx1 * dx1 + dz1 * dz1, x1 * dx1 + z1 * dz1
        inside = b * b - a * (x1 * x1 + z1 * z1 - 1)
        met = (np.sqrt(np.maximum(inside, 0)) - b) / a
        # Half steps: full steps oscillate where the skull closes.
        t = met if k == 3 and bumps else 0.5 * (t + met)
    x, y, z = x0 + t * dx, y0 + t * dy, z0 + t * dz - lift
    total, hx, hy = height(bumps, x, y)
    dw, dd, ds = (row.take(index) for row in table[3:])
    nx, nz = x * iw * iw, z * id_ * id_
    ny = -x * nx * dw * iw - z * nz * dd * id_ - nz * (hy + ds)
    nx = nx - nz * hx
    normal = np.stack([a * nx + b * ny + c * nz for a, b, c in rays.rotation])
    normal /= np.sqrt((normal * normal).sum(0)) + 1e-6
    # The distance to the outline. Far outside the field jumps; constant there, it has no slope.
    field = np.maximum(inside / a, -0.03)
    gy, gx = np.gradient(field, rays.pixel)
    edge = np.where(iw > 40, -1, field / (np.sqrt(gx * gx + gy * gy) + 1e-4))
    if cuts[0, 0] > 0.1:  # open below, like hair
        edge = np.minimum(edge, y - low)
    around = np.where(z + lift > 0, np.abs(x) * iw, 2 - np.abs(x) * iw)
    return Hit(x, y, normal, step(0, rays.pixel, edge), around, lift - shift - total)


def lambert(normal: np.ndarray, view: View, material: np.ndarray) -> np.ndarray:
    """The light on `SKIN` or a `MATTE` surface, planar."""
    bleed = material[:, None, None]
    direct = np.maximum((np.einsum("i,i...", view.light, normal) + bleed) / (1 + bleed), 0)
    sky = 0.68 + 0.32 * normal[1]
    return direct * view.key[:, None, None] + sky * view.ambient[:, None, None]
