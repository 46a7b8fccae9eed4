"""The report of an evaluation: results.json, results.md, pictures, and one page with all of it."""

import itertools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from colorjax.evaluation.evaluate import Candidate
from colorjax.evaluation.scores import Scores
from colorjax.files import replaced
from colorjax.report import findings, grids, plots, tables
from colorjax.report.page import build_page
from colorjax.terminal.errors import InputError

# What a report may consist of; results.json comes last, so that it stands for a whole report.
FILES = (
    "grid.png",
    "errors.png",
    "threshold.png",
    "colors.png",
    "saturation.png",
    "curves.png",
    "report.html",
    "results.md",
    "results.json",
)


class Material(NamedTuple):
    """What a report is made of.

    Attributes:
      scores: of everything in the table, in its order.
      runs: the models as they were trained: those whose colours are shown.
      pairs: names that are compared with each other.
      image: (number, side in pixels) -> [side, side, 3] uint8 sRGB.
      batch_size: of the evaluation.
      about: what the metrics are of, for all files.
      rows: of metrics.jsonl, by run.
      configs: by run.
      commands: that made the runs and the report.
      undamaged: if the scores are on damaged inputs: see `findings.find`.
    """

    scores: Scores
    runs: Sequence[Candidate]
    pairs: Sequence[tuple[str, str]]
    image: Callable[[int, int], np.ndarray]
    batch_size: int
    about: Mapping[str, Any]
    rows: Mapping[str, Sequence[Mapping[str, Any]]]
    configs: Mapping[str, Any]
    commands: Sequence[str]
    undamaged: Scores | None = None


def pairs_of(runs: Sequence[Candidate], scaled: Sequence[Candidate]) -> list[tuple[str, str]]:
    """Each two runs, and each run that has no curve with each scaled model: what it has to beat."""
    names = [run.name for run in runs]
    rivals = [(r.name, s.name) for r in runs if not r.saturations for s in scaled]
    return [*itertools.combinations(names, 2), *rivals]


def build_report(material: Material) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The findings, and the files of the report by name."""
    scores = material.scores
    runs = [run.name for run in material.runs]
    found = findings.find(scores, runs, material.pairs, material.about, material.undamaged)
    chosen = grids.choose_rows(scores, runs)
    rows = grids.colored_rows(chosen, material.runs, material.image, material.batch_size)
    images = {
        "grid.png": grids.png(grids.rows_grid(rows)),
        "errors.png": plots.error_maps(rows),
        "threshold.png": plots.threshold_curve(scores, runs),
        "colors.png": plots.color_histograms(scores, runs),
        "saturation.png": plots.saturation_plane(scores, runs, found["saturation_curves"]),
    }
    curves = plots.training_curves(material.rows)
    if curves is not None:
        images["curves.png"] = curves
    page = build_page(found, runs, rows, images, material.configs, material.commands)
    text = json.dumps(findings.finite(found), indent=2, ensure_ascii=False, allow_nan=False)
    return found, images | {
        "report.html": page.encode(),
        "results.md": results_markdown(found, runs, material.commands).encode(),
        "results.json": (text + "\n").encode(),
    }


def write_report(directory: Path, files: Mapping[str, bytes]) -> None:
    """Writes each file whole or not at all, and removes what an earlier report left besides."""
    for name in FILES:
        path = directory / name
        if name in files:
            with replaced(path) as beside:
                beside.write_bytes(files[name])
        else:
            path.unlink(missing_ok=True)


def check_output(directory: Path, overwrite: bool) -> None:
    """Raises InputError if a report cannot be written there, or another one must be kept."""
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory} is a file; give a folder for the report")
    there = [name for name in FILES if (directory / name).exists()]
    if there and not overwrite:
        raise InputError(
            f"{directory} holds a report ({there[-1]}), which is kept; choose another --output or "
            "add --overwrite"
        )
    existing = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise InputError(f"cannot write to {directory}; choose another --output")


def results_markdown(found: Mapping[str, Any], runs: Sequence[str], commands: Sequence[str]) -> str:
    """The report as text."""
    models = [*runs, tables.RIVAL]
    keys = ("mse", "threshold_loss_10", "auc", "delta_e", "delta_cf", "histogram_distance")
    parts = [
        "\n".join(f"- {key}: {value}" for key, value in found["about"].items()),
        tables.results_table(found["results"]),
        "\n".join(f"- {sentence}" for sentence in tables.sentences(found, runs)),
        "The other metrics:\n",
        tables.markdown(
            ["", *(tables.COLUMNS[key].heading for key in REST)],
            tables.figure_cells(found["results"], REST),
        ),
        "95% intervals (bootstrap over images):\n",
        tables.markdown(
            ["", *(tables.heading(key) for key in keys)], tables.interval_cells(found, keys)
        ),
    ]
    if found["comparisons"]:
        parts += [
            "Differences between two, on the same images, with their 95% intervals; * where the "
            "interval excludes 0:\n",
            tables.markdown(*tables.comparison_cells(found["comparisons"])),
        ]
    if "undamaged" in found:
        parts += [
            "What damage costs: metrics on damaged inputs less those on the same images undamaged, "
            "with their 95% intervals; * where the interval excludes 0:\n",
            tables.markdown(*tables.comparison_cells(found["undamaged"]["losses"])),
            "The metrics without damage:\n",
            tables.results_table(found["undamaged"]["results"]),
        ]
    for title, key in (("skin tone", "skin_tone"), ("lightness of the picture", "lightness")):
        header, rows = tables.group_cells(found[key], models)
        parts += [f"Threshold loss at 10 by {title}; [in brackets] where images are too few to "
                  "compare:\n", tables.markdown(header, rows)]  # fmt: skip
    if commands:
        parts += ["```sh\n" + "\n".join(commands) + "\n```\n"]
    return "\n".join(part if part.endswith("\n") else part + "\n" for part in parts if part)


REST = tuple(key for key in tables.COLUMNS if key not in tables.NARROW)
