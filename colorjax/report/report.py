"""The files of a report: results.json, results.md, plots, and one page with all of it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from colorjax.evaluation.scores import Scores
from colorjax.files import replaced
from colorjax.report import findings, grids, heads, plots, tables
from colorjax.report.output import COMPLETE, FILES
from colorjax.report.page import build_page
from colorjax.runs.trained_model import TrainedModel


def build_report(
    found: findings.Findings,
    scores: Scores,
    rows: grids.Rows,
    models: Sequence[TrainedModel],
    commands: Sequence[str],
) -> dict[str, bytes]:
    """The files of a report by name.

    Args:
      found: see `findings.find`.
      scores: that the findings summarise.
      rows: images to show.
      models: as they were trained.
      commands: that made the models and the report.
    """
    runs = [model.name for model in models]
    curves = plots.training_curves({model.name: model.rows for model in models})
    images = {
        "grid.png": grids.png(grids.rows_grid(rows)),
        "errors.png": plots.error_maps(rows),
        "threshold.png": plots.threshold_curve(scores, list(found["results"]), runs),
        "colors.png": plots.color_histograms(scores, runs),
        "saturation.png": plots.saturation_plane(found, runs),
        **({"answers.png": plots.answers(found["answers"])} if "answers" in found else {}),
        **({"hints.png": plots.hints(found["hints"])} if "hints" in found else {}),
        **({"curves.png": curves} if curves else {}),
    }
    configs = {model.name: model.config for model in models}
    page = build_page(found, runs, rows, images, configs, commands)
    text = json.dumps(findings.finite(found), indent=2, ensure_ascii=False, allow_nan=False)
    return images | {
        "report.html": page.encode(),
        "results.md": results_markdown(found, runs, commands).encode(),
        COMPLETE: (text + "\n").encode(),
    }


def write_report(directory: Path, files: Mapping[str, bytes]) -> None:
    """Writes the files, each atomically, and removes other files of an earlier report."""
    (directory / COMPLETE).unlink(missing_ok=True)
    for name in FILES:
        path = directory / name
        if name in files:
            with replaced(path) as part:
                part.write_bytes(files[name])
        else:
            path.unlink(missing_ok=True)


def results_markdown(found: Mapping[str, Any], runs: Sequence[str], commands: Sequence[str]) -> str:
    """The report as text."""
    headings = ["", *(tables.heading(key) for key in tables.COMPARED)]
    parts = [
        "\n".join(f"- {key}: {value}" for key, value in found["about"].items()),
        tables.results_table(found["results"]),
        "\n".join(f"- {sentence}" for sentence in tables.sentences(found, runs)),
        "Other metrics:\n",
        tables.results_table(found["results"], tables.REST),
        "95% intervals (bootstrap over images):\n",
        tables.markdown(headings, tables.interval_cells(found, tables.COMPARED)),
    ]
    starred = "with 95% intervals; * means that the interval excludes 0:\n"
    if found["comparisons"]:
        parts += [
            f"Differences on the same images, {starred}",
            tables.markdown(*tables.comparison_cells(found["comparisons"])),
        ]
    parts += heads.results_markdown(found)
    if "undamaged" in found:
        parts += [
            "What damage costs: metrics on damaged inputs minus those on the same images "
            f"undamaged, {starred}",
            tables.markdown(*tables.comparison_cells(found["undamaged"]["losses"])),
            "Metrics without damage:\n",
            tables.results_table(found["undamaged"]["results"]),
        ]
    for title, key in (("skin tone", "skin_tone"), ("image lightness", "lightness")):
        parts += [
            f"Threshold loss at 10 by {title}; values in [brackets] are of too few images to be "
            "compared:\n",
            tables.markdown(*tables.group_cells(found[key], [*runs, tables.RIVAL])),
        ]
    if commands:
        parts += ["```sh\n" + "\n".join(commands) + "\n```\n"]
    return "\n".join(part if part.endswith("\n") else part + "\n" for part in parts if part)
