"""The surface of a head: where each ray meets it, its normals, and the light that it sends back.

A horizontal cut through a head is an ellipse whose half width and half depth depend on the height:
a profile. Nose, lips, brow and cheeks are Gaussian bumps that push the front of the ellipse
towards the viewer. Rays are parallel. Lengths are in half heads (see face_subject); in the head's
frame x is to the right, y up, z out of the face; in the view's z is towards the camera.
"""

from typing import NamedTuple

import numpy as np

from colorjax.data.procedural.subject import Subject, View
from colorjax.data.procedural.textures import frame, step

_ENTRIES = 1024


class Rays(NamedTuple):
    """One ray a pixel."""

    u: np.ndarray  # [size, size], along the head's right in the image
    v: np.ndarray  # [size, size], along the head's up in the image
    turn: np.ndarray  # [3, 3], head to view
    pixel: float  # the width of a pixel


class Profile(NamedTuple):
    """Half width, half depth and forward shift of the cuts from low to high, and their slopes."""

    low: float
    high: float
    table: np.ndarray  # [6, _ENTRIES]: width, depth, shift; the same differentiated along y


class Bump(NamedTuple):
    """A Gaussian on the face at (± x, y), height in half heads, negative for a hollow."""

    height: float
    x: float
    y: float
    sx: float
    sy: float


