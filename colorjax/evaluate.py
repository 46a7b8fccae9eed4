"""The figures of merit of predictors on a data set, and the baselines they have to beat."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from colorjax import parallel
from colorjax.baselines import Predict, fit_baselines, saturation_factor, total_sums
from colorjax.lab import rgb_to_lab
from colorjax.metrics import NUM_BINS, colorfulness, histogram_distance
from colorjax.state import Variables
from colorjax.steps import Predictor, eval_step, to_float

# The baselines are fitted on so many images of the training split, the saturation of a model, which
# has to be run on them, on so many.
FIT_IMAGES = 1024
FIT_PREDICTIONS = 256

# For what needs no variables: jax 0.10's pmap misreads its in_axes where an argument has no arrays.
NO_VARIABLES: Variables = {"none": np.zeros(())}

Batches = Iterable[Mapping[str, np.ndarray]]
Figures = dict[str, float]
Evaluator = Callable[[Variables, Batches], dict[str, Figures]]


def evaluator(predictors: Mapping[str, Predictor]) -> Evaluator:
    """Compiles the evaluation of several predictors on the same images.

    Args:
      predictors: by the name that stands in the table.

    Returns:
      A function of the predictors' variables, replicated, and of batches {"image": [N, H, W, 3]
      uint8 sRGB, "mask": [N] bool, False where padded}. It gives for each name: mse;
      threshold_loss_5, _10 and _20; delta_cf, how far the mean colourfulness is from the truth's;
      delta_cf_image, the same for each image, averaged; colorfulness; histogram_distance, of the
      a*b* of all images. All but the last are means over images.
    """
    per_image = _per_image(partial(eval_step, predictors=predictors))

    def evaluate(variables: Variables, batches: Batches) -> dict[str, Figures]:
        parts: list[Any] = []
        histograms: dict[str, np.ndarray] = defaultdict(lambda: np.zeros((NUM_BINS, NUM_BINS)))
        for values in per_image(variables, batches):
            for name, of in values.items():
                # Summed at once: of a large split they would fill gigabytes.
                histograms[name] += of.pop("histogram").sum(0)
            parts.append(values)
        values = jax.tree.map(lambda *x: np.concatenate(x), *parts)
        truth = values.pop("truth")["colorfulness"]
        return {
            name: _means(of, truth)
            | {
                "histogram_distance": float(
                    histogram_distance(histograms[name], histograms["truth"])
                )
            }
            for name, of in values.items()
        }

    return evaluate


def _means(figures: dict[str, np.ndarray], colorfulness_true: np.ndarray) -> Figures:
    mean: dict[str, Any] = {
        name: np.mean(value, axis=0, dtype=np.float64) for name, value in figures.items()
    }
    difference = figures["colorfulness"].astype(np.float64) - colorfulness_true
    loss_5, loss_10, loss_20 = mean["threshold_loss"]
    return {
        "mse": float(mean["mse"]),
        "threshold_loss_5": float(loss_5),
        "threshold_loss_10": float(loss_10),
        "threshold_loss_20": float(loss_20),
        "delta_cf": float(abs(difference.mean())),
        "delta_cf_image": float(np.abs(difference).mean()),
        "colorfulness": float(mean["colorfulness"]),
    }


def constant_baselines(batches: Batches) -> dict[str, Predictor]:
    """Grey, the mean colour and the mean colour for each lightness, fitted on some batches."""

    def lab_of(_: Variables, batch: Any) -> Any:
        lab = rgb_to_lab(to_float(batch["image"]))
        return lab[..., :1], lab[..., 1:]

    predictions = fit_baselines(*total_sums(_per_image(lab_of)(NO_VARIABLES, batches)))
    return {name: _without_variables(predict) for name, predict in predictions.items()}


def _without_variables(predict: Predict) -> Predictor:
    return lambda variables, l: predict(l)


def scaled(predict: Predictor, variables: Variables, batches: Batches) -> Predictor:
    """A regression model with a*b* times the factor that makes it as colourful as the truth.

    Args:
      predict: the model.
      variables: its own, replicated.
      batches: images on which the factor is fitted.

    Returns:
      The scaled model, which takes the same variables.
    """

    def prediction(variables: Variables, batch: Any) -> Any:
        rgb = to_float(batch["image"])
        l = rgb_to_lab(rgb)[..., :1]
        return l, predict(variables, l), colorfulness(rgb)

    parts = list(_per_image(prediction)(variables, batches))
    l, ab, truth = (np.concatenate(values) for values in zip(*parts, strict=True))
    factor = saturation_factor(l, ab, float(np.mean(truth, dtype=np.float64)))
    return lambda variables, l: factor * predict(variables, l)


def _per_image(
    function: Callable[[Variables, Any], Any],
) -> Callable[[Variables, Batches], Iterator[Any]]:
    """Compiles what a function gives for each image, batch by batch, and drops the padding."""
    step = parallel.compile_eval_step(function)

    def run(variables: Variables, batches: Batches) -> Iterator[Any]:
        for batch in batches:
            batch = parallel.shard(batch)
            values, mask = parallel.gather((step(variables, batch), batch["mask"]))
            yield jax.tree.map(lambda x, mask=mask: x[mask], values)

    return run
