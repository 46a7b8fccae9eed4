"""`colorjax colorize`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from colorjax.terminal.arguments import positive, saturation
from colorjax.terminal.errors import InputError


def add_colorize(commands: Any) -> None:
    """`colorjax colorize`."""
    parser = commands.add_parser(
        "colorize",
        help="colour photographs",
        description="Colours photographs: JPEG, PNG, WebP, TIFF and BMP of any size. Lightness, "
        "dates, places, profile, resolution, transparency and 16 bits stay. What is already in "
        "the output folder is not coloured again, so an interrupted command goes on.",
        epilog="example:\n  colorjax colorize album/ portrait.jpg --output coloured\n"
        "  colorjax colorize 'scans/*.tif' --output coloured --model runs/gan-image_folder "
        "--saturation 1.2",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "inputs", nargs="+", metavar="IN", help="files, folders with all below them, globs"
    )
    parser.add_argument(
        "--output", metavar="DIR", type=Path, required=True, help="the folder of the coloured files"
    )
    parser.add_argument(
        "--model",
        default=None,
        metavar="RUN|FILE|NAME",
        help="a run's folder, RUN/checkpoints/STEP, a file of `colorjax export`, or a name of "
        "`colorjax models`, which wins over a folder of that name "
        "(default: the one that comes with colorjax)",
    )
    parser.add_argument(
        "--saturation", type=saturation, default=1.0, metavar="X", help="1.2 paints bolder, 0 grey"
    )
    parser.add_argument(
        "--compare", action="store_true", help="write NAME_compare.jpg too: grey beside coloured"
    )
    parser.add_argument("--suffix", default="", help="goes behind each name: _coloured")
    parser.add_argument(
        "--format", default="", choices=["jpeg", "png", "webp", "tiff", "bmp"], help="of all files"
    )
    parser.add_argument("--overwrite", action="store_true", help="colour what is there anew")
    parser.add_argument("--device", choices=["cpu", "gpu", "tpu"], help="by default the best")
    parser.add_argument(
        "--batch_size", type=positive, default=8, metavar="N", help="photographs at once"
    )
    parser.set_defaults(run=_run_colorize)


def _run_colorize(options: argparse.Namespace) -> None:
    """Colours files, and exits with status 1 if some could not be coloured."""
    from colorjax.colorize.colorizer import Colorizer
    from colorjax.colorize.files import colorize_files, plan, printable
    from colorjax.parallel import devices
    from colorjax.runs.weights import DEFAULT_MODEL
    from colorjax.terminal.progress import counting

    jobs = plan(options.inputs, options.output, options.suffix, options.format)
    to_do = [job for job in jobs if options.overwrite or not job.target.exists()]
    devices.configure()
    failures = []
    if to_do:
        model = options.model or DEFAULT_MODEL
        colorizer = Colorizer.load(model, options.batch_size, options.device)
        try:
            options.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"cannot write to {printable(options.output)} ({error.strerror}); choose another "
                "--output"
            ) from error
        with counting("Colouring", len(to_do)) as advance:
            failures = colorize_files(
                to_do,
                colorizer,
                saturation=options.saturation,
                compare=options.compare,
                batch_size=options.batch_size,
                advance=advance,
            )
    print(f"{len(to_do) - len(failures)} coloured into {printable(options.output)}.")
    if len(to_do) < len(jobs):
        there = len(jobs) - len(to_do)
        print(f"{there} had been there before; --overwrite colours them anew.")
    if failures:
        for failure in failures:
            print(f"{printable(failure.source)}: {failure.reason}", file=sys.stderr)
        sys.exit(f"colorjax: {len(failures)} of {len(to_do)} could not be coloured (see above)")
