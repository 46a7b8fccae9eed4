"""Hair and hats: a shell around the skull, cut off at a hairline, with strands or curls on it."""

from typing import NamedTuple

import numpy as np

from colorjax.data.procedural.palette import hsv
from colorjax.data.procedural.subject import Subject, View
from colorjax.data.procedural.surface import (
    Hit,
    Profile,
    Rays,
    dot,
    gloss,
    hair_shell,
    lambert,
    trace,
)
from colorjax.data.procedural.textures import blend, clouds, noise, step

# The lower edge of the hair at these places around the head (Hit.around): 0 is the middle of the
# forehead, 1 the ear, 2 the back. A number above 1 is offset from the subject's hairline by −2.
_AROUND = np.array([0, 0.45, 0.68, 0.84, 0.95, 1.1, 1.4, 2], np.float32)
_EDGES = {
    "receding": [2.36, 2.26, 2.10, 0.35, 0.04, 0.0, -0.1, -0.15],
    "cropped": [2.03, 1.99, 1.92, 0.35, 0.06, 0.05, -0.1, -0.15],
    "short": [2.02, 1.96, 1.84, 0.30, 0.00, 0.0, -0.1, -0.15],
    "fringe": [0.26, 0.24, 0.18, 0.05, -0.1, -0.15, -0.2, -0.25],
    "bob": [2.02, 1.92, 1.70, 0.15, -0.70, -0.80, -0.85, -0.9],
    "long": [2.04, 1.94, 1.74, 0.20, -0.90, -1.8, -1.9, -1.9],
    "bun": [2.05, 1.98, 1.88, 0.35, 0.05, -0.10, -0.3, -0.3],
    "curly": [2.00, 1.92, 1.72, 0.20, -0.25, -0.40, -0.5, -0.5],
}
_LENGTH = {"bob": 0.9, "long": 2.0}


class Hair(NamedTuple):
    hit: Hit
    colour: np.ndarray  # [3, size, size], shaded
    front: np.ndarray  # [size, size], the share that hides the face
    back: np.ndarray  # the share that lies behind the head


def _shell(subject: Subject) -> Profile:
    thick = {"cropped": 0.45, "receding": 0.3, "short": 1.3, "bun": 0.4, "curly": 2.0}
    volume = subject.volume * thick.get(subject.hairstyle, 1.0)
    return hair_shell(subject.width, volume, _LENGTH.get(subject.hairstyle, 0.6))


def make_hair(subject: Subject, view: View, rays: Rays) -> Hair | None:
    """The hair over and behind the head; None for a bald one."""
    if subject.hairstyle == "bald":
        return None
    rng = np.random.default_rng(subject.texture_seed + 2)
    size = rays.u.shape[0]
    curly = subject.hairstyle == "curly"
    ragged = noise(rng, size, 22) + noise(rng, size, 12)
    swell = ragged * (0.022 if curly else 0.006)
    hit = trace(
        rays._replace(u=rays.u * (1 + swell), v=rays.v * (1 + swell)), _shell(subject), [], []
    )
    edges = np.array(_EDGES[subject.hairstyle], np.float32)
    edges = np.where(edges > 1, edges - 2 + subject.hairline, edges)
    # A parting shifts the front of the hairline to a side.
    shifted = np.clip(hit.around + subject.parting * 0.25 * hit.x, 0, 2)
    edge = np.interp(shifted, _AROUND, edges).astype(np.float32)
    soft = 0.06 if subject.hairstyle in ("cropped", "receding") else 0.045
    locks = _strands(subject, hit, rng, curly)
    fray = 0.04 * locks + 0.012 * ragged
    front = step(0, soft, hit.y - edge + fray) * hit.alpha
    back = hit.alpha * step(float(edges[-1]), 0.06, hit.y + 0.03 * ragged)
    back = back if subject.hairstyle != "receding" else back * step(0.1, 0.05, 0.3 - hit.y)
    if subject.hairstyle == "receding":  # thin on top
        front = front * (0.55 + 0.45 * step(0.5, 0.2, hit.around))
    return Hair(hit, _shade(subject, view, hit, locks, curly), front, back)


def _strands(subject: Subject, hit: Hit, rng: np.random.Generator, curly: bool) -> np.ndarray:
    """Lightness of locks, about zero mean: they fan out from the parting, or curl."""
    size = hit.x.shape[0]
    if curly:
        warp = noise(rng, size, 9)
        rings = np.sin(hit.x * 34 + 2.4 * warp) * np.sin(hit.y * 34 + 2.4 * noise(rng, size, 11))
        return 0.55 * rings + 0.3 * noise(rng, size, 44)
    warp = noise(rng, size, 5) * (0.15 + 0.8 * subject.curl)
    fan = (hit.x - subject.parting) / (1.55 - np.minimum(hit.y, 1.2))
    wave = 0.18 * subject.curl * np.sin(hit.y * 9 + 2 * warp)
    angle = fan * 22 + warp * 1.1 + wave * 6
    locks = 0.7 * np.sin(angle) + 0.7 * np.sin(2.63 * angle + 1.3 + warp)
    locks += 0.8 * np.sin(6.1 * angle + 2.0 * noise(rng, size, 9))
    return 0.30 * locks + 0.12 * noise(rng, size, 30, 56)


