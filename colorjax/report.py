"""Pictures and tables of a run: sample grids, results.json, results.md, training curves."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from colorjax.files import replaced, write_text
from colorjax.inference import colorize
from colorjax.state import Variables
from colorjax.steps import Predictor

MARGIN = 4
HEADER = 22
# Grids are shown at least this large, in pixels an image.
CELL = 128


def image_grid(columns: Mapping[str, Sequence[np.ndarray]]) -> Image.Image:
    """A grid with one captioned column of images for each entry.

    Args:
      columns: by caption, equally many images [H, W, 3] uint8 sRGB of one size.
    """
    rows = len(next(iter(columns.values())))
    size = next(iter(columns.values()))[0].shape[0]
    cell = size * -(-CELL // size)
    pitch = cell + MARGIN
    width, height = pitch * len(columns) + MARGIN, pitch * rows + MARGIN + HEADER
    grid = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(grid)
    font = ImageFont.load_default(size=14)
    for x, (caption, images) in enumerate(columns.items()):
        draw.text(
            (MARGIN + x * pitch + cell // 2, HEADER // 2), caption, "black", font, anchor="mm"
        )
        for y, pixels in enumerate(images):
            image = Image.fromarray(pixels).resize((cell, cell), Image.Resampling.BICUBIC)
            grid.paste(image, (MARGIN + x * pitch, HEADER + MARGIN + y * pitch))
    return grid


def sample_grid(
    predictors: Mapping[str, Predictor], variables: Variables, images: np.ndarray
) -> Image.Image:
    """Columns grey, each prediction, truth of some images [N, H, W, 3] uint8 sRGB."""
    columns: dict[str, Sequence[np.ndarray]] = {}
    for name, predict in predictors.items():
        grey, prediction = jax.device_get(colorize(predict, variables, images))
        columns |= {"grey": grey, name: prediction}
    return image_grid(columns | {"truth": list(images)})


def brief(figures: Mapping[str, float]) -> str:
    """The figures of merit in half a line."""
    return (
        f"MSE {figures['mse']:.1f}, threshold loss at 10 {figures['threshold_loss_10']:.3f}, "
        f"ΔCF {figures['delta_cf']:.1f}"
    )


def save_image(image: Image.Image, path: Path) -> None:
    """Writes a PNG."""
    with replaced(path) as beside:
        image.save(beside, format="PNG")


def results_table(results: Mapping[str, Mapping[str, float]]) -> str:
    """The figures of each model and baseline as a Markdown table."""
    columns = {
        "MSE": ("mse", ".1f"),
        "threshold loss 5": ("threshold_loss_5", ".3f"),
        "10": ("threshold_loss_10", ".3f"),
        "20": ("threshold_loss_20", ".3f"),
        "ΔCF": ("delta_cf", ".1f"),
        "ΔCF per image": ("delta_cf_image", ".1f"),
        "a*b* histogram distance": ("histogram_distance", ".3f"),
    }
    lines = ["| | " + " | ".join(columns) + " |", "|---" + "|---:" * len(columns) + "|"]
    for name, figures in results.items():
        cells = (f"{figures[key]:{form}}" for key, form in columns.values())
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def write_report(
    directory: Path,
    results: Mapping[str, Mapping[str, float]],
    about: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    grid: Image.Image,
) -> None:
    """Writes results.json, results.md, grid.png and curves.png.

    Args:
      directory: made if it is not there.
      results: figures by model and baseline.
      about: what the figures are of (run, step, data, images).
      rows: of metrics.jsonl.
      grid: the pictures side by side.
    """
    write_text(
        directory / "results.json",
        json.dumps({"about": about, "results": results}, indent=2) + "\n",
    )
    facts = "\n".join(f"- {key}: {value}" for key, value in about.items())
    write_text(directory / "results.md", f"{facts}\n\n{results_table(results)}")
    save_image(grid, directory / "grid.png")
    _plot_curves(directory / "curves.png", rows)


def _plot_curves(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    # Imported here: it takes half a second, and only the end of a run needs it.
    from matplotlib.figure import Figure

    panels = (
        ("train", ("loss", "adversarial_loss", "discriminator_loss"), "training losses"),
        ("train", ("accuracy_real", "accuracy_fake"), "discriminator's accuracy"),
        ("validation", ("mse",), "MSE on validation images (Lab units²)"),
        ("validation", ("threshold_loss_10",), "threshold loss at 10 on validation images"),
    )
    shown = [
        panel
        for panel in panels
        if any(row["split"] == panel[0] and key in row for row in rows for key in panel[1])
    ]
    figure = Figure(figsize=(5 * len(shown), 4), layout="constrained")
    for axes, (split, keys, title) in zip(
        figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True
    ):
        for key in keys:
            points = [(r["step"], r[key]) for r in rows if r["split"] == split and key in r]
            if points:
                axes.plot(
                    *zip(*points, strict=True), label=key, marker="." if len(points) < 30 else ""
                )
        axes.set(xlabel="step", title=title)
        axes.grid(alpha=0.3)
        if len(keys) > 1:
            axes.legend()
    with replaced(path) as beside:
        figure.savefig(beside, dpi=100, format="png")
