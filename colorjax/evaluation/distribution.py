"""How good the distribution of a model is: its calibration, and the best of several answers."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from colorjax.display import displayed, to_float
from colorjax.evaluation.ciede2000 import ciede2000
from colorjax.evaluation.evaluate import Batches, images_of
from colorjax.evaluation.steps import Batch, seen_step
from colorjax.lab import AB_SCALE, rgb_to_lab
from colorjax.models import answers
from colorjax.models.color_bins import block_means, centers, mean_color
from colorjax.models.layers import Prediction
from colorjax.models.variables import generate
from colorjax.parallel import devices
from colorjax.parallel.devices import compile_eval_step

# Of the annealed means.
TEMPERATURES = (1.0, 0.7, 0.5, 0.38, 0.2)
# Probabilities of the sets of colours whose coverage is measured.
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SHOWN_LEVELS = (0.5, 0.9)
# Numbers of candidates.
COUNTS = (1, 2, 4, 8)
# By which the baseline moves the colours of the whole image, in Lab units.
MOVES = (4.0, 8.0, 16.0)
GROUPS = 10


def annealed(generator: nn.Module) -> Callable[[Any, jax.Array], jax.Array]:
    """(variables, L [N, H, W, 1]) -> the annealed means [N, T, H, W, 2] at TEMPERATURES."""

    def predict(variables: Any, l: jax.Array) -> jax.Array:
        prediction = generate(generator, variables, l)
        return jnp.stack([answers.answer(prediction, t) for t in TEMPERATURES], axis=1)

    return predict


def calibration_step(prediction: Prediction, batch: Batch) -> dict[str, jax.Array]:
    """Where the truth is in a predicted distribution.

    The truth is the bin that is nearest to the true a*b*, averaged over the pixels that the
    distribution is for. The smallest set of colours with at least the probability p contains it if
    the strictly likelier colours have less than p.

    Returns:
      For each pixel of the distribution, [N, h, w]: likelier, the probability of the colours that
      are likelier than the truth; uncertainty, see `answers.uncertainty`; error, the distance of
      the true a*b* from the mean colour. For each image: sets [N, L], the mean probability of the
      smallest sets with at least the probabilities LEVELS, which is more, as bins are not divided.
    """
    log_probabilities = answers.distribution(prediction).log_probabilities()
    count, height, width, _ = log_probabilities.shape
    ab = rgb_to_lab(to_float(batch["image"]))[..., 1:]
    factor = ab.shape[1] // height
    chex.assert_shape(ab, (count, factor * height, factor * width, 2))
    ab = block_means(ab, factor)
    own = jnp.take_along_axis(log_probabilities, nearest_bin(ab)[..., None], axis=-1)
    probabilities = jnp.exp(log_probabilities)
    ordered = -jnp.sort(-probabilities, axis=-1)
    before = jnp.cumsum(ordered, axis=-1) - ordered
    sets = [jnp.sum(jnp.where(before < level, ordered, 0), axis=-1) for level in LEVELS]
    return {
        "likelier": jnp.sum(jnp.where(log_probabilities > own, probabilities, 0), axis=-1),
        "uncertainty": answers.uncertainty(prediction),
        "error": jnp.linalg.norm(ab - AB_SCALE * mean_color(probabilities), axis=-1),
        "sets": jnp.mean(jnp.stack(sets, axis=-1), axis=(1, 2)),
    }


def nearest_bin(ab: jax.Array) -> jax.Array:
    """Args: ab: [..., 2] a*b*. Returns the indices [...] of the nearest bins."""
    bins = centers()
    # ‖ab - c‖² without ‖ab‖².
    squares = jnp.asarray((bins**2).sum(-1)).reshape((1,) * (ab.ndim - 1) + (-1,))
    return jnp.argmin(squares - 2 * jnp.matmul(ab, bins.T, precision="highest"), axis=-1)


def best_of_step(
    forms: jax.Array, prediction: Prediction, batch: Batch, temperature: float
) -> dict[str, jax.Array]:
    """ΔE00 of several answers, on the 8-bit images that a user gets.

    Args:
      forms: [F, 2], factors and moves: of the baseline's forms.
      prediction: of a generator with a distribution.
      batch: images of its size.
      temperature: see `answers.candidates`.

    Returns:
      For each image: candidates [N, C], see `answers.candidates`; jitter [N, F, C] of the
      baseline, the regression's a*b* times the factor, moved in the candidates' directions, at all
      pixels alike.
    """
    lab = rgb_to_lab(to_float(batch["image"]))

    def delta_e(ab: jax.Array) -> jax.Array:
        return jnp.mean(ciede2000(displayed(lab[..., :1], ab)[1], lab), axis=(1, 2))

    towards = jnp.asarray(answers.directions(COUNTS[-1])).reshape(-1, 1, 1, 1, 2)

    def jittered(form: jax.Array) -> jax.Array:
        ab = form[0] * AB_SCALE * prediction.ab
        return lax.map(lambda direction: delta_e(ab + form[1] * direction), towards)

    of = lax.map(delta_e, answers.candidates(prediction, COUNTS[-1], temperature))
    return {"candidates": of.T, "jitter": jnp.transpose(lax.map(jittered, forms), (2, 0, 1))}


def judge(
    generator: nn.Module, temperature: float, factor: float, variables: Any, batches: Batches
) -> dict[str, Any]:
    """Judges a model with a distribution.

    Args:
      generator: of the model.
      temperature: of the model's answer, see `answers.answer`.
      factor: of the scaled form of its regression.
      variables: of the generator, replicated.
      batches: of images of its size, see `evaluate.score`.

    Returns:
      A tree for JSON, see `calibration` and `best_of`, and the number of images.
    """
    see = compile_eval_step(seen_step, in_axes=(0,))
    network = compile_eval_step(partial(generate, generator))
    calibrate = compile_eval_step(calibration_step, in_axes=(0, 0))
    best_of_these = partial(best_of_step, temperature=temperature)
    compare = compile_eval_step(best_of_these, in_axes=(None, 0, 0))
    forms = list(itertools.product(sorted({1.0, factor}), MOVES))
    placed = devices.replicate(jnp.float32(forms))

    def step(batch: Batch) -> dict[str, jax.Array]:
        prediction = network(variables, see(batch))
        values = calibrate(prediction, batch)
        return {**values, **compare(placed, prediction, batch)}

    parts = list(images_of(step, batches))
    values = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return {
        "images": len(values["sets"]),
        "calibration": calibration(values),
        "best_of": best_of(values["candidates"], values["jitter"], forms),
    }


def calibration(values: dict[str, np.ndarray]) -> dict[str, Any]:
    """Summarises the values of `calibration_step` for all images.

    Returns:
      levels; coverage: the share of pixels whose truth is in the smallest set with at least this
      probability; probability: the mean probability of these sets, which the coverage of a
      calibrated model equals; by_uncertainty: GROUPS groups with equally many pixels, the surest
      first, of each the mean uncertainty, the root mean square error, and the coverage of the sets
      of SHOWN_LEVELS as coverage_50% and coverage_90%.
    """
    likelier, uncertainty, error = (
        values[key].ravel().astype(np.float64) for key in ("likelier", "uncertainty", "error")
    )
    groups = np.array_split(np.argsort(uncertainty, kind="stable"), GROUPS)
    return {
        "levels": list(LEVELS),
        "coverage": [float(np.mean(likelier < level)) for level in LEVELS],
        "probability": values["sets"].mean(axis=0, dtype=np.float64).tolist(),
        "by_uncertainty": [
            {
                "uncertainty": float(uncertainty[group].mean()),
                "error": float(np.sqrt(np.mean(error[group] ** 2))),
                **{
                    f"coverage_{level:.0%}": float(np.mean(likelier[group] < level))
                    for level in SHOWN_LEVELS
                },
            }
            for group in groups
        ],
    }


def best_of(
    candidates: np.ndarray, jitter: np.ndarray, forms: Sequence[tuple[float, float]]
) -> dict[str, Any]:
    """The mean over images of the lowest ΔE00 among the first COUNTS answers.

    Args:
      candidates: [N, C] ΔE00.
      jitter: [N, F, C] likewise, of the baseline's forms.
      forms: F factors and moves.

    Returns:
      counts; candidates; jitter of the form that is best for the most answers; jitter_factor and
      jitter_move of this form.
    """

    def lowest(delta_e: np.ndarray) -> list[float]:
        return [float(delta_e[:, :count].min(axis=1).mean(dtype=np.float64)) for count in COUNTS]

    baselines = [lowest(jitter[:, i]) for i in range(len(forms))]
    best = int(np.argmin([baseline[-1] for baseline in baselines]))
    return {
        "counts": list(COUNTS),
        "candidates": lowest(candidates),
        "jitter": baselines[best],
        "jitter_factor": forms[best][0],
        "jitter_move": forms[best][1],
    }
