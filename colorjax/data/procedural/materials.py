"""Backgrounds and clothes: patterns that run from a dark colour to a light one.

Most materials have their own colours (leaves are green, bricks red, denim blue), which can be
inferred from the pattern in grey. Painted walls, curtains and dyed cloth may have any hue.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from colorjax.data.procedural.palette import hsv
from colorjax.data.procedural.textures import Rng, blend, clouds, noise, step

ANY_HUE = np.nan


class Material(NamedTuple):
    probability: float
    # (rng, x, y) → [size, size], 0 where the material is dark, 1 where it is light.
    pattern: Callable[[Rng, np.ndarray, np.ndarray], np.ndarray]
    dark: tuple[float, float, float]  # hue in turns, saturation and value of sRGB
    light: tuple[float, float, float]


def _sky(rng: Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    haze = np.clip(0.42 - 0.5 * y, 0, 1)
    return haze + (1 - haze) * step(rng.uniform(0.1, 1.1), 0.7, clouds(rng, len(x), 3))


def _leaves(rng: Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    leaves = clouds(rng, len(x), int(rng.integers(6, 15)))
    return np.clip(0.42 + 0.28 * leaves + 0.2 * noise(rng, len(x), 3), 0.02, 1.2) ** 2


def _boards(rng: Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    position = x * rng.uniform(1.5, 4) + rng.uniform(0, 1)
    tint = 0.25 * np.sin(np.floor(position) * 12.9898 + rng.uniform(0, 6))
    rings = np.sin((position + 0.12 * noise(rng, len(x), 3, 6) + 0.07 * y) * 26)
    joint = step(0.485, 0.02, np.abs(position % 1 - 0.5))
    return (0.5 + tint + 0.18 * noise(rng, len(x), 2, 48) + 0.1 * rings) * (1 - joint)


def _bricks(rng: Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Dark bricks in light mortar."""
    rows = rng.uniform(4, 9)
    v = y * rows + rng.uniform(0, 1)
    u = x * rows * 0.42 + 0.5 * (np.floor(v) % 2)
    tint = 0.2 + 0.13 * np.sin(np.floor(v) * 78.233 + np.floor(u) * 37.719)
    bed, head = np.abs(v % 1 - 0.5), np.abs(u % 1 - 0.5)
    mortar = np.maximum(step(0.41, 0.05, bed), step(0.465, 0.025, head))
    return np.maximum(tint + 0.09 * clouds(rng, len(x), 15), mortar)


def _folds(rng: Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    folds = np.sin((x + 0.12 * noise(rng, len(x), 1, 6)) * rng.uniform(14, 24))
    return 0.5 + 0.45 * folds + 0.06 * noise(rng, len(x), 40)


def _smooth(rng: Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    slope = x * rng.uniform(-0.3, 0.3) + y * rng.uniform(-0.05, 0.25)
    return 0.75 + slope + 0.06 * noise(rng, len(x), 6)


def _twill(rng: Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return 0.42 + 0.16 * np.sin((x + y) * 95) + 0.14 * noise(rng, len(x), 6)


BACKGROUNDS = (
    Material(0.19, _sky, (0.585, 0.57, 0.70), (0.60, 0.06, 0.91)),
    Material(0.24, _leaves, (0.31, 0.50, 0.16), (0.225, 0.54, 0.66)),
    Material(0.13, _boards, (0.06, 0.64, 0.24), (0.085, 0.52, 0.66)),
    Material(0.12, _bricks, (0.02, 0.62, 0.42), (0.10, 0.14, 0.66)),
    Material(0.11, _smooth, (0.09, 0.28, 0.42), (0.10, 0.20, 0.88)),
    Material(0.05, _smooth, (0.60, 0.34, 0.22), (0.60, 0.30, 0.62)),
    Material(0.07, _smooth, (ANY_HUE, 0.40, 0.45), (ANY_HUE, 0.34, 0.80)),
    Material(0.09, _folds, (ANY_HUE, 0.70, 0.16), (ANY_HUE, 0.62, 0.56)),
)
CLOTHES = (
    Material(0.15, _twill, (0.605, 0.62, 0.30), (0.585, 0.38, 0.62)),
    Material(0.15, _smooth, (0.60, 0.04, 0.60), (0.11, 0.04, 0.92)),
    Material(0.12, _smooth, (0.62, 0.30, 0.08), (0.62, 0.25, 0.18)),
    Material(0.10, _smooth, (0.60, 0.30, 0.60), (0.60, 0.24, 0.84)),
    Material(0.22, _smooth, (ANY_HUE, 0.65, 0.35), (ANY_HUE, 0.60, 0.58)),
    Material(0.12, _folds, (0.09, 0.34, 0.44), (0.10, 0.28, 0.72)),
    Material(0.14, _folds, (0.985, 0.66, 0.20), (0.985, 0.60, 0.42)),
)


def draw(rng: Rng, materials: tuple[Material, ...], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """One of the materials in a random shade: planar, from coordinates x and y [size, size]."""
    material = materials[rng.choice(len(materials), p=[m.probability for m in materials])]
    any_hue, (turn, saturation, value) = rng.random(), rng.normal(0, (0.02, 0.18, 0.12))
    dark, light = (
        hsv(turn + (any_hue if np.isnan(h) else h), s + s * saturation, v + v * value)
        for h, s, v in (material.dark, material.light)
    )
    colours = blend(dark, light, material.pattern(rng, x, y))
    return np.clip(colours, 0.001, 1.2).astype(np.float32)
