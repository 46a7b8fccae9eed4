"""Findings: everything that a report says in numbers, computed once. results.json holds them."""

import itertools
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from colorjax.evaluation import skin_tone
from colorjax.evaluation.distribution import TEMPERATURES
from colorjax.evaluation.scores import TRUTH, Scores, Statistics, first_metrics
from colorjax.report.bootstrap import comparisons, intervals, judged, percentiles, resampled

Findings = dict[str, Any]
# Smaller groups are shown, but nothing is concluded from them.
MIN_IMAGES = 30
GROUP_RESAMPLES = 500
GROUP_METRICS = {"mse", "threshold_loss_10", "delta_e", "delta_cf"}
GROUP_METRICS |= {"skin_delta_e", "skin_a", "skin_b"}
TONES = [*skin_tone.TONES, skin_tone.NO_SKIN]
# Upper bounds of the image's mean L.
LIGHTNESS = {
    "dark (mean L below 35)": 35.0,
    "35 to 50": 50.0,
    "50 to 65": 65.0,
    "65 and above": np.inf,
}


def find(
    scores: Scores,
    runs: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    about: Mapping[str, Any],
    undamaged: Mapping[str, str] = MappingProxyType({}),
) -> Findings:
    """Summarises scores.

    Args:
      scores: of what was evaluated.
      runs: the names of the models as they were trained.
      pairs: names to compare.
      about: what was evaluated, on which data.
      undamaged: maps each name to that of its evaluation on undamaged inputs; may be empty.

    Returns:
      A tree for JSON: about; truth; results, metrics by name; intervals; comparisons of pairs;
      skin_tone and lightness, groups of images; gaps between groups; skin_variety;
      saturation_curves; verdicts on runs and curves; annealed, points of models with a
      distribution; undamaged, what damage costs.
    """
    values = resampled(scores)
    names = [name for name in scores.names if name not in undamaged.values()]
    shown = {name: values[name] for name in names}
    curves = {
        name: {
            "factors": scores.sums[name]["saturations"].tolist(),
            "threshold_loss_10": of["curve_loss"][0].tolist(),
            "bias_cf": of["curve_bias_cf"][0].tolist(),
        }
        for name, of in shown.items()
        if "curve_loss" in of
    }
    variety = {
        name: judged("value", of["skin_variety"])
        for name, of in shown.items()
        if np.isfinite(of["skin_variety"][0])
    }
    with_skin = scores.images[TRUTH]["skin_share"] >= skin_tone.MIN_SHARE
    labels, order = _labels(scores.images[TRUTH]), {"skin_tone": TONES, "lightness": [*LIGHTNESS]}
    groups = {key: _groups(scores.chosen(names), labels[key], order[key]) for key in labels}
    annealed = _annealed(shown, list(curves))
    return {
        "about": dict(about),
        "truth": {"colorfulness": float(values[TRUTH]["colorfulness"][0])},
        "results": first_metrics(shown),
        "intervals": intervals(shown),
        "comparisons": comparisons(values, pairs),
        **groups,
        "gaps": {key: _gaps(of, names) for key, of in groups.items()},
        "skin_variety": {"images": int(with_skin.sum()), "of": variety},
        "saturation_curves": curves,
        "verdicts": _verdicts(values, runs, list(curves)),
        **({"annealed": annealed} if annealed else {}),
        **({"undamaged": _losses(values, runs, undamaged)} if undamaged else {}),
    }


def _verdicts(
    values: Statistics, runs: Sequence[str], curves: Sequence[str]
) -> list[dict[str, Any]]:
    """Whether each run without a curve lies below each curve.

    Returns:
      {"run", "curve", "loss", "curve_loss": of the scaled model that is as colourful as the run,
      "margin": by which the run's loss is lower, "interval", "real"}; nothing for a run that is
      outside the colourfulness of the curve.
    """
    verdicts = []
    for run, curve in itertools.product(runs, curves):
        verdict = _verdict(values[run], values[curve])
        if run not in curves and verdict:
            verdicts.append({"run": run, "curve": curve, **verdict})
    return verdicts


