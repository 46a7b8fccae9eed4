"""Findings as tables and sentences, for the terminal, results.md and report.html."""

from collections.abc import Mapping, Sequence
from typing import Any

from colorjax.evaluation.baselines import BASELINES
from colorjax.evaluation.scores import COLUMNS, TRUTH, heading

Findings = Mapping[str, Any]
Groups = Sequence[Mapping[str, Any]]
Cells = list[list[str]]

# The columns of tables in the terminal, which is narrow, and the other columns.
REST = ("rebalanced_auc", "psnr", "ssim", "colorfulness")
NARROW = tuple(key for key in COLUMNS if key not in REST)
# The columns of comparisons.
COMPARED = ("mse", "threshold_loss_10", "auc", "delta_e", "delta_cf", "histogram_distance")
# The baseline that a model must beat. Tables by group show it alongside the runs.
RIVAL = BASELINES[-1]


def brief(metrics: Mapping[str, float]) -> str:
    """The main metrics, and the discriminator's accuracy if it is known, on one line."""
    text = (
        f"MSE {metrics['mse']:.1f}, threshold loss at 10 {metrics['threshold_loss_10']:.3f}, "
        f"ΔCF {metrics['delta_cf']:.1f}"
    )
    if "accuracy_real" in metrics:
        text += (
            f"; discriminator accuracy {metrics['accuracy_real']:.2f} on real patches, "
            f"{metrics['accuracy_fake']:.2f} on generated ones"
        )
    return text


def results_table(results: Mapping[str, Mapping[str, float]], keys: Sequence[str] = NARROW) -> str:
    """The metrics of each model and baseline as a Markdown table."""
    return markdown(["", *(COLUMNS[key].heading for key in keys)], metric_cells(results, keys))


def metric_cells(results: Mapping[str, Mapping[str, float]], keys: Sequence[str]) -> Cells:
    """A row for each name, a cell for each metric."""
    return [
        [name, *(f"{metrics[key]:{COLUMNS[key].form}}" for key in keys)]
        for name, metrics in results.items()
    ]


def interval_cells(findings: Findings, keys: Sequence[str]) -> Cells:
    """A row for each name, a cell for the 95% interval of each metric."""
    return [
        [name, *(interval(intervals[key], COLUMNS[key].form) for key in keys)]
        for name, intervals in findings["intervals"].items()
    ]


def interval(bounds: Sequence[float], form: str) -> str:
    """As "1.0 … 2.0"."""
    low, high = (number(bound, form) for bound in bounds)
    return f"{low} … {high}"


def number(value: float, form: str) -> str:
    """A formatted number. One that rounds to zero has no sign."""
    text = f"{value:{form}}"
    return text.lstrip("+-") if not text.strip("+-0.") else text


def comparison_cells(comparisons: Groups) -> tuple[list[str], Cells]:
    """Differences of pairs, see `bootstrap.comparisons`, with a star where they are real."""
    pairs: dict[tuple[str, str], dict[str, Any]] = {}
    for row in comparisons:
        pairs.setdefault((row["a"], row["b"]), {})[row["metric"]] = row
    rows = []
    for (a, b), of in pairs.items():
        cells = []
        for key in COMPARED:
            form = "+" + COLUMNS[key].form
            mark = "*" if of[key]["real"] else ""
            bounds = interval(of[key]["interval"], form)
            cells.append(f"{number(of[key]['difference'], form)}{mark} ({bounds})")
        rows.append([f"{a} − {b}", *cells])
    return ["", *(heading(key) for key in COMPARED)], rows


def group_cells(groups: Groups, names: Sequence[str]) -> tuple[list[str], Cells]:
    """The threshold loss at 10 of each name in each group; in brackets if images are too few."""
    rows = []
    for group in groups:
        cells = []
        for name in names:
            if not group["images"]:
                cells.append("–")
                continue
            loss = f"{group['metrics'][name]['threshold_loss_10']:.3f}"
            bounds = group["intervals"].get(name)
            cells.append(f"{loss} ({interval(bounds, '.3f')})" if bounds else f"[{loss}]")
        rows.append([group["label"], str(group["images"]), *cells])
    return ["", "images", *names], rows