class Hit(NamedTuple):
    """Where the rays meet a surface, in the head's frame; all [size, size] but the normal."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    normal: np.ndarray  # [3, size, size], in the view's frame
    alpha: np.ndarray  # the covered share of each pixel
    around: np.ndarray  # |x| over the half width: 0 front, 1 side, 2 back
    hollow: np.ndarray  # the depth below the unbumped surface, ≥ 0


def make_rays(view: View, size: int) -> Rays:
    x, y = frame(size)
    x, y = (x - view.shift[0]) / view.scale, (y - view.shift[1]) / view.scale
    cos, sin = np.cos(view.roll), np.sin(view.roll)
    cy, sy, cp, sp = np.cos(view.yaw), np.sin(view.yaw), np.cos(view.pitch), np.sin(view.pitch)
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    u, v = x * np.float32(cos) + y * np.float32(sin), y * np.float32(cos) - x * np.float32(sin)
    return Rays(u, v, (pitch @ yaw).astype(np.float32), 2 / size / view.scale)


def make_profile(y: np.ndarray, width: np.ndarray, depth: np.ndarray, shift: np.ndarray) -> Profile:
    """From half widths, half depths and shifts at evenly spaced heights y, [_ENTRIES] each."""
    table = np.stack([width, depth, shift])
    slopes = np.clip(np.gradient(table, y, axis=1), -6, 6)
    table = np.concatenate([np.maximum(table, 1e-3), slopes])
    return Profile(float(y[0]), float(y[-1]), table.astype(np.float32))


def skull(subject: Subject) -> Profile:
    """The head without hair."""
    y = np.linspace(-1, 1, _ENTRIES)
    up, down = np.maximum(y, 0), np.maximum(-y, 0)
    jaw = (1 - subject.jaw * down**1.3) * np.sqrt(1 - down**subject.chin)
    width = subject.width * np.where(y > 0, np.sqrt(1 - up**2.6), jaw)
    depth = 0.80 * np.where(y > 0, np.sqrt(1 - up**2.8), (1 - 0.42 * down) * np.sqrt(1 - down**5))
    # The jaw lies under the front of the skull, not under its middle.
    return make_profile(y, width, depth, 0.26 * down)


def hair_shell(head_width: float, volume: float, length: float) -> Profile:
    """A surface outside a skull of that half width that falls straight down to y = −length."""
    y = np.linspace(-length, 1 + volume, _ENTRIES)
    top = 1 + volume
    up, down = np.clip(y / top, 0, 1), np.maximum(-y, 0)
    grown = 1 + 0.7 * volume
    fall = 1 + 0.10 * np.sin(np.minimum(down, 1.6) * 1.7) - 0.02 * down
    width = (head_width * grown + 0.02) * np.where(y > 0, np.sqrt(1 - up**2.6), fall)
    depth = 0.84 * grown * np.where(y > 0, np.sqrt(1 - up**2.8), 1)
    return make_profile(y, width, depth, 0 * y)


def nose(subject: Subject) -> list[Bump]:
    tip = -subject.nose_length
    return [
        Bump(0.50 * subject.nose_height, 0, tip * 0.45, 0.075, 0.21),
        Bump(0.85 * subject.nose_height, 0, tip + 0.04, 0.40 * subject.nose_width + 0.04, 0.10),
    ]


def relief(subject: Subject, view: View) -> list[Bump]:
    """What lies on the face besides the ridge of the nose."""
    tip, mouth, ex = -subject.nose_length, subject.mouth_y, subject.eye_x
    full, wide = subject.lip_fullness, subject.mouth_width * (1 + 0.15 * view.smile)
    smile, drop = max(view.smile, 0), view.gape
    brow = 0.025 if subject.feminine else 0.05
    return [
        Bump(0.05, subject.nose_width * 0.75, tip + 0.01, 0.045, 0.055),
        Bump(brow, ex, 0.15, 0.2, 0.055),
        Bump(-0.075, ex - 0.03, 0.02, 0.15, 0.10),
        Bump(0.055, ex, 0.0, 0.10, 0.065),
        Bump(0.03 + subject.cheekbones + 0.03 * smile, 0.40, -0.25 + 0.04 * smile, 0.17, 0.15),
        Bump(0.55 * full + 0.01, 0, mouth + 0.035 + drop, 0.7 * wide, 0.035),
        Bump(0.75 * full + 0.01, 0, mouth - 0.05 - drop, 0.6 * wide, 0.04),
        Bump(-0.02, 0, mouth, 0.8 * wide, 0.016 + drop),
        Bump(-0.03 - 0.02 * smile, wide + 0.01, mouth + 0.03 * smile, 0.045, 0.06),
        Bump(-0.03, 0, mouth - 0.15 - drop, 0.14, 0.045),
        Bump(0.06, 0, -0.87, 0.15, 0.10),
        Bump(-0.014, 0, mouth + 0.12, 0.03, 0.05),
    ]


def height(bumps: list[Bump], x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    """The sum of the bumps at (x, y), and its derivatives along x and y."""
    side, sign = np.abs(x), np.sign(x)
    total, along_x, along_y = (np.zeros_like(x) for _ in range(3))
    for bump in bumps:
        dx = ((side - bump.x) if bump.x else x) * (1 / bump.sx)
        dy = (y - bump.y) * (1 / bump.sy)
        value = np.exp(-(dx * dx + dy * dy)) * bump.height
        total += value
        along_x -= value * dx * (sign if bump.x else 1) * (2 / bump.sx)
        along_y -= value * dy * (2 / bump.sy)
    return total, along_x, along_y


def _cut(profile: Profile, y: np.ndarray) -> np.ndarray:
    """Indices of the profile's table at heights y."""
    scale = (_ENTRIES - 1) / (profile.high - profile.low)
    return np.clip((y - profile.low) * scale, 0, _ENTRIES - 1).astype(np.int32)


