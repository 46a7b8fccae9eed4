"""Results by skin tone and by lightness of the picture: whom a model serves, and how well."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from colorjax import skin_tone
from colorjax.bootstrap import percentiles, resampled
from colorjax.scores import TRUTH, Scores, statistics

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
    """For each label {"label", "images", "compared", "figures", "intervals"}.

    Figures are SHOWN by name (TRUTH has the colour of its skin only); intervals those of
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
            "figures": {},
            "intervals": {},
        }
        if count:
            values = statistics(scores, members[None].astype(np.float64))
            group["figures"] = {
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
            return group["figures"][name]["threshold_loss_10"]

        best, worst = min(compared, key=loss), max(compared, key=loss)
        found[name] = {
            "best": best["label"],
            "worst": worst["label"],
            "gap": loss(worst) - loss(best),
            "apart": best["intervals"][name][1] < worst["intervals"][name][0],
        }
    return found
