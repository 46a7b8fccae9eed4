"""What the scores say, as numbers and sentences: the contents of results.json."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from colorjax.evaluation import skin_tone
from colorjax.evaluation.scores import TRUTH, Scores, metrics_of, statistics
from colorjax.evaluation.skin_tone import MIN_SHARE
from colorjax.report.bootstrap import Resampled, comparisons, intervals, percentiles, resampled

Findings = dict[str, Any]
# Of the saturation curves.
Curve = dict[str, list[float]]


def find(
    scores: Scores,
    runs: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    about: Mapping[str, Any],
    undamaged: Scores | None = None,
) -> Findings:
    """Everything that a report says in numbers.

    Args:
      scores: of what was evaluated.
      runs: the names of models as they were trained.
      pairs: names that are compared with each other.
      about: what the metrics are of.
      undamaged: if the scores are on damaged inputs: of the same names and images without damage.

    Returns:
      What JSON can hold: about; results, metrics by name; intervals; comparisons of pairs;
      skin_tone and lightness, groups; gaps between groups; skin_variety; saturation_curves;
      verdicts, sentences on runs and curves; of damaged inputs also undamaged, what damage costs.
    """
    estimates = statistics(scores, np.ones((1, scores.num_images)))
    draws = resampled(scores)
    curves = {
        name: {
            "factors": of["saturations"].tolist(),
            "threshold_loss_10": estimates[name]["curve_loss"][0].tolist(),
            "bias_cf": estimates[name]["curve_bias_cf"][0].tolist(),
        }
        for name, of in scores.sums.items()
        if "saturations" in of
    }
    tones, lightness = by_skin_tone(scores), by_lightness(scores)
    variety = {
        name: {
            "value": float(estimates[name]["skin_variety"][0]),
            "interval": percentiles(draws[name]["skin_variety"]),
        }
        for name in scores.names
        if np.isfinite(estimates[name]["skin_variety"][0])
    }
    with_skin = scores.images[TRUTH]["skin_share"] >= MIN_SHARE
    return {
        "about": dict(about),
        "results": metrics_of(scores),
        "intervals": intervals(draws, estimates),
        "comparisons": comparisons(draws, estimates, pairs),
        "skin_tone": tones,
        "lightness": lightness,
        "gaps": {
            "skin_tone": gaps(tones, scores.names),
            "lightness": gaps(lightness, scores.names),
        },
        "skin_variety": {"images": int(with_skin.sum()), "of": variety},
        "saturation_curves": curves,
        "verdicts": _verdicts(estimates, draws, runs, curves),
        **({"undamaged": _losses(estimates, draws, runs, undamaged)} if undamaged else {}),
    }


def _verdicts(
    estimates: Resampled, draws: Resampled, runs: Sequence[str], curves: Mapping[str, Curve]
) -> list[dict[str, Any]]:
    """For each run without a curve, and each curve: does it lie below, and is that real?

    Returns:
      {"run", "curve", "loss", "curve_loss": of the scaled model where it is as colourful as the
      run, "margin": by which the run is better, "interval", "real"}; nothing where the curve never
      is as colourful as the run.
    """
    verdicts = []
    for run in runs:
        for source in curves:
            margins = [_margin(of[run], of[source]) for of in (estimates, draws)]
            if run in curves or np.isnan(margins[0][0]):
                continue
            low, high = percentiles(margins[1])
            loss = float(estimates[run]["threshold_loss_10"][0])
            verdicts.append(
                {
                    "run": run,
                    "curve": source,
                    "loss": loss,
                    "curve_loss": loss + float(margins[0][0]),
                    "margin": float(margins[0][0]),
                    "interval": (low, high),
                    "real": low > 0 or high < 0,
                }
            )
    return verdicts


def _losses(
    estimates: Resampled, draws: Resampled, runs: Sequence[str], undamaged: Scores
) -> Findings:
    """What damage costs, on the same draws of images with and without it.

    Returns:
      results: metrics without damage, by name; losses: `comparisons` of each name with itself
      without damage; shares: for each two runs {"run", "other", "loss", "other_loss": of threshold
      loss at 10, "share": the first over the second, "interval"}, the run that loses less first,
      and only where it loses and the other's loss is real.
    """
    without = statistics(undamaged, np.ones((1, undamaged.num_images))), resampled(undamaged)
    both = [
        of | {f"{name}, undamaged": metrics for name, metrics in plain.items()}
        for of, plain in zip((estimates, draws), without, strict=True)
    ]
    pairs = [(name, f"{name}, undamaged") for name in undamaged.names]
    lost = {
        a: [of[a]["threshold_loss_10"] - of[b]["threshold_loss_10"] for of in both]
        for a, b in pairs
    }
    shares = [
        {
            "run": run,
            "other": other,
            "loss": float(lost[run][0][0]),
            "other_loss": float(lost[other][0][0]),
            "share": float(lost[run][0][0] / lost[other][0][0]),
            "interval": percentiles(lost[run][1] / lost[other][1]),
        }
        for run, other in itertools.permutations(runs, 2)
        if 0 < lost[run][0][0] < lost[other][0][0] and percentiles(lost[other][1])[0] > 0
    ]
    losses = comparisons(both[1], both[0], pairs)
    return {"results": metrics_of(undamaged), "losses": losses, "shares": shares}


def _margin(run: Mapping[str, np.ndarray], source: Mapping[str, np.ndarray]) -> np.ndarray:
    """[B] the scaled model's loss, where it is as colourful as the run, less the run's."""
    at = [
        np.interp(bias, x[order], y[order], left=np.nan, right=np.nan)
        for bias, x, y, order in zip(
            run["bias_cf"],
            source["curve_bias_cf"],
            source["curve_loss"],
            np.argsort(source["curve_bias_cf"], axis=1),
            strict=True,
        )
    ]
    return np.array(at) - run["threshold_loss_10"]


def finite(value: Any) -> Any:
    """The same tree with None for each number that JSON has no word for."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


