"""Smooth noise, soft edges and mixtures of colours.

Images are planar, [3, size, size] float32 in linear light. The frame spans x to the right and y
upwards, both from −1 to 1, so textures do not depend on the resolution.
"""

import functools

import numpy as np

Rng = np.random.Generator


@functools.cache
def frame(size: int) -> tuple[np.ndarray, np.ndarray]:
    """The coordinates x and y of the pixel centres, [size, size] each."""
    centres = ((np.arange(size) + 0.5) * (2 / size) - 1).astype(np.float32)
    x, y = np.meshgrid(centres, -centres)
    return x, y


def enlarge(grid: np.ndarray, size: int) -> np.ndarray:
    """Quadratic B-spline through [..., rows + 2, columns + 2] to [..., size, size]."""
    for _ in range(2):  # along x, then along y; the rim of the grid lies outside the frame
        grid = grid.swapaxes(-1, -2)
        position = (np.arange(size) + 0.5) * ((grid.shape[-2] - 2) / size)
        i = position.astype(np.int32)
        f = (position - i).astype(np.float32)[:, None]
        weights = 0.5 * (1 - f) ** 2, 0.75 - (f - 0.5) ** 2, 0.5 * f**2
        a, b, c = (grid.take(i + k, -2) * weight for k, weight in enumerate(weights))
        grid = a + b + c
    return grid


def noise(rng: Rng, size: int, rows: int, columns: int | None = None) -> np.ndarray:
    """Smooth noise of unit deviation with rows × columns cells, [size, size]."""
    shape = rows + 2, (columns or rows) + 2
    # The mean square of the spline's weights is 0.55 along each axis.
    return enlarge(rng.standard_normal(shape, dtype=np.float32) * (1 / 0.55), size)


def clouds(rng: Rng, size: int, cells: int) -> np.ndarray:
    """Fractal noise of unit deviation: three octaves, each with half the amplitude of the last."""
    low, middle, high = (noise(rng, size, cells << k) for k in range(3))
    return 0.87 * (low + 0.5 * middle + 0.25 * high)


def step(edge: float, width: float, value: np.ndarray) -> np.ndarray:
    """Rises smoothly from 0 to 1 where value crosses edge, within ± width."""
    t = np.clip((value - (edge - width)) * (0.5 / width), 0, 1)
    return t * t * (3 - 2 * t)


def spot(x: np.ndarray, y: np.ndarray | float, sx: float, sy: float = 1.0) -> np.ndarray:
    """A Gaussian around the origin, 1 at its peak."""
    return np.exp(-((x / sx) ** 2 + (y / sy) ** 2))


def blend(low: np.ndarray, high: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Mixes colours [3] or planar images by share [size, size], giving a planar image."""
    low, high = (c[:, None, None] if c.ndim == 1 else c for c in (low, high))
    return low + (high - low) * share
