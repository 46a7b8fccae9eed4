"""The `colorjax` command: `colorjax COMMAND --help` says what each does, with an example."""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import colorjax
from colorjax.errors import InputError, exit_status


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are InputError: one line, as all wrong input."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} ({self.prog} --help shows how it is used)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line, by default the process's. Returns the exit status."""
    return exit_status(lambda: run(arguments))


def run(arguments: Sequence[str] | None = None) -> None:
    """Parses a command line and does what it says. Raises InputError for whatever is wrong."""
    parser = Parser(prog="colorjax", description="Colours grey faces.")
    parser.add_argument("--version", action="version", version=f"colorjax {colorjax.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(commands)
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    options.arguments = list(arguments)
    options.run(options)


def add_evaluate(commands: Any) -> None:
    """`colorjax evaluate`."""
    parser = commands.add_parser(
        "evaluate",
        help="compare runs on the same images, and write a report",
        description="Compares runs, and four baselines, on the same images, and writes a report: "
        "report.html (one page that opens anywhere), results.json, results.md and pictures.",
        epilog="example:\n  colorjax evaluate runs/cnn-procedural_faces runs/gan-procedural_faces "
        "--output comparison\n  colorjax evaluate runs/gan-image_folder --dataset holiday.zip "
        "--output holiday",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", type=Path, help="the folder of a run")
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
    parser.set_defaults(run=run_evaluate)


def run_evaluate(options: argparse.Namespace) -> None:
    """Evaluates, prints the table, and says where the report is."""
    from colorjax import parallel, tables
    from colorjax.evaluate_runs import evaluate_runs

    parallel.keep_compiled()
    found = evaluate_runs(
        options.runs,
        options.output,
        dataset=options.dataset,
        overwrite=options.overwrite,
        limit=options.limit,
        command=shlex.join(["colorjax", *options.arguments]),
    )
    print(tables.results_table(found["results"]))
    print(f"The report is {options.output / 'report.html'}.")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


# Each adds its parser, and sets `run` to the function that gets the parsed options.
COMMANDS: tuple[Callable[[Any], None], ...] = (add_evaluate,)


if __name__ == "__main__":
    sys.exit(main())
