"""`python -m colorjax.benchmark WHAT`: measures speed, as a table and as JSON.

Heavy modules are imported where they are used, since worker processes import this module again.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from colorjax.parallel import huge_pages
from colorjax.terminal.arguments import Parser, positive
from colorjax.terminal.errors import InputError, exit_status

Row = Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line, by default the process's. Returns the exit status."""
    return exit_status(lambda: run(arguments))


def run(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark of a command line, prints its tables and writes the JSON."""
    parser = Parser(prog="python -m colorjax.benchmark", description="Measures colorjax's speed.")
    commands = parser.add_subparsers(required=True, metavar="WHAT", dest="what")
    for add in (_data, _colorize, _export, _serve, _train):
        add(commands).add_argument("--output", metavar="FILE", help="also write the rows as JSON")
    options = vars(parser.parse_args(arguments))
    output = options.pop("output")
    # Each benchmark is a module whose function `measure` takes the command's options.
    module = importlib.import_module(f"colorjax.benchmark.{options.pop('what')}")
    rows, about = module.measure(**options)
    print(table(rows))
    print("\n".join(f"{key}: {value}" for key, value in about.items()))
    if output:
        from colorjax.files import write_text

        try:
            write_text(Path(output), json.dumps({"about": about, "results": rows}, indent=2) + "\n")
        except OSError as error:
            raise InputError(f"cannot write {output} ({error}); give another --output") from error


def table(rows: Sequence[Row]) -> str:
    """Formats rows as Markdown, one table for each run of equal keys; three digits or integers."""

    def cell(value: Any) -> str:
        if isinstance(value, float):
            return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
        return str(value)

    def one(keys: Sequence[str], rows: Iterable[Row]) -> str:
        lines = ["| " + " | ".join(keys) + " |", "|---" + "|---:" * (len(keys) - 1) + "|"]
        lines += ["| " + " | ".join(map(cell, row.values())) + " |" for row in rows]
        return "\n".join(lines)

    return "\n\n".join(one(keys, some) for keys, some in groupby(rows, key=tuple))


def _command(
    commands: Any, name: str, help: str, description: str, example: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=help,
        description=description,
        epilog=f"for example:\n  python -m colorjax.benchmark {name} {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _data(commands: Any) -> argparse.ArgumentParser:
    parser = _command(
        commands,
        "data",
        "images/s of the input pipeline",
        "Reads a data set through the pipeline to the device. Compares with plain OpenCV decoding\n"
        "of the same files, in turns and on as many cores.",
        "--path faces.zip --output data.json",
    )
    parser.add_argument("--path", default="", help="folders and zips (default: procedural_faces)")
    for name, default, help in (
        ("images", 2000, "images in each round"),
        ("rounds", 5, "rounds"),
        ("batch-size", 64, "images in a batch"),
        ("image-size", 128, "side in pixels"),
        ("size", 1_200_000, "size of the data set, whose images are repeated by index"),
    ):
        parser.add_argument(
            f"--{name}", type=positive, default=default, help=f"{help} (default: {default})"
        )
    parser.add_argument(
        "--workers", type=int, default=-1, help="as config.dataset.workers (default: -1)"
    )
    return parser


def _colorize(commands: Any) -> argparse.ArgumentParser:
    parser = _command(
        commands,
        "colorize",
        "time to colour photographs, and its parts",
        "Colours generated JPEGs: the parts alone, the entire folder, and one photograph in a new\n"
        "process. Compares with decoding and encoding by Pillow.",
        "--images 200",
    )
    parser.add_argument("--model", default="", help="as for colorjax colorize")
    parser.add_argument(
        "--assembled",
        metavar="ZIP",
        default="",
        help="instead: errors on pictures assembled from the faces in this folder or zip",
    )
    parser.add_argument("--images", type=positive, default=40, help="(default: 40)")
    parser.add_argument("--side", type=positive, default=1000, help="pixels (default: 1000)")
    parser.add_argument("--rounds", type=positive, default=3, help="(default: 3)")
    return parser


def _export(commands: Any) -> argparse.ArgumentParser:
    parser = _command(
        commands,
        "export",
        "exported models: size, difference from JAX, latency",
        "Exports a model to ONNX and StableHLO: sizes, nodes, largest differences from JAX.\n"
        "Then times onnxruntime, colorjax and the StableHLO file in turns, with one CPU and with\n"
        "two, each in a process of its own: ms per picture. Needs the extra onnx.",
        "--output export.json",
    )
    parser.add_argument("--model", default="", help="as for colorjax export (default: faces)")
    parser.add_argument(
        "--sides", type=positive, nargs="+", default=[128, 512], help="pixels (default: 128 512)"
    )
    parser.add_argument("--rounds", type=positive, default=5, help="(default: 5)")
    parser.add_argument("--calls", type=positive, default=20, help="in each round (default: 20)")
    return parser


def _serve(commands: Any) -> argparse.ArgumentParser:
    parser = _command(
        commands,
        "serve",
        "time from a hint to its preview on the page",
        "Serves the page on loopback, opens a portrait and a group, and asks for previews with a\n"
        "hint more each time: ms of the first, which compiles, and of the others.\n"
        "Needs the extra web and scikit-image.",
        "--hints 20 --output serve.json",
    )
    parser.add_argument("--model", default="", help="as for colorjax serve (default: faces)")
    parser.add_argument("--hints", type=positive, default=20, help="(default: 20)")
    return parser


def _train(commands: Any) -> argparse.ArgumentParser:
    parser = _command(
        commands,
        "train",
        "speed of training and inference",
        "Trains the models of the configs on one batch, in turns with PyTorch: images/s, ms per\n"
        "step (median, minimum and maximum of the rounds), FLOP/s and their share of those of a\n"
        "large matrix product, memory, and seconds to the first step of a new process (with an\n"
        "empty and with a filled compilation cache). Then training from files, and inference.",
        "--model gan --against pytorch --output train.json",
    )
    models = ("encoder_decoder", "resnet", "gan")
    parser.add_argument("--model", choices=models, help="(default: all three)")
    parser.add_argument("--against", choices=("pytorch",), help="compare: eager and compiled")
    parser.add_argument("--path", default="", help="folders and zips (default: procedural_faces)")
    parser.add_argument("--width", type=float, default=1.0, help="of all layers (default: 1)")
    default = "(default: {}; on a CPU {})".format
    dtypes = ("float32", "bfloat16")
    parser.add_argument(
        "--dtype",
        choices=dtypes,
        nargs="+",
        help=default("bfloat16", "float32, with --against both"),
    )
    parser.add_argument("--batch-size", type=int, nargs="+", help=default(256, 16))
    parser.add_argument(
        "--image-size",
        type=int,
        nargs="+",
        help="pixels " + default(128, "64, with --against also 128"),
    )
    parser.add_argument(
        "--output-stride",
        type=int,
        choices=(1, 4),
        nargs="+",
        default=[1],
        help="config.model.output_stride (default: 1)",
    )
    parser.add_argument(
        "--four-phases",
        action="store_true",
        help="also with plain layers and deconvolutions as CPUs compute them",
    )
    parser.add_argument("--steps", type=positive, help="steps in each round " + default(30, 4))
    parser.add_argument("--rounds", type=positive, help="(default: 5)")
    return parser


if __name__ == "__main__":
    huge_pages.restart()
    sys.exit(main())
