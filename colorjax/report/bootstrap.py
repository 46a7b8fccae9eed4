"""How far metrics would move with other images of the same kind: the bootstrap over images.

Efron and Tibshirani, "An Introduction to the Bootstrap" (1993): as many images as there are, are
drawn with replacement, and the metrics are computed again; 95% of the results lie in the interval.
Every predictor is evaluated on the same draws, so that differences between two are paired. The
interval does not include the variation between seeds or between training runs.

Arrays of statistics have the estimate in row 0 and the resamples in the other rows. Arithmetic on
them gives the estimate and the resamples of a difference or a ratio at once.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from colorjax.evaluation.scores import METRICS, TRUTH, Scores, Statistics, statistics

RESAMPLES = 2000
# Limits the size of one array of weights.
MAX_WEIGHTS = 4_000_000
Interval = tuple[float, float]


def resampled(
    scores: Scores, members: np.ndarray | None = None, count: int = RESAMPLES, seed: int = 0
) -> Statistics:
    """`statistics` of the images themselves (row 0) and of `count` resamples.

    Args:
      scores: of N images.
      members: [N] bool, the images used; by default all.
      count: number of resamples.
      seed: of the draws, which are the same for every name.
    """
    chosen = np.flatnonzero(np.ones(scores.num_images, bool) if members is None else members)
    parts = [
        statistics(scores, weights)
        for weights in _weightings(chosen, scores.num_images, count, seed)
    ]
    return {
        name: {key: np.concatenate([part[name][key] for part in parts]) for key in values}
        for name, values in parts[0].items()
    }


def _weightings(chosen: np.ndarray, length: int, count: int, seed: int) -> Iterator[np.ndarray]:
    """Yields weights [b, length], 1 + count rows in all: few at once if there are many images."""
    rng = np.random.default_rng(seed)
    rows = max(1, MAX_WEIGHTS // length)
    for start in range(0, 1 + count, rows):
        weights = np.zeros((min(rows, 1 + count - start), length))
        for i, row in enumerate(weights, start):
            drawn = chosen[rng.integers(len(chosen), size=len(chosen))] if i else chosen
            row += np.bincount(drawn, minlength=length)
        yield weights


def percentiles(values: np.ndarray) -> Interval:
    """The central 95% of the finite resamples (all rows but the first)."""
    finite = values[1:][np.isfinite(values[1:])]
    if not len(finite):
        return (np.nan, np.nan)
    low, high = np.percentile(finite, (2.5, 97.5))
    return float(low), float(high)


def intervals(values: Statistics) -> dict[str, dict[str, Interval]]:
    """95% intervals of each of METRICS, by name."""
    return {
        name: {metric: _interval(metric, of) for metric in METRICS}
        for name, of in values.items()
        if name != TRUTH
    }


def _interval(metric: str, of: dict[str, np.ndarray]) -> Interval:
    if metric == "delta_cf":
        # The absolute value is taken last: |ΔCF| of a resample is never below 0, however small
        # ΔCF is.
        low, high = percentiles(of["bias_cf"])
        ends = sorted((abs(low), abs(high)))
        return (0.0 if low < 0 < high else ends[0]), ends[1]
    low, high = percentiles(of[metric])
    if metric == "histogram_distance":
        # A resample has fewer distinct images, so its histograms are further apart.
        shift = float(of[metric][1:].mean() - of[metric][0])
        low, high = max(low - shift, 0.0), max(high - shift, 0.0)
    return low, high


def comparisons(values: Statistics, pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """The difference between the names of each pair, for each metric.

    Returns:
      {"a", "b", "metric", "difference": a's minus b's, "interval", "real": whether the interval
      excludes 0}.
    """
    found = []
    for a, b in pairs:
        for metric in METRICS:
            difference = values[a][metric] - values[b][metric]
            found.append({"a": a, "b": b, "metric": metric, **judged("difference", difference)})
    return found


def judged(key: str, values: np.ndarray) -> dict[str, Any]:
    """An estimate under its key, its "interval", and whether it is "real": excludes 0."""
    low, high = percentiles(values)
    return {key: float(values[0]), "interval": (low, high), "real": low > 0 or high < 0}