def skin_cells(groups: Groups, names: Sequence[str]) -> tuple[list[str], Cells]:
    """The mean a*, b* of skin in the truth and in the predictions of each name, and its ΔE00."""
    rows = []
    for group in groups:
        if "skin_a" not in group["metrics"].get(TRUTH, {}):
            continue
        cells = []
        for name in (TRUTH, *names):
            of = group["metrics"][name]
            error = f", ΔE00 {of['skin_delta_e']:.1f}" if "skin_delta_e" in of else ""
            cells.append(f"{of['skin_a']:.0f}, {of['skin_b']:.0f}{error}")
        rows.append([group["label"], *cells])
    return ["", *(f"{name}: a*, b*" for name in (TRUTH, *names))], rows


def variety_cells(findings: Findings) -> tuple[list[str], Cells]:
    """How far predicted skin follows the person, for each name."""
    rows = [
        [name, number(row["value"], ".2f"), interval(row["interval"], ".2f")]
        for name, row in findings["skin_variety"]["of"].items()
    ]
    return ["", "variety", "95% interval"], rows


def markdown(header: Sequence[str], rows: Cells) -> str:
    """A Markdown table. All columns but the first are aligned to the right."""
    lines = [header, *rows]
    text = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    text[0] = text[0].replace("|  |", "| |", 1)
    text.insert(1, "|---" + "|---:" * (len(header) - 1) + "|")
    return "\n".join(text) + "\n"


def sentences(findings: Findings, runs: Sequence[str]) -> list[str]:
    """The findings in words."""
    results = findings["results"]
    said = []
    best = min(runs, key=lambda name: results[name]["threshold_loss_10"])
    bounds = interval(findings["intervals"][best]["threshold_loss_10"], ".3f")
    if len(runs) > 1:
        said.append(
            f"Of the runs, {best} has the lowest threshold loss at 10: "
            f"{results[best]['threshold_loss_10']:.3f} (95% interval {bounds})."
        )
    for run in runs:
        if results[run]["threshold_loss_10"] >= results[RIVAL]["threshold_loss_10"]:
            meaning = " on these inputs" if "undamaged" in findings else ": it is not trained"
            said.append(f"{run} does not beat the {RIVAL}{meaning}.")
    for verdict in findings["verdicts"]:
        side = "below" if verdict["margin"] > 0 else "above"
        doubt = "" if verdict["real"] else "; the difference may be due to chance"
        said.append(
            f"{verdict['run']} lies {side} the curve of scaled {verdict['curve']}: its threshold "
            f"loss is {verdict['loss']:.3f}, that of the scaled model at the same colourfulness "
            f"{verdict['curve_loss']:.3f} (95% interval of the difference "
            f"{interval(verdict['interval'], '+.3f')}{doubt})."
        )
    for share in findings.get("undamaged", {}).get("shares", ()):
        said.append(
            f"Damage raises the threshold loss at 10 of {share['run']} by "
            f"{number(share['loss'], '.3f')} and that of {share['other']} by "
            f"{number(share['other_loss'], '.3f')}: {share['share']:.2f} times as much (95% "
            f"interval {interval(share['interval'], '.2f')})."
        )
    for what, key in (("skin tones", "skin_tone"), ("image lightness classes", "lightness")):
        gaps = {run: findings["gaps"][key][run] for run in runs if run in findings["gaps"][key]}
        for run, gap in gaps.items():
            if gap["apart"]:
                said.append(
                    f"Among the {what}, {run} is worst on {gap['worst']} and best on "
                    f"{gap['best']}: their threshold losses differ by {gap['gap']:.3f}."
                )
        if gaps and not any(gap["apart"] for gap in gaps.values()):
            said.append(f"Among the {what} with enough images, the intervals of each run overlap.")
    return said
