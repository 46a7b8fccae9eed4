"""How far metrics would move with other images of the same kind: the bootstrap over images.

Efron and Tibshirani, "An Introduction to the Bootstrap" (1993): images are drawn with replacement,
as many as there are, and the metrics computed anew; 95% of what results lies in the interval. Every
predictor is judged on the same draws, so that differences between two are paired. What this does
not tell: what another seed, or another training run, would have given.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from colorjax.evaluation.scores import METRICS, TRUTH, Scores, statistics

RESAMPLES = 2000
# In memory at once.
MAX_WEIGHTS = 4_000_000
Interval = tuple[float, float]
Resampled = dict[str, dict[str, np.ndarray]]


def resampled(
    scores: Scores, members: np.ndarray | None = None, count: int = RESAMPLES, seed: int = 0
) -> Resampled:
    """`statistics` of `count` resamples, the same draws for every name.

    Args:
      scores: of N images.
      members: [N] bool: which images are drawn from; by default all.
      count: number of resamples.
      seed: of the draws.
    """
    chosen = np.flatnonzero(np.ones(scores.num_images, bool) if members is None else members)
    parts = [
        statistics(scores, weights) for weights in _draws(chosen, scores.num_images, count, seed)
    ]
    return {
        name: {key: np.concatenate([part[name][key] for part in parts]) for key in values}
        for name, values in parts[0].items()
    }


def _draws(chosen: np.ndarray, length: int, count: int, seed: int) -> Iterator[np.ndarray]:
    """Weights [b, length], `count` rows in all: few at once where there are many images."""
    rng = np.random.default_rng(seed)
    rows = max(1, min(count, MAX_WEIGHTS // length))
    for start in range(0, count, rows):
        weights = np.zeros((min(rows, count - start), length))
        for row in weights:
            drawn = chosen[rng.integers(len(chosen), size=len(chosen))]
            row += np.bincount(drawn, minlength=length)
        yield weights


def intervals(draws: Resampled, estimates: Resampled) -> dict[str, dict[str, Interval]]:
    """95% intervals of each of METRICS, by name.

    Args:
      draws: as `resampled` gives them.
      estimates: `statistics` of the images themselves, [1] each.
    """
    return {
        name: {metric: _interval(metric, draws[name], estimates[name]) for metric in METRICS}
        for name in draws
        if name != TRUTH
    }


def percentiles(values: np.ndarray) -> Interval:
    """The middle 95%, of the values that are numbers."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return (np.nan, np.nan)
    low, high = np.percentile(finite, (2.5, 97.5))
    return float(low), float(high)


def _interval(
    metric: str, draws: dict[str, np.ndarray], estimates: dict[str, np.ndarray]
) -> Interval:
    if metric == "delta_cf":
        # Folded at 0 only at the end: a resample's |ΔCF| is never below 0, however small it is.
        low, high = percentiles(draws["bias_cf"])
        ends = sorted((abs(low), abs(high)))
        return (0.0 if low < 0 < high else ends[0]), ends[1]
    low, high = percentiles(draws[metric])
    if metric == "histogram_distance":
        # A resample has fewer different images, so its histograms are further apart.
        shift = float(draws[metric].mean() - estimates[metric][0])
        low, high = max(low - shift, 0.0), max(high - shift, 0.0)
    return low, high


def comparisons(
    draws: Resampled, estimates: Resampled, pairs: Sequence[tuple[str, str]]
) -> list[dict[str, Any]]:
    """For each pair of names and each metric, the difference, its interval, and whether it is real.

    Returns:
      {"a", "b", "metric", "difference": a's minus b's, "interval", "real": the interval excludes
      0}.
    """
    found = []
    for a, b in pairs:
        for metric in METRICS:
            low, high = percentiles(draws[a][metric] - draws[b][metric])
            found.append(
                {
                    "a": a,
                    "b": b,
                    "metric": metric,
                    "difference": float(estimates[a][metric][0] - estimates[b][metric][0]),
                    "interval": (low, high),
                    "real": low > 0 or high < 0,
                }
            )
    return found
