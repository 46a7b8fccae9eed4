"""The files of a report, and where they may be written. Imports no JAX."""

from pathlib import Path

from colorjax.files import check_folder
from colorjax.terminal.errors import InputError

# By file: heading, alternative text, caption.
PLOTS = {
    "grid.png": (
        "Side by side",
        "A grid of faces: in grey, as each run colours them, and the originals.",
        "The best, median and worst images by ΔE00 averaged over the runs, and random ones.",
    ),
    "errors.png": (
        "Where the errors are",
        "Maps of the colour difference at each pixel, for each run and image of the grid.",
        "ΔE00 at each pixel of the same images.",
    ),
    "threshold.png": (
        "Threshold curve",
        "Curves of the share of pixels with a colour error above a threshold, falling from 1.",
        "The threshold loss at every threshold, with the baselines. Lower is better.",
    ),
    "colors.png": (
        "Predicted colours",
        "Histograms in the a*b* plane: one of the truth, and one of each run.",
        "How often each colour occurs in all images together. The red line encloses the colours of "
        "the truth. A run never predicts the colours that it leaves empty inside the line.",
    ),
    "saturation.png": (
        "Better than scaled regression?",
        "Runs and baselines as points by colourfulness and threshold loss; scaled models, curves.",
        "Scaling the a*b* of a regression model makes it as colourful as desired, along its curve. "
        "A GAN is an improvement only where it lies below that curve.",
    ),
    "answers.png": (
        "Does the model know what it does not know?",
        "Coverage of sets of colours, errors by uncertainty, and the best ΔE00 of several answers.",
        "The coverage of the smallest sets of colours with some probability, which is that "
        "probability if the model is calibrated; the error of groups of pixels by the model's "
        "uncertainty, which likewise are equal; and the lowest ΔE00 among the first N answers.",
    ),
    "hints.png": (
        "With hints",
        "ΔE00 and PSNR against the number of hints, of models and of a guided filter.",
        "Hints are the true colours at random places. The guided filter spreads the same hints "
        "along the lightness, without a model.",
    ),
    "curves.png": (
        "Training",
        "Losses and validation metrics against the number of steps.",
        "Training losses, and metrics on validation images, as computed during training.",
    ),
}

# Removed first and written last: if it exists, the report is complete.
COMPLETE = "results.json"
FILES = (*PLOTS, "report.html", "results.md", COMPLETE)


def check_output(directory: Path, overwrite: bool) -> None:
    """Raises InputError if a report cannot be written there, or would replace another."""
    check_folder(directory)
    there = [name for name in FILES if (directory / name).exists()]
    if there and not overwrite:
        raise InputError(
            f"{directory} already holds a report ({there[-1]}); choose another --output or add "
            "--overwrite"
        )
