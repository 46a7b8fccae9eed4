"""Clothes: weaves and garments, each with a texture that betrays its colour.

A garment is drawn on coordinates of the chest: x = 0 is the middle of the body, y = 0 the pit of
the neck, in half heads, y upwards.
"""

import numpy as np

from colorjax.data.procedural.palette import hsv
from colorjax.data.procedural.textures import Rng, blend, noise, step


def _tone(rng: Rng, hue: float, saturation: float, value: float) -> np.ndarray:
    return hsv(
        hue + rng.normal(0, 0.012),
        float(np.clip(saturation * rng.normal(1, 0.12), 0, 0.95)),
        float(np.clip(value * rng.normal(1, 0.15), 0.03, 0.95)),
    )


def denim(rng: Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Indigo with the diagonal of a twill, and worn patches."""
    twill = np.sin((x + y) * 95)
    worn = noise(rng, x.shape[0], 6)
    return blend(
        _tone(rng, 0.605, 0.62, 0.30),
        _tone(rng, 0.585, 0.38, 0.62),
        np.clip(0.42 + 0.16 * twill + 0.14 * worn, 0, 1),
    )


def jersey(rng: Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A plain T-shirt: white, black, grey or any dye."""
    dyes = [(0.11, 0.03, 0.9), (0.6, 0.1, 0.1), (0.6, 0.04, 0.45), (rng.random(), 0.6, 0.5)]
    dye = _tone(rng, *dyes[rng.choice(4, p=[0.3, 0.2, 0.15, 0.35])])
    return dye[:, None, None] * (1 + 0.08 * noise(rng, x.shape[0], 9))


def knit(rng: Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Ribs and stitches of wool: oatmeal, maroon, navy or moss."""
    wools = [(0.10, 0.28, 0.68), (0.985, 0.62, 0.36), (0.62, 0.5, 0.26), (0.24, 0.4, 0.36)]
    wool = _tone(rng, *wools[rng.choice(4, p=[0.4, 0.25, 0.2, 0.15])])
    ribs = np.sin(x * 48) * (0.7 + 0.3 * np.sin(y * 70))
    return wool[:, None, None] * (0.85 + 0.28 * ribs)


def plaid(rng: Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A red and black (seldom: blue) check of flannel."""
    bands = 0.5 * (np.sin(x * 19) > 0) + 0.5 * (np.sin(y * 19 + 1) > 0)
    dye = _tone(rng, 0.99, 0.75, 0.56) if rng.random() < 0.75 else _tone(rng, 0.6, 0.6, 0.5)
    return blend(dye, _tone(rng, 0.6, 0.2, 0.08), bands.astype(np.float32) * 0.92)


def stripes(rng: Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A sailor's shirt: navy across white."""
    bands = step(0, 0.25, np.sin(y * rng.uniform(26, 40)))
    return blend(_tone(rng, 0.11, 0.04, 0.88), _tone(rng, 0.63, 0.55, 0.24), bands)


def poplin(rng: Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The smooth cloth of shirts: white or pale blue."""
    dye = _tone(rng, 0.6, 0.05, 0.9) if rng.random() < 0.6 else _tone(rng, 0.6, 0.26, 0.82)
    return np.broadcast_to(dye[:, None, None], (3, *x.shape))


def suit(rng: Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Lapels of dark wool over a shirt, mostly with a tie."""
    wool = _tone(rng, 0.625, rng.uniform(0.1, 0.45), 0.17)
    coat = wool[:, None, None] * (1 + 0.18 * noise(rng, x.shape[0], 50))
    opening = np.abs(x) - 0.30 - 0.42 * y
    lapel = step(0, 0.02, 0.05 - np.abs(opening - 0.17))
    coat = coat * (1 - 0.4 * lapel)
    shirt = blend(poplin(rng, x, y), coat, step(0, 0.025, opening))
    if rng.random() < 0.3:
        return shirt
    silk = _tone(rng, float(rng.choice([0.98, 0.62, 0.36])), 0.65, 0.38)
    silk = silk[:, None, None] * (1 + 0.35 * np.sin((x * 0.8 + y) * 55))
    tie = step(0, 0.02, 0.075 - 0.06 * y - np.abs(x)) * step(0, 0.02, -y)
    return blend(shirt, silk, tie)


def leather(rng: Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Black or brown, with soft highlights along creases and a zip."""
    hide = _tone(rng, 0.6, 0.12, 0.1) if rng.random() < 0.6 else _tone(rng, 0.06, 0.6, 0.3)
    crease = np.clip(noise(rng, x.shape[0], 9), 0, 2) ** 2
    coat = hide[:, None, None] + 0.06 * crease
    return coat + 0.3 * step(0, 0.012, 0.012 - np.abs(x))


def flowers(rng: Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Small warm blossoms with green leaves on a pale or dark ground."""
    size = x.shape[0]
    ground = _tone(rng, 0.11, 0.1, 0.85) if rng.random() < 0.5 else _tone(rng, 0.63, 0.4, 0.2)
    leaf = step(0.9, 0.2, noise(rng, size, 20))
    bloom = step(0.9, 0.2, noise(rng, size, 14))
    cloth = blend(ground, _tone(rng, 0.31, 0.5, 0.38), leaf)
    return blend(cloth, _tone(rng, float(rng.choice([0.97, 0.02, 0.11])), 0.6, 0.85), bloom)


_GARMENTS = [
    (denim, 0.13),
    (jersey, 0.25),
    (knit, 0.15),
    (plaid, 0.07),
    (stripes, 0.06),
    (poplin, 0.09),
    (suit, 0.12),
    (leather, 0.05),
    (flowers, 0.05),
]


def garment(rng: Rng, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, bool]:
    """A random garment.

    Args:
      rng: its choice and its dyes.
      x: [size, size], coordinates on the chest in half heads.
      y: [size, size].

    Returns:
      The cloth, planar [3, size, size] in linear light, and whether it has a shirt's collar.
    """
    shares = np.array([share for _, share in _GARMENTS])
    kind = int(rng.choice(len(_GARMENTS), p=shares / shares.sum()))
    make = _GARMENTS[kind][0]
    cloth = np.clip(make(rng, x, y), 0.002, 0.95).astype(np.float32)
    return cloth, make in (denim, plaid, poplin, suit, leather)
