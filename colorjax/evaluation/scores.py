"""The metrics of each image for everything that was evaluated, and their weighted means.

The mean over all images, a bootstrap resample and a group of images are all weighted means over the
same images, so one pass over the images is enough. Some 50 numbers are kept for each image and
predictor, and no images.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from colorjax.evaluation.skin_tone import MIN_SHARE

TRUTH = "truth"
Metrics = dict[str, float]
# By name, the values of each metric under each of B weightings: [B] or [B, K].
Statistics = dict[str, dict[str, np.ndarray]]
# By colour bin. Most bins of an image are empty.
_SPARSE = ("histogram", "auc_by_color")
# Only the sums over all images are kept.
_SUMMED = ("errors", "colors")


class Column(NamedTuple):
    """How a metric is shown.

    Attributes:
      heading: of its column.
      form: format of its numbers.
      better: 1 if higher is better, -1 if lower is better, 0 if neither.
      meaning: what it is.
    """

    heading: str
    form: str
    better: int
    meaning: str


COLUMNS = {
    "mse": Column("MSE", ".1f", -1, "mean squared error of a* and b*, in squared Lab units"),
    "threshold_loss_5": Column(
        "threshold loss 5", ".3f", -1, "share of pixels with a colour error ‖Δ(a*, b*)‖ above 5"
    ),
    "threshold_loss_10": Column("10", ".3f", -1, "the same for 10, the main metric"),
    "threshold_loss_20": Column("20", ".3f", -1, "the same for 20"),
    "auc": Column("AuC", ".1f", 1, "100 × mean over τ = 0 … 150 of the share of pixels within τ"),
    "rebalanced_auc": Column("rebalanced AuC", ".1f", 1, "AuC weighted by the rarity of colours"),
    "delta_e": Column("ΔE00", ".2f", -1, "mean CIEDE2000 difference; about 1 is just noticeable"),
    "psnr": Column("PSNR", ".2f", 1, "peak signal-to-noise ratio of the 8-bit RGB image, in dB"),
    "ssim": Column("SSIM", ".4f", 1, "structural similarity of the RGB image"),
    "colorfulness": Column("colourfulness", ".1f", 0, "Hasler and Süsstrunk 2003, the mean"),
    "delta_cf": Column("ΔCF", ".1f", -1, "difference of mean colourfulness from the originals"),
    "delta_cf_image": Column("ΔCF per image", ".1f", -1, "mean difference of each image"),
    "histogram_distance": Column(
        "a*b* histogram distance", ".3f", -1,
        "share of all pixels that would have to move to another 10 × 10 bin of a*b* for the "
        "colours to be distributed as in the originals",
    ),
}  # fmt: skip
# The metrics of a table, in order.
METRICS = tuple(COLUMNS)


def heading(key: str) -> str:
    """The heading of a column that stands alone."""
    return f"threshold loss {key[15:]}" if key.startswith("threshold") else COLUMNS[key].heading


class Scores(NamedTuple):
    """The result of one pass over N images.

    Attributes:
      images: for each name and for TRUTH, arrays [N, …] as `evaluation.steps` gives them;
        histograms as sparse [N, 484].
      sums: for each name, over all images: errors [152] and colors [110, 110]; saturations [K],
        the factors of the saturation curve, for models that have one.
    """

    images: dict[str, dict[str, Any]]
    sums: dict[str, dict[str, np.ndarray]]

    @property
    def names(self) -> list[str]:
        """What was evaluated, in the order of the table."""
        return [name for name in self.images if name != TRUTH]

    @property
    def num_images(self) -> int:
        """N."""
        return len(self.images[TRUTH]["colorfulness"])

    def chosen(self, names: Iterable[str]) -> "Scores":
        """The scores of some names, in the given order."""
        keys = [TRUTH, *names]
        return Scores({k: self.images[k] for k in keys}, {k: self.sums[k] for k in keys})


def collect(batches: Iterable[dict[str, dict[str, Any]]]) -> Scores:
    """Joins the values of batches: for each name and for TRUTH, arrays with images first."""
    images: dict[str, dict[str, list[Any]]] = {}
    sums: dict[str, dict[str, np.ndarray]] = {}
    for batch in batches:
        for name, metrics in batch.items():
            of, total = images.setdefault(name, {}), sums.setdefault(name, {})
            for key, value in metrics.items():
                if key in _SUMMED:
                    total[key] = total.get(key, 0) + value.sum(axis=0, dtype=np.float64)
                elif key in _SPARSE:
                    flat = value.reshape(len(value), -1).astype(np.float32)
                    of.setdefault(key, []).append(sparse.csr_array(flat))
                else:
                    of.setdefault(key, []).append(value)
    joined = {
        name: {
            key: sparse.vstack(values, format="csr") if key in _SPARSE else np.concatenate(values)
            for key, values in metrics.items()
        }
        for name, metrics in images.items()
    }
    return Scores(joined, sums)


def metrics_of(scores: Scores) -> dict[str, Metrics]:
    """The metrics of each name over all images."""
    return first_metrics(statistics(scores, np.ones((1, scores.num_images))))


def first_metrics(values: Statistics) -> dict[str, Metrics]:
    """The metrics of each name under the first weighting."""
    return {
        name: {metric: float(of[metric][0]) for metric in METRICS}
        for name, of in values.items()
        if name != TRUTH
    }


def statistics(scores: Scores, weights: np.ndarray) -> Statistics:
    """Metrics under each of B weightings of the images, in float64.

    Args:
      scores: of N images.
      weights: [B, N] how often each image counts; the sum of each row is positive.

    Returns:
      For each name, [B] of each of METRICS and of
        bias_cf: mean colourfulness minus the truth's: ΔCF with its sign.
        skin_a, skin_b: the mean colour of skin.
        skin_delta_e: ΔE00 on skin.
        skin_variety: how far predicted skin follows the person: the slope of the regression of
          predicted on true mean a*b* of skin over the images; 0 if every prediction is the same.
        skin_*: over images with skin; NaN without any.
        curve_bias_cf, curve_loss: bias_cf and threshold_loss_10 at each of K saturations, [B, K];
          only for models with a saturation curve.
        annealed_bias_cf, annealed_loss: the same at each temperature of the annealed mean; only for
          models with a distribution.
      For TRUTH, colorfulness, skin_a and skin_b.
    """
    truth = scores.images[TRUTH]
    colorfulness_true = truth["colorfulness"].astype(np.float64)
    frequency = truth["histogram"].sum(axis=0, dtype=np.float64)
    inverse = np.divide(1.0, frequency, out=np.zeros_like(frequency), where=frequency > 0)
    rarity = _mean(weights, truth["histogram"] @ inverse)
    shares_true = _shares(weights, truth["histogram"])

    def of(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
        same = ("mse", "auc", "delta_e", "psnr", "ssim", "colorfulness")
        found = {key: _mean(weights, values[key]) for key in same}
        for i, tau in enumerate((5, 10, 20)):
            found[f"threshold_loss_{tau}"] = _mean(weights, values["threshold_loss"][:, i])
        rebalanced = _mean(weights, values["auc_by_color"] @ inverse)
        found["rebalanced_auc"] = 100.0 * rebalanced / rarity
        difference = values["colorfulness"] - colorfulness_true
        found["bias_cf"] = _mean(weights, difference)
        found["delta_cf"] = np.abs(found["bias_cf"])
        found["delta_cf_image"] = _mean(weights, np.abs(difference))
        moved = np.abs(_shares(weights, values["histogram"]) - shares_true)
        found["histogram_distance"] = 0.5 * moved.sum(axis=1)
        for prefix, key in (("curve", "saturation"), ("annealed", "annealed")):
            if f"{key}_colorfulness" in values:
                bias = values[f"{key}_colorfulness"] - colorfulness_true[:, None]
                found[f"{prefix}_bias_cf"] = _mean(weights, bias)
                found[f"{prefix}_loss"] = _mean(weights, values[f"{key}_threshold_loss_10"])
        return found | _skin_statistics(weights, truth, values)

    result = {name: of(scores.images[name]) for name in scores.names}
    skin = _skin_statistics(weights, truth, truth)
    return result | {TRUTH: {"colorfulness": _mean(weights, colorfulness_true), **skin}}


def _mean(weights: np.ndarray, values: Any) -> np.ndarray:
    """Weighted means [B, ...] of values [N, ...]; NaN where all weights are 0."""
    sums, total = weights @ np.asarray(values, np.float64), weights.sum(axis=1)
    total = total.reshape(-1, *(1,) * (sums.ndim - 1))
    return np.divide(sums, total, out=np.full(sums.shape, np.nan), where=total > 0)


def _skin_statistics(
    weights: np.ndarray, truth: Mapping[str, Any], values: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """The statistics on skin of a predictor or of the truth, see `statistics`."""
    weights = weights * (truth["skin_share"] >= MIN_SHARE)
    x, y = (of["skin_ab"].astype(np.float64) for of in (truth, values))
    mean_x, mean_y = _mean(weights, x), _mean(weights, y)
    found = {"skin_a": mean_y[:, 0], "skin_b": mean_y[:, 1]}
    if "skin_delta_e" in values:
        found["skin_delta_e"] = _mean(weights, values["skin_delta_e"])
        products = (_mean(weights, x * y) - mean_x * mean_y).sum(axis=1)
        squares = (_mean(weights, x * x) - mean_x**2).sum(axis=1)
        varied = squares > 1e-6
        nothing = np.full(len(weights), np.nan)
        found["skin_variety"] = np.divide(products, squares, out=nothing, where=varied)
    return found


def _shares(weights: np.ndarray, histogram: sparse.csr_array) -> np.ndarray:
    """[B, 484] shares of the pixels in each bin."""
    counts = weights @ histogram
    return counts / counts.sum(axis=1, keepdims=True)