def _annealed(values: Statistics, curves: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """The annealed means of each model with a distribution, and their verdicts by curve."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name, of in values.items():
        if "annealed_loss" not in of:
            continue
        for i, temperature in enumerate(TEMPERATURES):
            point = {
                "threshold_loss_10": of["annealed_loss"][:, i],
                "bias_cf": of["annealed_bias_cf"][:, i],
            }
            verdicts = {curve: _verdict(point, values[curve]) for curve in curves}
            found.setdefault(name, []).append(
                {
                    "temperature": temperature,
                    **{key: float(value[0]) for key, value in point.items()},
                    "verdicts": {curve: verdict for curve, verdict in verdicts.items() if verdict},
                }
            )
    return found


def _verdict(
    run: Mapping[str, np.ndarray], curve: Mapping[str, np.ndarray]
) -> dict[str, Any] | None:
    """See `_verdicts`. None outside the colourfulness of the curve."""
    margin = _margin(run, curve)
    if np.isnan(margin[0]):
        return None
    loss = float(run["threshold_loss_10"][0])
    return {"loss": loss, "curve_loss": loss + float(margin[0]), **judged("margin", margin)}


def _margin(run: Mapping[str, np.ndarray], curve: Mapping[str, np.ndarray]) -> np.ndarray:
    """[1 + B] the loss of the scaled model that is as colourful as the run, minus the run's."""
    at = [
        np.interp(bias, x[order], y[order], left=np.nan, right=np.nan)
        for bias, x, y, order in zip(
            run["bias_cf"],
            curve["curve_bias_cf"],
            curve["curve_loss"],
            np.argsort(curve["curve_bias_cf"], axis=1),
            strict=True,
        )
    ]
    return np.array(at) - run["threshold_loss_10"]


def _losses(values: Statistics, runs: Sequence[str], undamaged: Mapping[str, str]) -> Findings:
    """What damage costs, on the same draws of images with and without it.

    Returns:
      results: metrics without damage, by name; losses: `comparisons` of each name with itself
      without damage; shares: for each two runs {"run", "other", "loss", "other_loss": increases of
      the threshold loss at 10, "share": the first divided by the second, "interval"}, with the run
      that loses less first, where both lose and the other's loss is real.
    """
    lost = {
        name: values[name]["threshold_loss_10"] - values[plain]["threshold_loss_10"]
        for name, plain in undamaged.items()
    }
    shares = []
    for run, other in itertools.permutations(runs, 2):
        loss, other_loss = float(lost[run][0]), float(lost[other][0])
        if 0 < loss < other_loss and percentiles(lost[other])[0] > 0:
            share = {"run": run, "other": other, "loss": loss, "other_loss": other_loss}
            shares.append(share | judged("share", lost[run] / lost[other]))
    return {
        "results": first_metrics({name: values[plain] for name, plain in undamaged.items()}),
        "losses": comparisons(values, list(undamaged.items())),
        "shares": shares,
    }


def _labels(truth: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """[N] the skin tone and the lightness of each image, by name."""
    angle = skin_tone.typology_angle(truth["skin_l"], truth["skin_ab"][:, 1])
    level = np.searchsorted(list(LIGHTNESS.values()), truth["lightness"], side="right")
    return {
        "skin_tone": skin_tone.tone_of(angle, truth["skin_share"]),
        "lightness": np.array([*LIGHTNESS], dtype=object)[np.minimum(level, len(LIGHTNESS) - 1)],
    }


def _groups(scores: Scores, labels: np.ndarray, order: Sequence[str]) -> list[dict[str, Any]]:
    """For each label {"label", "images", "compared", "metrics", "intervals"}.

    Metrics are GROUP_METRICS by name (TRUTH has the colour of its skin only). Intervals are those
    of threshold_loss_10. Only groups of at least MIN_IMAGES have intervals and are compared.
    """
    groups: list[dict[str, Any]] = []
    for label in order:
        members = labels == label
        count = int(members.sum())
        compared = count >= MIN_IMAGES and label != skin_tone.NO_SKIN
        values = resampled(scores, members, GROUP_RESAMPLES if compared else 0) if count else {}
        group: dict[str, Any] = {"label": label, "images": count, "compared": compared}
        group["metrics"] = {
            name: {
                key: float(of[key][0])
                for key in GROUP_METRICS & of.keys()
                if np.isfinite(of[key][0])
            }
            for name, of in values.items()
        }
        group["intervals"] = {
            name: percentiles(values[name]["threshold_loss_10"])
            for name in (scores.names if compared else ())
        }
        groups.append(group)
    return groups


def _gaps(groups: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """For each name the compared groups with the lowest and the highest threshold loss at 10.

    Returns:
      {"best", "worst": labels, "gap": the difference of their losses, "apart": whether their 95%
      intervals do not overlap}; nothing if fewer than two groups are compared.
    """
    compared = [group for group in groups if group["compared"]]
    if len(compared) < 2:
        return {}
    found = {}
    for name in names:
        losses = [group["metrics"][name]["threshold_loss_10"] for group in compared]
        best, worst = compared[int(np.argmin(losses))], compared[int(np.argmax(losses))]
        found[name] = {
            "best": best["label"],
            "worst": worst["label"],
            "gap": max(losses) - min(losses),
            "apart": best["intervals"][name][1] < worst["intervals"][name][0],
        }
    return found


def finite(value: Any) -> Any:
    """The same tree with None for each number that JSON cannot represent."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