def trace(rays: Rays, profile: Profile, ridge: list[Bump], fine: list[Bump]) -> Hit:
    """Meets the rays with the surface by fixed-point iteration on the height and the bump.

    Args:
      rays: from make_rays.
      profile: the shape without bumps.
      ridge: bumps high enough to shift what lies behind them when the head turns.
      fine: bumps that show in the shading only.
    """
    (m00, m01, m02), (m10, m11, m12), (dx, dy, dz) = rays.turn
    x0, y0, z0 = (rays.u * a + rays.v * b for a, b in ((m00, m10), (m01, m11), (m02, m12)))
    t = np.full_like(x0, 0.75)
    for k in range(4):
        x, y = x0 + t * dx, y0 + t * dy
        index = _cut(profile, y)
        width, depth, lift = (row.take(index) for row in profile.table[:3])
        iw, id_ = 1 / width, 1 / depth
        if ridge and k > 1:
            lift = lift + height(ridge, x, y)[0]
        x1, z1, dx1, dz1 = x0 * iw, (z0 - lift) * id_, dx * iw, dz * id_
        a, b = dx1 * dx1 + dz1 * dz1, x1 * dx1 + z1 * dz1
        inside = b * b - a * (x1 * x1 + z1 * z1 - 1)
        met = (np.sqrt(np.maximum(inside, 0)) - b) / a
        # Half steps: where the skull closes, whole ones swing to and fro.
        t = met if k == 3 and ridge else 0.5 * (t + met)
    x, y, z = x0 + t * dx, y0 + t * dy, z0 + t * dz
    return _finish(rays, profile, ridge + fine, (x, y, z, lift), inside / a, index)


def _finish(
    rays: Rays,
    profile: Profile,
    bumps: list[Bump],
    point: tuple[np.ndarray, ...],
    inside: np.ndarray,
    index: np.ndarray,
) -> Hit:
    """Normals and cover at the points x, y, z, whose front was moved forward by the lift."""
    x, y, z, lift = point
    width, depth, shift, *slopes = (row.take(index) for row in profile.table)
    iw, id_ = 1 / width, 1 / depth
    total, hx, hy = height(bumps, x, y)
    nx, nz = x * iw * iw, (z - lift) * id_ * id_
    ny = -(x * nx * slopes[0] * iw)
    ny -= (z - lift) * nz * slopes[1] * id_
    ny, nx = ny - nz * (hy + slopes[2]), nx - nz * hx
    normal = np.stack([a * nx + b * ny + c * nz for a, b, c in rays.turn])
    normal /= np.sqrt((normal * normal).sum(0)) + 1e-6
    # Beyond the ends of a closed profile there is nothing.
    edge = np.where(iw > 40, -1, _distance(inside, rays.pixel))
    if profile.table[0, 0] > 0.1:  # open below, like hair that was cut
        edge = np.minimum(edge, y - profile.low)
    side = np.abs(x) * iw
    around = np.where(z > 0, side, 2 - side)
    hollow = np.maximum(lift - shift - total, 0)
    return Hit(x, y, z, normal, step(0, rays.pixel, edge), around, hollow)


def _distance(value: np.ndarray, pixel: float) -> np.ndarray:
    """The approximate distance to the zero of a field, positive where the field is."""
    # Far outside the field jumps; held there, its slope is none and its distance large.
    value = np.maximum(value, -0.03)
    gy, gx = np.gradient(value, pixel)
    return value / (np.sqrt(gx * gx + gy * gy) + 1e-4)


def dot(vector: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """The product of one vector [3] with each of [3, size, size]."""
    return vector[0] * normal[0] + vector[1] * normal[1] + vector[2] * normal[2]


def lambert(normal: np.ndarray, view: View, wrap: np.ndarray | float = 0.0) -> np.ndarray:
    """Light that falls on a matte surface, [3, ...].

    wrap, a number or [3], is how far light bleeds past the terminator: in skin red goes furthest.
    """
    facing = dot(view.light, normal)[None]
    bleed = np.broadcast_to(np.asarray(wrap, np.float32), (3,))[:, None, None]
    direct = np.maximum((facing + bleed) / (1 + bleed), 0)
    sky = 0.68 + 0.32 * normal[1]
    return direct * view.key[:, None, None] + sky * view.ambient[:, None, None]


def gloss(normal: np.ndarray, view: View, sharpness: float) -> np.ndarray:
    """The highlight of the lamp on a surface seen from the front, [size, size] (Blinn-Phong)."""
    half = view.light + np.array([0, 0, 1], np.float32)
    half = half / np.linalg.norm(half)
    cosine = np.clip(dot(half, normal), 0, 1)
    return np.exp((cosine - 1) * sharpness)
