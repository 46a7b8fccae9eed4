"""The metrics of each image for everything that was evaluated, and what follows from them.

A mean, a bootstrap resample and a group of people are all weighted means over the same images, so
one pass over the images is enough for all of them. What is kept of an image is some 50 numbers a
predictor; images themselves are never kept.
"""

import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from colorjax.evaluation.skin_tone import MIN_SHARE
from colorjax.files import replaced

TRUTH = "truth"
# The metrics of a table, in their order.
METRICS = (
    "mse",
    "threshold_loss_5",
    "threshold_loss_10",
    "threshold_loss_20",
    "auc",
    "rebalanced_auc",
    "delta_e",
    "psnr",
    "ssim",
    "colorfulness",
    "delta_cf",
    "delta_cf_image",
    "histogram_distance",
)
Metrics = dict[str, float]
# Counted by colour bin; few bins of an image are not empty.
_SPARSE = ("histogram", "auc_by_color")
# Only the sums over all images are kept.
_SUMMED = ("errors", "colors")


class Scores(NamedTuple):
    """What one pass over N images leaves.

    Attributes:
      images: by name, and for TRUTH, arrays [N, …] as `evaluation.steps` gives them; histograms
        as sparse [N, 484].
      sums: by name, what is of all images together: errors [152] and colors [110, 110], summed;
        saturations [K], the factors of the curves that some models have.
    """

    images: dict[str, dict[str, Any]]
    sums: dict[str, dict[str, np.ndarray]]

    @property
    def names(self) -> list[str]:
        """Of what was evaluated, in the order of the table."""
        return [name for name in self.images if name != TRUTH]

    @property
    def num_images(self) -> int:
        """N."""
        return len(self.images[TRUTH]["colorfulness"])

    def chosen(self, names: Iterable[str]) -> "Scores":
        """Those of some names, in their order."""
        keys = [TRUTH, *names]
        return Scores({k: self.images[k] for k in keys}, {k: self.sums[k] for k in keys})

    def merged(self, others: "Scores") -> "Scores":
        """Together with others of the same images."""
        return Scores(self.images | others.images, self.sums | others.sums)


def collect(batches: Iterable[dict[str, dict[str, Any]]]) -> Scores:
    """Joins the metrics of batches: by name, and for TRUTH, arrays with the image first."""
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
    """The metrics of each name, over all images."""
    everything = statistics(scores, np.ones((1, scores.num_images)))
    return {
        name: {metric: float(everything[name][metric][0]) for metric in METRICS}
        for name in scores.names
    }


