"""What is drawn on the skin: complexion, beard, brows, mouth and eyes.

Everything is a function of the place on the face, hit.x and hit.y, in half heads.
"""

import numpy as np

from colorjax.data.procedural.palette import hsv
from colorjax.data.procedural.subject import Subject, View
from colorjax.data.procedural.surface import Hit
from colorjax.data.procedural.textures import blend, clouds, noise, spot, step


def complexion(subject: Subject, hit: Hit) -> np.ndarray:
    """The albedo of the skin, planar: more blood in cheeks, nose and chin, a beard, brows."""
    rng, size, side = np.random.default_rng(subject.texture_seed), len(hit.x), np.abs(hit.x)
    blood = 0.55 * spot(side - 0.36, hit.y + 0.28, 0.2, 0.17)
    blood += 0.6 * spot(hit.x, hit.y + subject.nose_length, 0.12, 0.1)
    blood += 0.25 * spot(hit.x, hit.y + 0.9, 0.2, 0.12) + 0.10 * noise(rng, size, 7)
    tired = spot(side - subject.eye_x + 0.03, hit.y + 0.09, 0.13, 0.05)
    tone = 1 + 0.025 * clouds(rng, size, 12) - (0.12 + 0.15 * subject.age) * tired
    skin = blend(subject.skin, subject.flush, np.clip(blood, 0, 1)) * tone
    hairs = 0.9 + 0.14 * noise(rng, size, 40, 56)
    # A beard from the sideburns down along the jaw, and around the mouth.
    edge = np.minimum(subject.mouth_y + 0.15 + 1.3 * np.maximum(side - 0.3, 0), -0.05)
    bare = spot(hit.x, hit.y - subject.mouth_y + 0.01, subject.mouth_width * 0.95, 0.055)
    cover = min(1.2 * subject.beard, 0.93) * (1 - np.clip(1.4 * bare, 0, 1))
    cover = cover * step(0, 0.12, edge - hit.y + 0.025 * noise(rng, size, 20))
    beard = (0.6 * subject.hair + 0.4 * subject.brows)[:, None, None] * hairs
    skin = blend(skin, beard, cover)
    return blend(skin, subject.brows, _brows(subject, hit) * hairs)


def _brows(subject: Subject, hit: Hit) -> np.ndarray:
    along = (np.abs(hit.x) - subject.eye_x + 0.01) / 0.187
    arc = subject.brow_y + 0.034 * (0.4 - (along - 0.35) ** 2)
    thick = subject.brow_weight * np.clip(1.15 - 0.45 * along, 0.3, 2)
    return 0.78 * spot((hit.y - arc) / thick, 0, 1.0) * step(0, 0.12, 1 - np.abs(along))


def creases(subject: Subject, view: View, hit: Hit) -> np.ndarray:
    """The fraction of the light that reaches hollows and folds, [size, size]."""
    side, y, wide = np.abs(hit.x), hit.y + subject.nose_length, subject.nose_width
    fold = spot(side - wide - 0.05 + (y - 0.05) * 0.55, y + 0.1, 0.03, 0.15)
    deep = 0.10 + 0.14 * subject.age + 0.14 * max(view.smile, 0)
    nostril = spot(side - 0.5 * wide, y + 0.045, 0.038, 0.022)
    below = spot(hit.x, y + 0.075, 0.13, 0.03)
    shade = 1 - 2.2 * np.maximum(hit.hollow, 0) - deep * fold
    shade = shade * (1 - 0.78 * nostril) * (1 - 0.22 * below)
    return np.clip(shade, 0.08, 1.1)


def mouth(subject: Subject, view: View, hit: Hit, pixel: float, skin: np.ndarray) -> np.ndarray:
    """The albedo with lips, teeth and the dark between them."""
    u = hit.x / (subject.mouth_width * (1 + 0.18 * view.smile))
    arch = np.maximum(1 - u * u, 0)
    y = hit.y - subject.mouth_y - 0.045 * view.smile * (u * u - 0.4)
    bow = 0.55 + 0.45 * (0.72 + 0.28 * np.cos(u * 5.0) * (1 - u * u))
    gap = view.gape * np.sqrt(arch)
    upper = gap + subject.lip_fullness * 0.85 * arch**0.8 * bow - 0.012 * spot(u, 0, 0.16)
    lower = -gap - subject.lip_fullness * 1.15 * arch**0.75
    inside = (np.abs(u) < 1) * step(0, pixel * 1.1, np.minimum(upper - y, y - lower))
    shaded = np.where(y > 0, np.float32(0.80), np.float32(1)) * (1 + 0.08 * np.sin(hit.x * 150))
    face = blend(skin, view.lips[:, None, None] * shaded, inside * 0.89)
    teeth = np.array([0.76, 0.70, 0.61], np.float32)[:, None, None] * (1 - 0.75 * np.abs(u))
    between = step(0, pixel, gap - np.abs(y)) * (np.abs(u) < 1) * (view.gape > 0.004)
    throat = blend(hsv(0.0, 0.75, 0.2), teeth, step(0, pixel, y + gap * 0.35))
    line = spot(y, 0, 0.011) * (np.abs(u) < 1.03) * (1 - between)
    return blend(face, throat, between) * (1 - 0.62 * line)


def eyes(
    subject: Subject, view: View, hit: Hit, pixel: float, face: np.ndarray, light: np.ndarray
) -> np.ndarray:
    """Lids, lashes and eyeballs over the shaded face, planar, in the light that falls on it."""
    side = np.abs(hit.x) - subject.eye_x
    u, y = side / 0.132, hit.y - 0.018 * side
    arch = np.maximum(1 - u * u, 0)
    # Rounder towards the nose on top, towards the temple below.
    opening = subject.eye_height * (1 - 0.75 * view.squint)
    upper = opening * 1.1 * arch * (1 - 0.25 * u)
    lower = -opening * 0.75 * arch * (1 + 0.25 * u) + 0.012 * max(view.smile, 0)
    inside = step(0, pixel * 0.8, np.minimum(upper - y, y - lower)) * (np.abs(u) < 1)
    dim = np.clip(1 - 0.5 * step(0.0, 0.03, 0.02 - (upper - y)) - 0.45 * np.abs(u), 0.2, 1)
    # Both eyes look the same way, which for one of them is towards the nose.
    towards = np.sign(hit.x)
    across, down = side - towards * view.gaze[0], y - 0.008 - view.gaze[1]
    away = np.sqrt(across**2 + down**2)
    iris = subject.iris[:, None, None] * light * (1.35 - 12 * np.maximum(away - 0.025, 0))
    white = np.array([0.46, 0.40, 0.37], np.float32)[:, None, None] * (dim * light)
    ball = blend(white, np.maximum(iris, 0.004), step(0, pixel * 0.7, 0.066 - away))
    ball = ball * (1 - 0.98 * step(0, pixel * 0.7, 0.026 - away))  # the pupil
    glint = spot(towards * across - 0.033 * float(view.light[0]), y - 0.03, 0.016, 0.016)
    ball = ball + 0.4 * glint * view.key[:, None, None]
    near = (arch > 0) * hit.alpha
    lash = spot(y - upper, 0, 0.014 if subject.feminine else 0.010) * near
    crease = spot(y - upper - 0.04, 0, 0.014) * arch * hit.alpha
    rim = spot(y - lower, 0, 0.010) * near
    dark = (1 - (0.85 if subject.feminine else 0.7) * lash) * (1 - 0.35 * crease)
    return blend(face, ball, inside * hit.alpha) * (dark * (1 - 0.28 * rim))
