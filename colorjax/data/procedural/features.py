"""What is painted on the skin: complexion, eyes, brows, lips, nostrils, beard.

Everything is a function of the place on the face: hit.x and hit.y, in half heads.
"""

import numpy as np

from colorjax.data.procedural.palette import hsv
from colorjax.data.procedural.subject import Subject, View
from colorjax.data.procedural.surface import Bump, Hit, height, nose
from colorjax.data.procedural.textures import blend, clouds, noise, step


def spot(x: np.ndarray, y: np.ndarray, sx: float, sy: float) -> np.ndarray:
    """A soft patch of the given size around the origin."""
    return np.exp(-((x / sx) ** 2 + (y / sy) ** 2))


def complexion(subject: Subject, view: View, hit: Hit) -> np.ndarray:
    """The albedo of the skin, planar: blood in cheeks and nose, blotches, freckles, stubble."""
    rng = np.random.default_rng(subject.texture_seed)
    size = hit.x.shape[0]
    side = np.abs(hit.x)
    blood = 0.55 * spot(side - 0.36, hit.y + 0.28, 0.2, 0.17)
    blood += 0.6 * spot(hit.x, hit.y + subject.nose_length, 0.12, 0.1)
    blood += 0.25 * spot(hit.x, hit.y + 0.9, 0.2, 0.12)
    blood += 0.10 * noise(rng, size, 7)
    skin = blend(subject.skin, subject.flush, np.clip(blood, 0, 1))
    tone = 1 + 0.025 * clouds(rng, size, 16, 2)
    tired = spot(side - subject.eye_x + 0.03, hit.y + 0.09, 0.13, 0.05)
    skin = skin * (tone - (0.12 + 0.15 * subject.age) * tired)
    if subject.freckles:
        specks = step(1.0, 0.5, noise(rng, size, 40)) * spot(side - 0.2, hit.y + 0.22, 0.4, 0.28)
        skin = skin * (
            1 - subject.freckles * specks * np.array([0.2, 0.34, 0.42], np.float32)[:, None, None]
        )
    if subject.beard:
        skin = blend(skin, _beard_colour(subject, hit, rng), _beard_cover(subject, hit, rng))
    return skin


def _beard_colour(subject: Subject, hit: Hit, rng: np.random.Generator) -> np.ndarray:
    hairs = 0.9 + 0.16 * noise(rng, hit.x.shape[0], 40, 56)
    return (subject.hair * 0.6 + subject.brows * 0.4)[:, None, None] * hairs


def _beard_cover(subject: Subject, hit: Hit, rng: np.random.Generator) -> np.ndarray:
    side = np.abs(hit.x)
    ragged = 0.025 * noise(rng, hit.x.shape[0], 20)
    # From the sideburns down along the jaw, and around the mouth.
    line = subject.mouth_y + 0.15 + 1.3 * np.maximum(side - 0.3, 0)
    jaw = step(0, 0.12, np.minimum(line, -0.05) - hit.y + ragged)
    bare = spot(hit.x, hit.y - subject.mouth_y + 0.01, subject.mouth_width * 0.95, 0.055)
    return jaw * (1 - np.clip(1.4 * bare, 0, 1)) * (0.08 + 0.85 * subject.beard)


def creases(subject: Subject, view: View, hit: Hit) -> np.ndarray:
    """How much light reaches hollows and folds, [size, size] in (0, 1]."""
    side = np.abs(hit.x)
    tip, smile = -subject.nose_length, max(view.smile, 0)
    fold_x = subject.nose_width + 0.05 + (tip + 0.05 - hit.y) * 0.55
    fold = np.exp(-(((side - fold_x) / 0.03) ** 2)) * spot(0 * side, hit.y - tip + 0.1, 1, 0.15)
    shade = 1 - 2.2 * hit.hollow - (0.10 + 0.14 * subject.age + 0.14 * smile) * fold
    nostril = spot(side - 0.5 * subject.nose_width, hit.y - tip + 0.045, 0.038, 0.022)
    wing = spot(side - 1.12 * subject.nose_width, hit.y - tip - 0.01, 0.025, 0.05)
    below = spot(hit.x, hit.y - tip + 0.075, 0.13, 0.03)
    shade = shade * (1 - 0.78 * nostril) * (1 - 0.3 * wing) * (1 - 0.22 * below)
    if subject.age > 0.5:
        lines = np.sin(hit.y * 52 + 1.5 * hit.x) * spot(hit.x, hit.y - 0.42, 0.35, 0.14)
        crow = np.sin(hit.y * 60) * spot(side - subject.eye_x - 0.2, hit.y, 0.05, 0.07)
        shade = shade - 0.13 * (subject.age - 0.4) * (lines + crow)
    return np.clip(shade, 0.08, 1.1)


def nose_shadow(subject: Subject, view: View, hit: Hit, turn: np.ndarray) -> np.ndarray:
    """1 where the nose stands between the skin and the lamp: one step along the ray of light."""
    light = turn.T @ view.light
    far = 0.14
    bumps = [Bump(b.height, b.x, b.y, b.sx * 0.85, b.sy) for b in nose(subject)]
    here = height(bumps, hit.x, hit.y)[0]
    there = height(bumps, hit.x + far * light[0], hit.y + far * light[1])[0]
    return step(0.035, 0.04, there - here - 0.45 * far * max(light[2], 0.1))