def statistics(scores: Scores, weights: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Metrics under each of B weightings of the images, in float64.

    Args:
      scores: of N images.
      weights: [B, N] how often each image counts; every row has a positive sum.

    Returns:
      By name, [B] of each of METRICS; and of
        bias_cf: mean colourfulness minus the truth's: ΔCF with its sign.
        skin_a, skin_b: the mean colour of skin.
        skin_delta_e: ΔE00 on skin.
        skin_variety: how far the colour of people's skin follows their own: the slope of the
          regression of predicted on true mean a*b* of skin over the images, 0 where everyone is
          painted alike. The last four are over images with skin, and NaN where there are none.
        curve_bias_cf, curve_loss: bias_cf and threshold_loss_10 at each of K saturations, [B, K];
          only of models that were evaluated so.
      For TRUTH, colorfulness, skin_a and skin_b.
    """
    truth = scores.images[TRUTH]
    total = weights.sum(axis=1)

    def mean(values: Any) -> np.ndarray:
        return weights @ np.asarray(values, np.float64) / total

    frequency = truth["histogram"].sum(axis=0, dtype=np.float64)
    inverse = np.divide(1.0, frequency, out=np.zeros_like(frequency), where=frequency > 0)
    rarity = mean(truth["histogram"] @ inverse)
    shares_true = _shares(weights, truth["histogram"])
    colorfulness_true = truth["colorfulness"].astype(np.float64)

    has_skin = truth["skin_share"] >= MIN_SHARE
    skin_weights = weights * has_skin
    skin_total = skin_weights.sum(axis=1)

    def skin_mean(values: np.ndarray) -> np.ndarray:
        sums = skin_weights @ np.asarray(values, np.float64)
        return np.divide(sums, skin_total, out=np.full(sums.shape, np.nan), where=skin_total > 0)

    def slope(ab: np.ndarray) -> np.ndarray:
        products, squares = np.zeros(len(weights)), np.zeros(len(weights))
        for x, y in zip(truth["skin_ab"].T.astype(np.float64), ab.T, strict=True):
            products += skin_mean(x * y) - skin_mean(x) * skin_mean(y)
            squares += skin_mean(x * x) - skin_mean(x) ** 2
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(squares > 1e-6, products / squares, np.nan)

    def skin_color(ab: np.ndarray) -> dict[str, np.ndarray]:
        return {"skin_a": skin_mean(ab[:, 0]), "skin_b": skin_mean(ab[:, 1])}

    def curve(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
        if "saturation_colorfulness" not in values:
            return {}
        bias = values["saturation_colorfulness"] - colorfulness_true[:, None]
        loss = values["saturation_threshold_loss_10"].astype(np.float64)
        return {"curve_bias_cf": weights @ bias / total[:, None],
                "curve_loss": weights @ loss / total[:, None]}  # fmt: skip

    def of(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
        difference = values["colorfulness"].astype(np.float64) - colorfulness_true
        bias = mean(difference)
        distance = np.abs(_shares(weights, values["histogram"]) - shares_true).sum(axis=1)
        return {
            "mse": mean(values["mse"]),
            **{
                f"threshold_loss_{tau}": mean(values["threshold_loss"][:, i])
                for i, tau in enumerate((5, 10, 20))
            },
            "auc": mean(values["auc"]),
            "rebalanced_auc": 100.0 * mean(values["auc_by_color"] @ inverse) / rarity,
            "delta_e": mean(values["delta_e"]),
            "psnr": mean(values["psnr"]),
            "ssim": mean(values["ssim"]),
            "colorfulness": mean(values["colorfulness"]),
            "delta_cf": np.abs(bias),
            "delta_cf_image": mean(np.abs(difference)),
            "histogram_distance": 0.5 * distance,
            "bias_cf": bias,
            **skin_color(values["skin_ab"]),
            "skin_delta_e": skin_mean(values["skin_delta_e"]),
            "skin_variety": slope(values["skin_ab"].astype(np.float64)),
            **curve(values),
        }

    result = {name: of(scores.images[name]) for name in scores.names}
    return result | {
        TRUTH: {"colorfulness": mean(colorfulness_true), **skin_color(truth["skin_ab"])}
    }


def _shares(weights: np.ndarray, histogram: sparse.csr_array) -> np.ndarray:
    """[B, 484] share of the pixels in each bin."""
    counts = weights @ histogram
    return counts / counts.sum(axis=1, keepdims=True)


def save(scores: Scores, path: Path) -> None:
    """Writes scores as one .npz."""
    arrays: dict[str, np.ndarray] = {}
    for name, metrics in scores.images.items():
        for key, value in metrics.items():
            where = f"images\t{name}\t{key}"
            if key in _SPARSE:
                arrays |= {
                    f"{where}\t{part}": getattr(value, part)
                    for part in ("data", "indices", "indptr", "shape")
                }
            else:
                arrays[where] = value
        arrays |= {f"sums\t{name}\t{key}": value for key, value in scores.sums[name].items()}
    with replaced(path) as beside, beside.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def load(path: Path) -> Scores | None:
    """Reads what `save` wrote; None if there is no such file, or it is damaged."""
    images: dict[str, dict[str, Any]] = {}
    sums: dict[str, dict[str, np.ndarray]] = {}
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            for where, value in arrays.items():
                kind, name, key, *part = where.split("\t")
                of = {"images": images, "sums": sums}[kind].setdefault(name, {})
                if part:
                    of.setdefault(key, {})[part[0]] = value
                else:
                    of[key] = value
        for metrics in images.values():
            for key in set(_SPARSE) & metrics.keys():
                parts = metrics[key]
                metrics[key] = sparse.csr_array(
                    (parts["data"], parts["indices"], parts["indptr"]), shape=tuple(parts["shape"])
                )
        return Scores(images, sums)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


class Column(NamedTuple):
    """How a metric is shown: its heading, its format, and which way is better (0: neither)."""

    heading: str
    form: str
    better: int
    meaning: str


COLUMNS = {
    "mse": Column("MSE", ".1f", -1, "mean squared error of a* and b*, in squared Lab units"),
    "threshold_loss_5": Column(
        "threshold loss 5", ".3f", -1, "share of pixels whose a*b* is off by more than 5"
    ),
    "threshold_loss_10": Column("10", ".3f", -1, "the same for 10, the headline"),
    "threshold_loss_20": Column("20", ".3f", -1, "the same for 20"),
    "auc": Column(
        "AuC", ".1f", 1, "100 × the mean over τ = 0 … 150 of the share of pixels within τ"
    ),
    "rebalanced_auc": Column(
        "rebalanced AuC", ".1f", 1, "AuC with each pixel weighted by how rare its colour is"
    ),
    "delta_e": Column("ΔE00", ".2f", -1, "mean CIEDE2000 difference; about 1 is just noticeable"),
    "psnr": Column("PSNR", ".2f", 1, "peak signal-to-noise ratio of the 8-bit RGB image, in dB"),
    "ssim": Column("SSIM", ".4f", 1, "structural similarity of the RGB image"),
    "colorfulness": Column("colourfulness", ".1f", 0, "Hasler and Süsstrunk 2003, the mean"),
    "delta_cf": Column(
        "ΔCF", ".1f", -1, "how far the mean colourfulness is from that of the originals"
    ),
    "delta_cf_image": Column(
        "ΔCF per image", ".1f", -1, "how far each image's is from its original's, the mean"
    ),
    "histogram_distance": Column(
        "a*b* histogram distance", ".3f", -1,
        "share of pixels that would have to change their 10 × 10 bin of a*b* for the colours of "
        "all images together to be those of the originals",
    ),
}  # fmt: skip


def heading(key: str) -> str:
    """Of a column that stands alone."""
    return f"threshold loss {key[15:]}" if key.startswith("threshold") else COLUMNS[key].heading
