"""Findings as tables: for the terminal, results.md and report.html."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from colorjax.evaluation.scores import COLUMNS, TRUTH, heading

Findings = Mapping[str, Any]
Groups = Sequence[Mapping[str, Any]]


# What fits into a terminal.
NARROW = (
    "mse",
    "threshold_loss_5",
    "threshold_loss_10",
    "threshold_loss_20",
    "auc",
    "delta_e",
    "delta_cf",
    "delta_cf_image",
    "histogram_distance",
)
# Of which pairs are compared in text.
COMPARED = ("mse", "threshold_loss_10", "auc", "delta_e", "delta_cf", "histogram_distance")

# Beside the runs in tables by group.
RIVAL = "mean colour for each lightness"

Cells = list[list[str]]


def brief(metrics: Mapping[str, float]) -> str:
    """The metrics in half a line, and what is known of a discriminator."""
    text = (
        f"MSE {metrics['mse']:.1f}, threshold loss at 10 {metrics['threshold_loss_10']:.3f}, "
        f"ΔCF {metrics['delta_cf']:.1f}"
    )
    if "accuracy_real" in metrics:
        text += (
            f"; discriminator right on {metrics['accuracy_real']:.2f} of what is real and "
            f"{metrics['accuracy_fake']:.2f} of what is painted"
        )
    return text


def results_table(results: Mapping[str, Mapping[str, float]]) -> str:
    """The main metrics of each model and baseline as a Markdown table."""
    return markdown(["", *(COLUMNS[key].heading for key in NARROW)], figure_cells(results, NARROW))


def figure_cells(
    results: Mapping[str, Mapping[str, float]], keys: Iterable[str] = tuple(COLUMNS)
) -> Cells:
    """A row for each name, a cell for each metric."""
    keys = tuple(keys)
    return [
        [name, *(f"{metrics[key]:{COLUMNS[key].form}}" for key in keys)]
        for name, metrics in results.items()
    ]


def interval_cells(findings: Findings, keys: Sequence[str]) -> Cells:
    """The 95% interval of each name's metrics."""
    rows = []
    for name, intervals in findings["intervals"].items():
        rows.append([name, *(interval(intervals[key], COLUMNS[key].form) for key in keys)])
    return rows


def interval(bounds: Sequence[float], form: str) -> str:
    """As "1.0 … 2.0"."""
    low, high = (number(bound, form) for bound in bounds)
    return f"{low} … {high}"


def number(value: float, form: str) -> str:
    """Formatted; what rounds to zero has no sign."""
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


def group_cells(
    groups: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> tuple[list[str], Cells]:
    """The threshold loss at 10 of each name in each group; in brackets where too few images."""
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


def skin_cells(
    groups: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> tuple[list[str], Cells]:
    """The mean a*, b* of skin in the truth and as each name paints it, and its ΔE00."""
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


def markdown(header: Sequence[str], rows: Cells) -> str:
    """A Markdown table; all but the first column to the right."""
    lines = [header, *rows]
    text = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    text[0] = text[0].replace("|  |", "| |", 1)
    text.insert(1, "|---" + "|---:" * (len(header) - 1) + "|")
    return "\n".join(text) + "\n"


def sentences(findings: Findings, runs: Sequence[str]) -> list[str]:
    """What the metrics say, in words."""
    results = findings["results"]
    said = []
    best = min(runs, key=lambda name: results[name]["threshold_loss_10"])
    bounds = interval(findings["intervals"][best]["threshold_loss_10"], ".3f")
    if len(runs) > 1:
        said.append(
            f"Of the runs, {best} has the lowest threshold loss at 10: "
            f"{results[best]['threshold_loss_10']:.3f} (95% {bounds})."
        )
    lookup = results[RIVAL]
    for run in runs:
        if results[run]["threshold_loss_10"] >= lookup["threshold_loss_10"]:
            meaning = " on these inputs" if "undamaged" in findings else ": it is not trained"
            said.append(f"{run} does not beat the mean colour for each lightness{meaning}.")
    for verdict in findings["verdicts"]:
        side = "below" if verdict["margin"] > 0 else "above"
        sure = "" if verdict["real"] else ", a difference that could be chance"
        said.append(
            f"{verdict['run']} lies {side} the curve of {verdict['curve']} scaled: at the same "
            f"colourfulness its threshold loss is {verdict['loss']:.3f}, the scaled model's "
            f"{verdict['curve_loss']:.3f} (95% of the difference "
            f"{interval(verdict['interval'], '+.3f')}{sure})."
        )
    for share in findings.get("undamaged", {}).get("shares", ()):
        said.append(
            f"Damage costs {share['run']} {number(share['loss'], '+.3f')} of threshold loss at 10 "
            f"and {share['other']} {number(share['other_loss'], '+.3f')}: {share['share']:.2f} "
            f"times as much (95% {interval(share['interval'], '.2f')})."
        )
    for what, key in (("skin tones", "skin_tone"), ("lightnesses of the picture", "lightness")):
        gaps = {run: findings["gaps"][key][run] for run in runs if run in findings["gaps"][key]}
        for run, gap in gaps.items():
            if gap["apart"]:
                said.append(
                    f"Of the {what}, {run} does worst on {gap['worst']} and best on "
                    f"{gap['best']}: threshold losses {gap['gap']:.3f} apart."
                )
        if gaps and not any(gap["apart"] for gap in gaps.values()):
            said.append(
                f"Between the {what} that have enough images, no run's intervals lie apart."
            )
    return said
