"""The commands that have to do with trained models: colorize, evaluate, export and models."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from colorjax.errors import InputError


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
        "--saturation", type=_saturation, default=1.0, metavar="X", help="1.2 paints bolder, 0 grey"
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
        "--batch_size", type=_positive, default=8, metavar="N", help="photographs at once"
    )
    parser.set_defaults(run=_run_colorize)


def _run_colorize(options: argparse.Namespace) -> None:
    """Colours files, and exits with status 1 if some could not be coloured."""
    from colorjax import parallel
    from colorjax.colorize_files import colorize_files, plan, printable
    from colorjax.inference import Colorizer
    from colorjax.progress import counting
    from colorjax.weights import DEFAULT_MODEL

    jobs = plan(options.inputs, options.output, options.suffix, options.format)
    to_do = [job for job in jobs if options.overwrite or not job.target.exists()]
    parallel.configure()
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


def add_evaluate(commands: Any) -> None:
    """`colorjax evaluate`."""
    parser = commands.add_parser(
        "evaluate",
        help="compare runs on the same images, and write a report",
        description="Compares runs, and four baselines, on the same images, and writes a report: "
        "report.html (one page that opens anywhere), results.json, results.md and pictures.",
        epilog="example:\n  colorjax evaluate runs/cnn-procedural_faces runs/gan-procedural_faces "
        "--output comparison\n  colorjax evaluate runs/gan-image_folder --dataset holiday.zip "
        "--output holiday\n  colorjax evaluate runs/gan-procedural_faces --damage --output damaged",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        type=Path,
        help="a run's folder, which means its newest checkpoint, RUN/checkpoints/STEP, "
        "RUN/checkpoints/best (on validation), or what export wrote",
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME|PATH",
        help="a data set, of which the validation split is used, or folders and zips of images, "
        "comma-separated, of which all are; by default the validation images of the first run",
    )
    parser.add_argument(
        "--output", metavar="DIR", type=Path, required=True, help="the folder of the report"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the report that is there, if there is one"
    )
    parser.add_argument("--limit", metavar="N", type=_positive, help="only the first N images")
    parser.add_argument(
        "--damage",
        nargs="?",
        type=_strength,
        const=0.5,
        metavar="STRENGTH",
        help="the models see L as of old photographs, each image with damages of its own, up to "
        "this strength in [0, 1] (0.5 if none is given; a sheet: colorjax damages); the report "
        "says what that costs",
    )
    parser.set_defaults(run=_run_evaluate)


def _run_evaluate(options: argparse.Namespace) -> None:
    """Evaluates, prints the table, and says where the report is."""
    from colorjax import parallel, tables
    from colorjax.evaluate_runs import evaluate_runs

    parallel.configure()
    found = evaluate_runs(
        options.runs,
        options.output,
        dataset=options.dataset,
        overwrite=options.overwrite,
        limit=options.limit,
        damage_strength=options.damage,
        command=shlex.join(["colorjax", *options.arguments]),
    )
    print(tables.results_table(found["results"]))
    if "undamaged" in found:
        print("That is on damaged inputs. Undamaged:\n")
        print(tables.results_table(found["undamaged"]["results"]))
    print(f"The report is {options.output / 'report.html'}.")


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
        type=_share,
        metavar="X",
        help="of RUN in that, 0 to 1 (default: 0.5)",
    )
    parser.set_defaults(run=_run_export)


def _run_export(options: argparse.Namespace) -> None:
    """Writes the file and says how large it is."""
    from colorjax.runs import folder, load_run
    from colorjax.weights import export_weights, interpolate, model_card, open_path

    run = load_run(options.path, options.path.resolve().name)
    if options.interpolate is not None:
        other = open_path(options.interpolate, folder(options.interpolate).resolve().stem)
        run = interpolate(run, other, 0.5 if options.share is None else options.share)
    elif options.share is not None:
        raise InputError("--share is of RUN beside another; name that with --interpolate")
    export_weights(run, options.output, model_card(run, options.card), options.dtype)
    size = options.output.stat().st_size / 2**20
    print(f"{options.output}: {size:.1f} MiB, step {run.step} of {run.path}.")


def add_models(commands: Any) -> None:
    """`colorjax models`."""
    parser = commands.add_parser(
        "models",
        help="list the models that come with colorjax",
        description="Lists the models that come with colorjax; with a name or a file, prints its "
        "card.",
        epilog="example:\n  colorjax models faces",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", nargs="?", help="a name of the list, or a file")
    parser.set_defaults(run=_run_models)


def _run_models(options: argparse.Namespace) -> None:
    """Prints the list, or one card."""
    from colorjax.weights import DEFAULT_MODEL, packaged, read_metadata

    if options.model:
        path = packaged().get(options.model, Path(options.model))
        print(read_metadata(path)["card"])
        return
    for name, path in packaged().items():
        title = read_metadata(path)["card"].splitlines()[0].lstrip("# ")
        role = " (the default)" if name == DEFAULT_MODEL else ""
        print(f"{name}{role}: {title}, {path.stat().st_size / 2**20:.1f} MiB")


def _saturation(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 10:
        raise argparse.ArgumentTypeError(f"{number} is not in [0, 10]")
    return number


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not in [0, 1]")
    return share


def _strength(text: str) -> float:
    try:
        return _share(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no strength in [0, 1]; give one, or --damage behind the runs"
        ) from error


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number
