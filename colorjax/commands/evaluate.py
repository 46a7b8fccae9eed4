"""`colorjax evaluate`."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from colorjax.runs import hub
from colorjax.terminal import signals
from colorjax.terminal.arguments import positive, strength
from colorjax.terminal.errors import InputError


def add_evaluate(commands: Any) -> None:
    """`colorjax evaluate`."""
    parser = commands.add_parser(
        "evaluate",
        help="compare runs on the same images and write a report",
        description="Compares runs and four baselines on the same images and writes a report: "
        "report.html (one page that needs no other files), results.json, results.md and images. "
        "Models with a distribution are also judged by its calibration, by the best of several "
        "answers and at several temperatures; models that take hints, with up to 100 of them.",
        epilog="example:\n  colorjax evaluate runs/cnn-procedural_faces runs/gan-procedural_faces "
        "--output comparison\n  colorjax evaluate runs/gan-image_folder --dataset holiday.zip "
        "--output holiday\n  colorjax evaluate runs/gan-procedural_faces --damage --output damaged",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="the folder of a run (its newest checkpoint), RUN/checkpoints/STEP, "
        "RUN/checkpoints/best (on validation), a file written by `colorjax export`, a name "
        f"listed by `colorjax models` or {hub.SYNTAX} of the Hugging Face Hub (extra hub); "
        "a name needs --dataset if it comes first",
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME|PATH",
        help="a data set, whose validation split is used, or folders and zips of images, "
        "comma-separated, all of whose images are used; by default the validation images of the "
        "first run",
    )
    parser.add_argument(
        "--output", metavar="DIR", type=Path, required=True, help="the folder of the report"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an existing report in DIR"
    )
    parser.add_argument("--limit", metavar="N", type=positive, help="use only the first N images")
    parser.add_argument(
        "--damage",
        nargs="?",
        type=strength,
        const=0.5,
        metavar="STRENGTH",
        help="damage the inputs like old photographs, each image differently, up to this strength "
        "in [0, 1] (default without a value: 0.5); the report shows what damage costs",
    )
    parser.set_defaults(run=_run_evaluate)


def _run_evaluate(options: argparse.Namespace) -> None:
    # Nothing here imports JAX: wrong input is answered at once.
    from colorjax.data.names import DATASETS, check_paths
    from colorjax.report.output import check_output
    from colorjax.runs.model_paths import find_model, packaged

    first = options.runs[0]
    if options.dataset is None and (first in packaged() or hub.is_name(first)):
        raise InputError(f"{first} comes without its data; give --dataset NAME or PATH")
    paths = [find_model(run) for run in options.runs]
    if options.dataset is not None and options.dataset not in DATASETS:
        check_paths(options.dataset)
    check_output(options.output, options.overwrite)
    with signals.delayed():
        from colorjax.parallel import devices
        from colorjax.report import tables
        from colorjax.report.compare import evaluate_runs

        devices.configure()
    found = evaluate_runs(
        paths,
        options.output,
        dataset=options.dataset,
        overwrite=options.overwrite,
        limit=options.limit,
        damage_strength=options.damage,
        command=shlex.join(["colorjax", *options.arguments]),
    )
    print(tables.results_table(found["results"]))
    if "undamaged" in found:
        print("These are on damaged inputs. Undamaged:\n")
        print(tables.results_table(found["undamaged"]["results"]))
    print(f"The report is in {options.output / 'report.html'}.")
