"""How much hints help: the true colours of a few places, given to a model and to a baseline.

The baseline spreads the same hints with the guided filter alone: He, Sun and Tang, "Guided image
filtering" (2010), with L as the guide.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from colorjax.display import to_float
from colorjax.evaluation import steps
from colorjax.evaluation.evaluate import Batches, images_of
from colorjax.lab import rgb_to_lab
from colorjax.models.hint_squares import show_squares
from colorjax.models.variables import Predictor
from colorjax.parallel.devices import compile_eval_step

COUNTS = (0, 1, 3, 10, 100)
# Side of a hint in pixels of an image with this side.
SIDE, OF = 5, 128
# Of the guided filter: ε for a guide in [0, 1], and the radii as shares of the image's side.
EPSILON = 1e-3
RADII = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)
# A pixel is reached by a radius if the filtered mask is more than this share of what one hint gives
# on average in a window.
REACHED = 0.5
BASELINE = "guided filter alone"


@jax.jit
def place(image: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Hints at places that are uniform over the image and the same in every evaluation.

    Args:
      image: [N, H, W, 3] uint8 sRGB.
      index: [N] image indices, which determine the places.

    Returns:
      l: [N, H, W, 1].
      hints: [N, K, H, W, 3] for COUNTS, see `models.variables.Predictor`: the mean a*b* of squares
        and 1; 0 elsewhere. Fewer hints are the first of more. Where squares overlap, the mean of
        their colours.
    """
    lab = rgb_to_lab(to_float(image))
    _, height, width, _ = lab.shape
    side = _side(height)
    numbers = jnp.arange(COUNTS[-1])

    def of_image(ab: jax.Array, index: jax.Array) -> jax.Array:
        rng = jax.random.key(0)
        ends = jnp.array([[height - side + 1, width - side + 1]])
        corners = jax.random.randint(jax.random.fold_in(rng, index), (len(numbers), 2), 0, ends)

        def first(count: jax.Array) -> jax.Array:
            sides = jnp.full(len(numbers), side)
            return show_squares(ab, corners, sides, numbers < count)

        return jax.lax.map(first, jnp.array(COUNTS))

    return lab[..., :1], jax.vmap(of_image)(lab[..., 1:], index)


def _side(length: int) -> int:
    """Of a hint, as the Colorizer makes it for a model that was trained at this size: odd."""
    return 2 * (round(SIDE * length / OF) // 2) + 1


def guided_filter(guide: np.ndarray, x: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """Makes x, around each pixel, a linear function of the guide (He et al. 2010).

    Args:
      guide: [H, W].
      x: [H, W, C].
      radius: windows have sides of 2 · radius + 1 pixels, without what is outside the image.
      epsilon: the larger, the smoother.

    Returns:
      [H, W, C] float64.
    """
    side = (2 * radius + 1, 2 * radius + 1)

    def box(y: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(y, -1, side, normalize=False, borderType=cv2.BORDER_CONSTANT)

    guide, x = guide.astype(np.float64), x.astype(np.float64)
    area = box(np.ones_like(guide))
    mean = box(guide) / area
    variance = box(guide**2) / area - mean**2
    mean_x = box(x) / area[..., None]
    covariance = box(guide[..., None] * x) / area[..., None] - mean[..., None] * mean_x
    slope = covariance / (variance + epsilon)[..., None]
    offset = mean_x - slope * mean[..., None]
    return (box(slope) * guide[..., None] + box(offset)) / area[..., None]


def spread(l: np.ndarray, hints: np.ndarray) -> np.ndarray:
    """Spreads hints with the guided filter alone.

    The filtered a*b* of the hints is divided by their filtered mask. The radius grows until every
    pixel is reached: each takes the smallest one that reaches it. The colours stay within those of
    the hints; grey without hints.

    Args:
      l: [H, W] lightness in [0, 100].
      hints: [H, W, 3], a*b* and a mask.

    Returns:
      [H, W, 2] a*b*.
    """
    given = hints[hints[..., 2] > 0][:, :2]
    if not len(given):
        return np.zeros_like(hints[..., :2])
    ab = np.tile(given.mean(axis=0), (*l.shape, 1))
    missing = np.ones(l.shape, bool)
    for radius in (max(2, round(share * len(l))) for share in RADII):
        found = guided_filter(l / 100, hints, radius, EPSILON)
        one_hint = _side(len(l)) ** 2 / (2 * radius + 1) ** 2
        reached = missing & (found[..., 2] > REACHED * min(1.0, one_hint))
        ab[reached] = found[reached][:, :2] / found[reached][:, 2:]
        missing &= ~reached
        if not missing.any():
            break
    return np.clip(ab, given.min(axis=0), given.max(axis=0)).astype(np.float32)


def judge(
    models: Mapping[str, tuple[Predictor, Any]], batches: Batches
) -> dict[str, dict[str, list[float]]]:
    """Evaluates models of one size with hints.

    Args:
      models: that take hints, by name: predictors and their variables, replicated.
      batches: of images of their size, see `evaluate.score`.

    Returns:
      For each name and BASELINE: delta_e and psnr, the means over images for each of COUNTS.
    """
    see = compile_eval_step(steps.seen_step, in_axes=(0,))
    networks = {
        name: (compile_eval_step(predict, in_axes=(None, 0, 0)), variables)
        for name, (predict, variables) in models.items()
    }
    quality = compile_eval_step(steps.quality_step, in_axes=(0,))

    def step(batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        values: dict[str, list[Any]] = {name: [] for name in (*models, BASELINE)}
        l = see({"image": batch["image"]})
        for hints, ab in zip(batch["hints"], batch["spread"], strict=True):
            values[BASELINE].append(quality({"image": batch["image"], "ab": ab}))
            for name, (network, variables) in networks.items():
                ab = network(variables, l, hints)
                values[name].append(quality({"image": batch["image"], "ab": ab}))
        return values

    parts = list(images_of(step, _with_hints(batches)))
    return {
        name: {
            key: [
                float(np.concatenate([part[name][i][key] for part in parts]).mean(dtype=np.float64))
                for i in range(len(COUNTS))
            ]
            for key in ("delta_e", "psnr")
        }
        for name in parts[0]
    }


def _with_hints(batches: Batches) -> Iterator[dict[str, Any]]:
    """Adds to each batch, for each of COUNTS, the hints and the baseline's a*b*."""
    for batch in batches:
        l, hints = map(np.asarray, place(batch["image"], batch["index"]))
        pairs = [zip(l[..., 0], hints[:, i], strict=True) for i in range(len(COUNTS))]
        yield {
            **batch,
            "hints": [hints[:, i] for i in range(len(COUNTS))],
            "spread": [np.stack([spread(*pair) for pair in of]) for of in pairs],
        }
