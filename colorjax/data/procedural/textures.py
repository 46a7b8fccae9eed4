"""What lies around a face: backgrounds and cloth, each material with a texture that betrays it.

Foliage has leaves and is green, bricks have joints and are red, denim has a twill and is blue: the
colour of most materials varies little and can be guessed from their structure in grey. Only some
dyed cloth and painted walls are free.

Arrays are [height, width] or planar [3, height, width] float32 in linear light. The frame spans
x to the right and y upwards, both from −1 to 1, so a texture does not depend on the resolution.
"""

import functools
from collections.abc import Callable

import numpy as np

from colorjax.data.procedural.palette import hsv

Rng = np.random.Generator


@functools.cache
def frame(size: int) -> tuple[np.ndarray, np.ndarray]:
    """The x and y of the pixels' centres, each [size, size]."""
    centres = ((np.arange(size) + 0.5) * (2 / size) - 1).astype(np.float32)
    x, y = np.meshgrid(centres, -centres)
    return x, y


@functools.cache
def _lattice_steps(size: int, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel the lattice point before it and the smoothed way to the next, [size]."""
    position = (np.arange(size) + 0.5) * (cells / size)
    index = position.astype(np.int32)
    fraction = (position - index).astype(np.float32)
    return index, fraction * fraction * (3 - 2 * fraction)


def noise(rng: Rng, size: int, rows: int, columns: int | None = None) -> np.ndarray:
    """Smooth value noise of about unit deviation with so many cells down and across."""
    columns = columns or rows
    lattice = rng.standard_normal((rows + 1, columns + 1), dtype=np.float32) * 1.35
    i, down = _lattice_steps(size, rows)
    j, along = _lattice_steps(size, columns)
    lines = lattice[i] + (lattice[i + 1] - lattice[i]) * down[:, None]
    left = lines[:, j]
    return left + (lines[:, j + 1] - left) * along


def clouds(rng: Rng, size: int, cells: int, octaves: int = 3) -> np.ndarray:
    """Fractal noise of about unit deviation; each octave has half the amplitude of the last."""
    total = noise(rng, size, cells)
    for k in range(1, octaves):
        total = total + noise(rng, size, cells << k) * 0.5**k
    return total * 0.87


def blur(image: np.ndarray, deviation: float) -> np.ndarray:
    """Gaussian blur of planar images [..., size, size]; the deviation in pixels.

    Sums of shifted images: matrix products would wake BLAS's threads for so little.
    """
    radius = max(int(2.2 * deviation + 0.5), 1)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(deviation, 0.1)) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (-1, -2):
        size = image.shape[axis]
        pad = [(0, 0)] * (image.ndim + axis) + [(radius, radius)] + [(0, 0)] * (-1 - axis)
        padded = np.pad(image, pad, mode="edge")
        moved = (
            padded[..., k : k + size] if axis == -1 else padded[..., k : k + size, :]
            for k in range(len(weights))
        )
        image = functools.reduce(np.add, (w * part for w, part in zip(weights, moved, strict=True)))
    return image


def step(edge: float, width: float, value: np.ndarray) -> np.ndarray:
    """Rises smoothly from 0 to 1 where value crosses edge, within ± width."""
    t = np.clip((value - (edge - width)) * (0.5 / width), 0, 1)
    return t * t * (3 - 2 * t)


def blend(low: np.ndarray, high: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Colours (or images) low and high mixed by share [height, width], planar [3, ...]."""
    low, high = (c[:, None, None] if c.ndim == 1 else c for c in (low, high))
    return low + (high - low) * share


def _colour(rng: Rng, hue: float, saturation: float, value: float, spread: float = 1) -> np.ndarray:
    """A colour near the given one; spread scales the deviation."""
    dh, ds, dv = rng.normal(0, spread, 3)
    return hsv(
        hue + 0.012 * dh,
        float(np.clip(saturation * (1 + 0.12 * ds), 0, 1)),
        float(np.clip(value * (1 + 0.12 * dv), 0.03, 0.97)),
    )


def _fraction(value: np.ndarray) -> np.ndarray:
    return value - np.floor(value)


def _sky(rng: Rng, size: int) -> np.ndarray:
    _, y = frame(size)
    blue = _colour(rng, 0.585, 0.62, 0.72)
    haze = _colour(rng, 0.56, 0.22, 0.88)
    sky = blend(haze, blue, np.clip(0.5 + 0.6 * y, 0, 1))
    cover = step(rng.uniform(0.1, 1.1), 0.7, clouds(rng, size, 3))
    return blend(sky, np.array([0.80, 0.80, 0.82], np.float32), cover * 0.9)


def _foliage(rng: Rng, size: int) -> np.ndarray:
    """Leaves in sun and shade, at times with the sky through the gaps."""
    leaves = clouds(rng, size, int(rng.integers(6, 15)), 3)
    masses = noise(rng, size, 3)
    light = np.clip(0.42 + 0.28 * leaves + 0.2 * masses, 0.02, 1.2)
    dark, sunny = _colour(rng, 0.31, 0.5, 0.16), _colour(rng, 0.225, 0.52, 0.66)
    green = blend(dark, sunny, light * light)
    gaps = step(rng.uniform(1.2, 2.4), 0.4, masses + 0.5 * leaves)
    return blend(green, np.array([0.62, 0.72, 0.80], np.float32), gaps)


def _grass(rng: Rng, size: int) -> np.ndarray:
    """A meadow with its blades below, far trees and a pale sky above."""
    _, y = frame(size)
    blades = noise(rng, size, 14, 60) * 0.6 + noise(rng, size, 4)
    meadow = blend(
        _colour(rng, 0.25, 0.65, 0.28), _colour(rng, 0.21, 0.58, 0.66), 0.5 + 0.2 * blades
    )
    horizon = rng.uniform(-0.1, 0.5)
    trees = blend(
        _colour(rng, 0.33, 0.5, 0.14),
        _colour(rng, 0.28, 0.5, 0.36),
        np.clip(0.5 + 0.3 * clouds(rng, size, 7, 2), 0, 1),
    )
    scene = blend(meadow, trees, step(horizon, 0.05, y))
    top = horizon + 0.3 + 0.08 * noise(rng, size, 1, 9)
    return blend(scene, _colour(rng, 0.57, 0.25, 0.86), step(0, 0.06, y - top))


def _wood(rng: Rng, size: int) -> np.ndarray:
    """Boards with grain, upright or lying."""
    x, y = frame(size)
    boards = rng.uniform(1.5, 4)
    position = x * boards + rng.uniform(0, 1)
    board = np.floor(position)
    tint = np.sin(board * 12.9898 + rng.uniform(0, 6)) * 0.25
    grain = noise(rng, size, 2, 48) * 0.5
    rings = np.sin((x * boards + 0.12 * noise(rng, size, 3, 6) + 0.07 * y) * 26) * 0.35
    shade = np.clip(0.5 + tint + 0.35 * grain + 0.3 * rings, 0, 1.2)
    wood = blend(_colour(rng, 0.06, 0.62, 0.30), _colour(rng, 0.085, 0.5, 0.66), shade)
    joint = step(0.485, 0.02, np.abs(_fraction(position) - 0.5))
    wood = wood * (1 - 0.75 * joint)
    return wood if rng.random() < 0.6 else wood.transpose(0, 2, 1)


def _brick(rng: Rng, size: int) -> np.ndarray:
    x, y = frame(size)
    rows = rng.uniform(4, 9)
    v = y * rows + rng.uniform(0, 1)
    course = np.floor(v)
    u = x * rows * 0.42 + 0.5 * (course % 2) + rng.uniform(0, 1)
    tint = np.sin(course * 78.233 + np.floor(u) * 37.719) * 0.3
    face = np.clip(0.5 + tint + 0.22 * clouds(rng, size, 20, 2), 0, 1)
    wall = blend(_colour(rng, 0.02, 0.6, 0.34), _colour(rng, 0.035, 0.58, 0.62), face)
    gap = np.maximum(
        step(0.41, 0.05, np.abs(_fraction(v) - 0.5)), step(0.465, 0.025, np.abs(_fraction(u) - 0.5))
    )
    return blend(wall, _colour(rng, 0.1, 0.14, 0.66), gap)


def _wall(rng: Rng, size: int) -> np.ndarray:
    """Smooth indoor paint: mostly cream and beige, sometimes a pastel; a frame or an edge."""
    x, y = frame(size)
    hues = [(0.10, 0.22, 0.84), (0.085, 0.30, 0.70), (0.12, 0.14, 0.9), (rng.random(), 0.2, 0.75)]
    paint = _colour(rng, *hues[rng.choice(4, p=[0.4, 0.25, 0.2, 0.15])])
    side = x * rng.uniform(-0.3, 0.3) + y * rng.uniform(-0.05, 0.25)
    wall = paint[:, None, None] * (0.8 + side + 0.03 * noise(rng, size, 4))
    if rng.random() < 0.35:  # a door frame, or a cupboard of wood
        edge = float(rng.choice([-1, 1])) * x - rng.uniform(0.45, 0.9)
        post = _colour(rng, 0.075, 0.55, 0.42)[:, None, None] * (1 + 0.12 * noise(rng, size, 2, 40))
        wall = blend(wall, post, step(0, 0.02, edge))
    return wall


def _studio(rng: Rng, size: int) -> np.ndarray:
    """A mottled photographer's backdrop, brighter behind the head: slate, brown or grey."""
    x, y = frame(size)
    tones = [(0.60, 0.30, 0.42), (0.07, 0.35, 0.40), (0.58, 0.06, 0.55)]
    tone = _colour(rng, *tones[rng.choice(3, p=[0.45, 0.35, 0.2])])
    glow = np.exp(-((x - rng.uniform(-0.4, 0.4)) ** 2 + y * y) * 0.9)
    mottle = clouds(rng, size, 4, 3)
    return tone[:, None, None] * np.clip(0.45 + 0.9 * glow + 0.16 * mottle, 0.1, 3)


def _night(rng: Rng, size: int) -> np.ndarray:
    """A street at night: discs of warm lamps, out of focus, on deep blue."""
    x, y = frame(size)
    scene = _colour(rng, 0.63, 0.55, 0.16)[:, None, None] * (1 + 0.4 * noise(rng, size, 3))
    for _ in range(int(rng.integers(7, 14))):
        cx, cy, r = rng.uniform(-1.1, 1.1), rng.uniform(-0.6, 1.1), rng.uniform(0.06, 0.17)
        lamp = _colour(rng, 0.085, 0.7, 0.93) if rng.random() < 0.8 else _colour(rng, 0, 0.8, 0.8)
        disc = step(0, 0.025, r - np.sqrt((x - cx) ** 2 + (y - cy) ** 2))
        scene = scene + lamp[:, None, None] * disc * rng.uniform(0.3, 0.9)
    return scene


def _sunset(rng: Rng, size: int) -> np.ndarray:
    _, y = frame(size)
    low, high = _colour(rng, 0.07, 0.68, 0.95), _colour(rng, 0.68, 0.33, 0.48)
    bars = 0.16 * noise(rng, size, 12, 3)
    sky = blend(low, high, np.clip(0.45 + 0.6 * y + bars, 0, 1))
    horizon = rng.uniform(-0.7, 0.0) + 0.06 * noise(rng, size, 1, 8)
    return blend(_colour(rng, 0.7, 0.3, 0.12), sky, step(0, 0.03, y - horizon))


def _sea(rng: Rng, size: int) -> np.ndarray:
    """Waves that grow towards the viewer under a clear sky."""
    _, y = frame(size)
    horizon = rng.uniform(-0.2, 0.5)
    waves = noise(rng, size, 40, 8) * 0.6 + noise(rng, size, 20, 5) * 0.5
    water = blend(
        _colour(rng, 0.56, 0.72, 0.30), _colour(rng, 0.51, 0.5, 0.62), 0.45 + 0.22 * waves
    )
    sky = blend(
        _colour(rng, 0.56, 0.15, 0.92), _colour(rng, 0.58, 0.5, 0.8), np.clip(y - horizon, 0, 1)
    )
    return blend(water, sky, step(horizon, 0.015, y))


def _books(rng: Rng, size: int) -> np.ndarray:
    """Shelves of spines, each its own colour, between brown boards."""
    x, y = frame(size)
    shelves, spines = rng.uniform(1.0, 1.8), 26
    row = np.floor(y * shelves + 0.3)
    slot = np.floor((x + 1) * spines / 2 + row * 5.3).astype(int) % 64
    covers = np.stack(
        [hsv(h, s, v) for h, s, v in rng.uniform([0, 0.2, 0.12], [1, 0.65, 0.7], (64, 3))]
    )
    spine = covers[slot].transpose(2, 0, 1) * (1 - 0.5 * step(0.4, 0.08, _books_gap(x, spines)))
    board = step(0.42, 0.02, np.abs(_fraction(y * shelves + 0.3) - 0.5))
    return blend(spine, _colour(rng, 0.07, 0.55, 0.36), board)


def _books_gap(x: np.ndarray, spines: int) -> np.ndarray:
    return np.abs(_fraction((x + 1) * spines / 2) - 0.5)


def _stone(rng: Rng, size: int) -> np.ndarray:
    """Rough concrete or plaster, close to grey."""
    rough = clouds(rng, size, 5, 4)
    return blend(_colour(rng, 0.10, 0.10, 0.38), _colour(rng, 0.11, 0.07, 0.68), 0.5 + 0.22 * rough)


def _curtain(rng: Rng, size: int) -> np.ndarray:
    """Heavy folds: wine red, or dark green."""
    x, _ = frame(size)
    folds = np.sin((x + 0.12 * noise(rng, size, 1, 6)) * rng.uniform(14, 24))
    dye = _colour(rng, 0.975, 0.72, 0.5) if rng.random() < 0.75 else _colour(rng, 0.38, 0.5, 0.35)
    return dye[:, None, None] * (0.55 + 0.42 * folds + 0.06 * noise(rng, size, 40))


_BACKGROUNDS: list[tuple[Callable[[Rng, int], np.ndarray], float]] = [
    (_sky, 0.13),
    (_foliage, 0.17),
    (_grass, 0.08),
    (_wood, 0.09),
    (_brick, 0.08),
    (_wall, 0.18),
    (_studio, 0.09),
    (_night, 0.04),
    (_sunset, 0.03),
    (_sea, 0.04),
    (_books, 0.03),
    (_stone, 0.02),
    (_curtain, 0.02),
]


def background(rng: Rng, size: int) -> np.ndarray:
    """A random background, planar [3, size, size] in linear light."""
    shares = np.array([share for _, share in _BACKGROUNDS])
    kind = int(rng.choice(len(_BACKGROUNDS), p=shares / shares.sum()))
    return np.clip(_BACKGROUNDS[kind][0](rng, size), 0.001, 1.2).astype(np.float32)