def eyes(
    subject: Subject, view: View, hit: Hit, pixel: float, image: np.ndarray, light: np.ndarray
) -> np.ndarray:
    """Lids, lashes and eyeballs over the shaded face, planar, in the light that falls on it."""
    side = np.abs(hit.x) - subject.eye_x
    u = side / subject.eye_width
    y = hit.y - subject.eye_tilt * 0.25 * side
    arch = np.maximum(1 - u * u, 0)
    # Rounder towards the nose on top, towards the temple below.
    open_ = subject.eye_height * (1 - 0.75 * view.squint)
    upper = open_ * 1.1 * arch * (1 - 0.25 * u)
    lower = -open_ * 0.75 * arch * (1 + 0.25 * u) + 0.012 * max(view.smile, 0)
    inside = step(0, pixel * 0.8, np.minimum(upper - y, y - lower)) * (np.abs(u) < 1) * hit.alpha
    dim = 1 - 0.5 * step(0.0, 0.03, 0.02 - (upper - y)) - 0.45 * np.abs(u)
    ball = _eyeball(subject, view, hit, pixel, (side, y), np.clip(dim, 0.2, 1) * light, light)
    image = blend(image, ball, inside)
    near = (np.abs(u) < 1.12) * hit.alpha
    lash = np.exp(-(((y - upper) / (0.014 if subject.feminine else 0.010)) ** 2)) * near
    crease = np.exp(-(((y - upper - 0.04) / 0.014) ** 2)) * near * np.clip(1.1 - u * u, 0, 1)
    rim = np.exp(-(((y - lower) / 0.010) ** 2)) * near
    dark = 1 - (0.85 if subject.feminine else 0.7) * lash * (arch > 0)
    return image * dark * (1 - 0.35 * crease) * (1 - 0.28 * rim * (arch > 0))


def _eyeball(
    subject: Subject,
    view: View,
    hit: Hit,
    pixel: float,
    place: tuple[np.ndarray, np.ndarray],
    shaded: np.ndarray,
    light: np.ndarray,
) -> np.ndarray:
    """White, iris, pupil and catch light; place is measured from the middle of either eye."""
    side, y = place
    white = np.array([0.46, 0.40, 0.37], np.float32)[:, None, None] * shaded
    # Both eyes look the same way, so on one of them it is towards the nose.
    gaze = np.sign(hit.x) * view.gaze[0]
    away = np.sqrt((side - gaze) ** 2 + (y - 0.008 - view.gaze[1]) ** 2)
    iris = subject.iris[:, None, None] * light * (1.35 - 12 * np.maximum(away - 0.025, 0))
    ball = blend(white, np.clip(iris, 0.004, 1), step(0, pixel * 0.7, 0.066 - away))
    ball = blend(ball, np.full(3, 0.008, np.float32), step(0, pixel * 0.7, 0.026 - away))
    towards_lamp = 0.033 * float(view.light[0])
    glint = spot(np.sign(hit.x) * (side - gaze) - towards_lamp, y - 0.03, 0.016, 0.016)
    return ball + 0.4 * glint * view.key[:, None, None]


def brows(subject: Subject, view: View, hit: Hit, skin: np.ndarray) -> np.ndarray:
    side = np.abs(hit.x)
    along = (side - subject.eye_x + 0.01) / (subject.eye_width + 0.055)
    lift = 0.02 * view.gape / 0.05 - 0.01 * max(-view.smile, 0)
    arc = subject.brow_height + min(lift, 0.04) + 0.034 * (0.4 - (along - 0.35) ** 2)
    thick = subject.brow_weight * np.clip(1.15 - 0.45 * along, 0.3, 2)
    rng = np.random.default_rng(subject.texture_seed + 1)
    hairs = 0.85 + 0.12 * noise(rng, hit.x.shape[0], 40, 50)
    cover = np.exp(-(((hit.y - arc) / thick) ** 2)) * step(0, 0.12, 1 - np.abs(along)) * hairs
    return blend(skin, subject.brows, np.clip(cover * 0.85, 0, 1))


def mouth(subject: Subject, view: View, hit: Hit, pixel: float, skin: np.ndarray) -> np.ndarray:
    """The albedo with lips, teeth and the dark between them."""
    wide = subject.mouth_width * (1 + 0.18 * view.smile)
    u = hit.x / wide
    arch = np.maximum(1 - u * u, 0)
    y = hit.y - subject.mouth_y - 0.045 * view.smile * (u * u - 0.4)
    bow = 0.72 + 0.28 * np.cos(u * 5.0) * (1 - u * u)
    gap = view.gape * np.sqrt(arch)
    upper = gap + subject.lip_fullness * 0.85 * arch**0.8 * (0.55 + 0.45 * bow)
    upper -= 0.012 * spot(u, 0 * u, 0.16, 1)
    lower = -gap - subject.lip_fullness * 1.15 * arch**0.75
    inside = (np.abs(u) < 1) * step(0, pixel * 1.1, np.minimum(upper - y, y - lower))
    paint = subject.lips if view.lipstick is None else view.lipstick
    ridges = 1 + 0.08 * np.sin(hit.x * 150)
    lips = paint[:, None, None] * np.where(y > 0, np.float32(0.80), np.float32(1)) * ridges
    face = blend(skin, lips, inside * (0.9 if view.lipstick is not None else 0.88))
    between = step(0, pixel, gap - np.abs(y)) * (np.abs(u) < 1) * (view.gape > 0.004)
    teeth = np.array([0.80, 0.74, 0.64], np.float32)[:, None, None] * (1 - 0.75 * np.abs(u))
    teeth = teeth * (0.9 + 0.1 * np.cos(hit.x * 95))
    dark = blend(hsv(0.0, 0.75, 0.2), teeth, step(0, pixel, y + gap * 0.35))
    face = blend(face, dark, between)
    line = np.exp(-((y / 0.011) ** 2)) * (np.abs(u) < 1.03) * (1 - between)
    return face * (1 - 0.62 * line)