def _shade(subject: Subject, view: View, hit: Hit, locks: np.ndarray, curly: bool) -> np.ndarray:
    """Matte light plus the band of gloss across the fibres (Kajiya & Kay 1989)."""
    albedo = subject.hair[:, None, None] * np.clip(1.1 + 0.5 * locks, 0.35, 2.0)
    # Tips are bleached, roots and what lies low are in the shade.
    albedo = albedo * np.clip(0.95 - 0.25 * hit.y * 0.5, 0.7, 1.2)
    half = view.light + np.array([0, 0, 1], np.float32)
    half = half / np.linalg.norm(half)
    facing = dot(half, hit.normal)
    along = hit.normal[1] * facing - half[1] + 0.12 * locks
    band = np.exp(-14 * along * along) * np.clip(dot(view.light, hit.normal), 0, 1)
    tint = (0.02 + 0.35 * subject.hair)[:, None, None] * (0.3 if curly else 1.0)
    shine = band * np.clip(0.7 + 0.6 * locks, 0, 2) * tint * view.key[:, None, None]
    return albedo * lambert(hit.normal, view, 0.25) + shine


def bun(subject: Subject, view: View, rays: Rays) -> tuple[np.ndarray, np.ndarray]:
    """A ball of hair on the crown: its colour and its cover."""
    centre = rays.turn @ np.array([0.0, 1.08, -0.30], np.float32)
    x, y = (rays.u - centre[0]) / 0.30, (rays.v - centre[1]) / 0.25
    away = np.sqrt(x * x + y * y)
    z = np.sqrt(np.clip(1 - away * away, 0.02, 1))
    locks = np.sin(9 * np.arctan2(y, x) + 7 * away)
    colour = subject.hair[:, None, None] * (1 + 0.45 * locks) * lambert(np.stack([x, y, z]), view)
    return colour, step(0, rays.pixel * 3.5, 1 - away)


def draw_hat(view: View, rays: Rays, width: float, image: np.ndarray) -> np.ndarray:
    """A knitted cap, a baseball cap or a straw hat over the image, with its shadow."""
    size = rays.u.shape[0]
    hit = trace(rays, hair_shell(width, 0.13, 0.6), [], [])
    tilt = 0.42 if view.hat == "beanie" else 0.47
    cover = step(tilt, rays.pixel, hit.y) * hit.alpha
    colour = view.hat_colour[:, None, None]
    if view.hat == "beanie":
        ribs = np.sin(60 * hit.x / (1.3 - 0.4 * np.minimum(hit.y, 1)))
        cuff = 1 + 0.22 * step(0.02, 0.02, 0.64 - hit.y)
        colour = colour * (0.85 + 0.25 * ribs) * cuff
    elif view.hat == "straw":
        weave = np.sin(hit.y * 75) * np.sin(hit.x * 60) + 0.4 * noise(
            np.random.default_rng(7), size, 50
        )
        colour = colour * (0.9 + 0.22 * weave)
        ribbon = step(0, 0.02, 0.06 - np.abs(hit.y - 0.56))
        colour = blend(colour, hsv(0.0, 0.6, 0.22), ribbon)
    else:
        seams = np.exp(-((hit.x / 0.012) ** 2)) * 0.3
        colour = colour * (1 - seams + 0.05 * clouds(np.random.default_rng(7), size, 12, 2))
    shaded = colour * lambert(hit.normal, view) + 0.02 * gloss(hit.normal, view, 8)
    below = step(tilt - 0.17, 0.12, hit.y) * hit.alpha * (1 - cover)
    image = blend(image * (1 - 0.55 * below), shaded, cover)
    return image if view.hat == "beanie" else _brim(view, rays, tilt, width, image)


def _brim(view: View, rays: Rays, tilt: float, width: float, image: np.ndarray) -> np.ndarray:
    """The visor in front of a cap, or the ring around a straw hat: a tilted disc seen edge on."""
    straw = view.hat == "straw"
    # The disc's outline in the view: centre and half axes.
    depth = np.array([0.0, tilt + 0.02, 0.0 if straw else 0.62], np.float32)
    centre = rays.turn @ depth
    long_ = width * (1.75 if straw else 1.02)
    short = (0.20 + 0.9 * max(view.pitch, 0)) if straw else 0.17
    x = (rays.u - centre[0]) / long_
    y = (rays.v - centre[1] + (0.08 * x * x if not straw else 0.0)) / short
    away = np.sqrt(x * x + y * y)
    front = step(0, rays.pixel * 5, 1 - away) * (step(0, 0.08, 0.35 - y) if straw else 1.0)
    colour = view.hat_colour[:, None, None] * (0.55 + 0.35 * y)
    if straw:
        colour = colour * (0.9 + 0.15 * np.sin(away * 60))
    light = (view.ambient + 0.6 * view.key)[:, None, None]
    return blend(image, np.clip(colour, 0.004, 1) * light, front)
