"""`colorjax export`."""

import argparse
from pathlib import Path
from typing import Any

from colorjax.terminal.arguments import share
from colorjax.terminal.errors import InputError


def add_export(commands: Any) -> None:
    """`colorjax export`."""
    parser = commands.add_parser(
        "export",
        help="write a run's model into one file",
        description="Writes the averaged generator of a run, with its config and a model card, "
        "into one file that `colorjax colorize` and `colorjax evaluate` take for a model.",
        epilog="example:\n  colorjax export runs/gan-image_folder --output faces.safetensors\n"
        "  colorjax export runs/gan-image_folder --output between.safetensors "
        "--interpolate runs/resnet-image_folder --share 0.5",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "path",
        metavar="RUN",
        type=Path,
        help="a run's folder, which means its newest checkpoint, RUN/checkpoints/STEP, or "
        "RUN/checkpoints/best (on validation)",
    )
    parser.add_argument(
        "--output", metavar="FILE", type=Path, required=True, help="ends in .safetensors"
    )
    parser.add_argument(
        "--dtype", default="float16", choices=["float16", "float32"], help="of the parameters"
    )
    parser.add_argument("--card", type=Path, metavar="FILE", help="Markdown to add to the card")
    parser.add_argument(
        "--interpolate",
        type=Path,
        metavar="RUN|FILE",
        help="average the parameters with those of this one, which RUN was started from (a GAN "
        "from its regression): between the two lies what is more colourful than the one and errs "
        "less than the other",
    )
    parser.add_argument(
        "--share",
        type=share,
        metavar="X",
        help="of RUN in that, 0 to 1 (default: 0.5)",
    )
    parser.set_defaults(run=_run_export)


def _run_export(options: argparse.Namespace) -> None:
    """Writes the file and says how large it is."""
    from colorjax.runs.trained_model import folder, load_run
    from colorjax.runs.weights import export_weights, interpolate, model_card, open_path

    run = load_run(options.path, options.path.resolve().name)
    if options.interpolate is not None:
        other = open_path(options.interpolate, folder(options.interpolate).resolve().stem)
        run = interpolate(run, other, 0.5 if options.share is None else options.share)
    elif options.share is not None:
        raise InputError("--share is of RUN beside another; name that with --interpolate")
    export_weights(run, options.output, model_card(run, options.card), options.dtype)
    size = options.output.stat().st_size / 2**20
    print(f"{options.output}: {size:.1f} MiB, step {run.step} of {run.path}.")
