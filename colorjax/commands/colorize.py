"""`colorjax colorize`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from colorjax.terminal.arguments import positive, saturation
from colorjax.terminal.errors import EndedError, InputError


def add_colorize(commands: Any) -> None:
    """Adds `colorjax colorize`."""
    parser = commands.add_parser(
        "colorize",
        help="colour photographs",
        description="Colours photographs: JPEG, PNG, WebP, TIFF and BMP of any size. Lightness, "
        "EXIF, profile, resolution, transparency and 16 bits are kept where the format has them. "
        "Files in the output folder are skipped, so an interrupted command resumes.",
        epilog="example:\n  colorjax colorize album/ portrait.jpg --output coloured\n"
        "  colorjax colorize 'scans/*.tif' --output coloured --model runs/gan-image_folder "
        "--saturation 1.2",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("inputs", nargs="+", metavar="IN", help="files, folders (searched recursively), globs")
    add("--output", metavar="DIR", type=Path, required=True, help="folder of the coloured files")
    add(
        "--model",
        metavar="RUN|FILE|NAME",
        help="a run's folder, RUN/checkpoints/STEP or /best, an exported file, or a name "
        "listed by `colorjax models`, which takes precedence over a folder of that name "
        "(default: the model that comes with colorjax)",
    )
    bolder = "factor for the colours: 1.2 is bolder, 0 is grey (default: 1)"
    add("--saturation", type=saturation, default=1.0, metavar="X", help=bolder)
    pair = "also write grey and coloured side by side: a_png_compare.jpg for a.png"
    add("--compare", action="store_true", help=pair)
    add("--suffix", default="", help="appended to each name, such as _coloured")
    formats = ["jpeg", "png", "webp", "tiff", "bmp"]
    add("--format", default="", choices=formats, help="of all outputs (default: of each input)")
    add("--overwrite", action="store_true", help="replace files that exist")
    add("--device", choices=["cpu", "gpu", "tpu"], help="default: JAX's default device")
    add("--batch_size", type=positive, default=8, metavar="N", help="photographs per batch")
    parser.set_defaults(run=_run_colorize)


def _run_colorize(options: argparse.Namespace) -> None:
    """Colours files. Raises EndedError (status 1) if some could not be coloured."""
    from colorjax.colorize.colorizer import Colorizer
    from colorjax.colorize.files import colorize_files
    from colorjax.colorize.plan import plan
    from colorjax.images.folders import printable
    from colorjax.parallel import devices
    from colorjax.runs.weights import DEFAULT_MODEL
    from colorjax.terminal.progress import counting

    jobs = plan(options.inputs, options.output, options.suffix, options.format)
    to_do = [job for job in jobs if options.overwrite or not job.target.exists()]
    failures = []
    if to_do:
        devices.configure()
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
    if skipped := len(jobs) - len(to_do):
        print(f"{skipped} skipped because they exist; --overwrite replaces them.")
    for source, reason in failures:
        print(f"{printable(source)}: {reason}", file=sys.stderr)
    if failures:
        raise EndedError(f"{len(failures)} of {len(to_do)} could not be coloured (see above)")