# Smaller groups are shown, but nothing is concluded from them.
MIN_IMAGES = 30


RESAMPLES = 500


SHOWN = ("mse", "threshold_loss_10", "delta_e", "delta_cf", "skin_delta_e", "skin_a", "skin_b")


# Upper bounds of the picture's mean L.
LIGHTNESS = {
    "dark (mean L below 35)": 35.0,
    "35 to 50": 50.0,
    "50 to 65": 65.0,
    "65 and up": np.inf,
}


def by_skin_tone(scores: Scores) -> list[dict[str, Any]]:
    """See `_groups`; one for each of the six classes, and one for images without skin."""
    truth = scores.images[TRUTH]
    angle = skin_tone.typology_angle(truth["skin_l"], truth["skin_ab"][:, 1])
    labels = skin_tone.tone_of(angle, truth["skin_share"])
    return _groups(scores, labels, [*skin_tone.TONES, skin_tone.NO_SKIN])


def by_lightness(scores: Scores) -> list[dict[str, Any]]:
    """See `_groups`; by the mean L of the picture."""
    bounds = list(LIGHTNESS.values())
    names = np.array(list(LIGHTNESS), dtype=object)
    level = np.searchsorted(bounds, scores.images[TRUTH]["lightness"], side="right")
    return _groups(scores, names[np.minimum(level, len(names) - 1)], list(LIGHTNESS))


def _groups(scores: Scores, labels: np.ndarray, order: Sequence[str]) -> list[dict[str, Any]]:
    """For each label {"label", "images", "compared", "metrics", "intervals"}.

    Metrics are SHOWN by name (TRUTH has the colour of its skin only); intervals those of
    threshold_loss_10 in groups of at least MIN_IMAGES, which alone are compared.
    """
    groups = []
    for label in order:
        members = labels == label
        count = int(members.sum())
        group: dict[str, Any] = {
            "label": label,
            "images": count,
            "compared": count >= MIN_IMAGES and label != skin_tone.NO_SKIN,
            "metrics": {},
            "intervals": {},
        }
        if count:
            values = statistics(scores, members[None].astype(np.float64))
            group["metrics"] = {
                name: {
                    key: float(of[key][0]) for key in SHOWN if key in of and np.isfinite(of[key][0])
                }
                for name, of in values.items()
            }
        if group["compared"]:
            draws = resampled(scores, members, RESAMPLES)
            group["intervals"] = {
                name: percentiles(draws[name]["threshold_loss_10"]) for name in scores.names
            }
        groups.append(group)
    return groups


def gaps(groups: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """For each name the compared groups with the lowest and highest threshold loss at 10.

    Returns:
      {"best", "worst": labels, "gap": the difference of their losses, "apart": whether their 95%
      intervals do not overlap}; nothing where fewer than two groups are compared.
    """
    compared = [group for group in groups if group["compared"]]
    if len(compared) < 2:
        return {}
    found = {}
    for name in names:

        def loss(group: dict[str, Any], name: str = name) -> float:
            return group["metrics"][name]["threshold_loss_10"]

        best, worst = min(compared, key=loss), max(compared, key=loss)
        found[name] = {
            "best": best["label"],
            "worst": worst["label"],
            "gap": loss(worst) - loss(best),
            "apart": best["intervals"][name][1] < worst["intervals"][name][0],
        }
    return found
