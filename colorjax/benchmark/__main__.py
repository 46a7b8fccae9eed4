"""`python -m colorjax.benchmark WHAT`: how fast it is here, as a table and as JSON.

Heavy modules are imported where they are used: worker processes import this one again.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from colorjax.terminal.arguments import Parser
from colorjax.terminal.errors import InputError, exit_status

# A name, and a function of the parsed options that gives rows of metrics.
Row = Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line, by default the process's. Returns the exit status."""
    return exit_status(lambda: run(arguments))


def run(arguments: Sequence[str] | None = None) -> None:
    """Measures what a command line says, prints the table, writes the JSON if so wanted."""
    parser = Parser(prog="python -m colorjax.benchmark", description="How fast colorjax is here.")
    commands = parser.add_subparsers(required=True, metavar="WHAT")
    for add in COMMANDS:
        command = add(commands)
        command.add_argument("--output", metavar="FILE", help="write the metrics as JSON, too")
    options = parser.parse_args(arguments)
    rows, about = options.measure(options)
    print(table(rows))
    print("\n".join(f"{key}: {value}" for key, value in about.items()))
    if options.output:
        from colorjax.files import write_text

        text = json.dumps({"about": about, "results": rows}, indent=2) + "\n"
        try:
            write_text(Path(options.output), text)
        except OSError as error:
            raise InputError(
                f"cannot write {options.output} ({error}); give another --output"
            ) from error


def table(rows: Sequence[Row]) -> str:
    """Rows as Markdown, a table for each run of equal keys; numbers to three digits or whole."""

    def cell(value: Any) -> str:
        if isinstance(value, float):
            return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
        return str(value)

    def one(keys: Sequence[str], rows: Iterable[Row]) -> str:
        lines = ["| " + " | ".join(keys) + " |", "|---" + "|---:" * (len(keys) - 1) + "|"]
        lines += ["| " + " | ".join(map(cell, row.values())) + " |" for row in rows]
        return "\n".join(lines)

    return "\n\n".join(one(keys, some) for keys, some in groupby(rows, key=tuple))


def _data(commands: Any) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "data",
        help="images/s through the pipeline, beside plain decoding and PyTorch's DataLoader",
        description="Reads a data set through the whole pipeline to the device, beside plain "
        "OpenCV decoding of the same files and, if it is installed, PyTorch's DataLoader with the "
        "same crop and resize; in turns, on as many cores.",
        epilog="for instance:\n"
        "  python -m colorjax.benchmark data --path faces.zip --output data.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--path", default="", help="folders and zips (default: procedural_faces)")
    parser.add_argument("--images", type=int, default=2000, help="images a round (default: 2000)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default: 5)")
    parser.add_argument("--batch_size", type=int, default=64, help="(default: 64)")
    parser.add_argument("--image_size", type=int, default=128, help="pixels (default: 128)")
    parser.add_argument(
        "--size",
        type=int,
        default=1_200_000,
        help="the data set is made this large by index, not on disk (default: 1200000)",
    )
    parser.add_argument(
        "--workers", type=int, default=-1, help="as config.dataset.workers (default: -1)"
    )
    parser.add_argument(
        "--reads", type=int, default=0, help="afterwards, watch the memory over so many images"
    )
    parser.set_defaults(measure=_measure_data)
    return parser


def _measure_data(options: argparse.Namespace) -> tuple[list[Row], Row]:
    from colorjax.benchmark.data import measure

    for name in ("images", "rounds", "batch_size", "image_size", "size"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} must be at least 1, not {getattr(options, name)}")
    return measure(
        path=options.path,
        images=options.images,
        rounds=options.rounds,
        batch_size=options.batch_size,
        image_size=options.image_size,
        size=options.size,
        workers=options.workers,
        reads=options.reads,
    )


def _colorize(commands: Any) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "colorize",
        help="what colouring photographs takes, part by part",
        description="Colours JPEGs made for the purpose, beside decoding and encoding them with "
        "Pillow; each part alone, the whole folder, and one from a fresh process.",
        epilog="for instance:\n  python -m colorjax.benchmark colorize --images 200",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", help="as for colorjax colorize")
    parser.add_argument("--images", type=int, default=40, help="(default: 40)")
    parser.add_argument("--side", type=int, default=1000, help="pixels (default: 1000)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    parser.set_defaults(measure=_measure_colorize)
    return parser


def _measure_colorize(options: argparse.Namespace) -> tuple[list[Row], Row]:
    from colorjax.benchmark.colorize import measure
    from colorjax.parallel import devices
    from colorjax.runs.weights import DEFAULT_MODEL

    for name in ("images", "side", "rounds"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} must be at least 1, not {getattr(options, name)}")
    devices.configure()
    model = options.model or DEFAULT_MODEL
    return measure(model, options.images, options.side, options.rounds)


def _train(commands: Any) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "train",
        help="images/s and FLOP/s of training, beside PyTorch; Lab; inference",
        description="Trains the models by their configs on one batch, beside PyTorch's and in "
        "turns: images/s, ms a step (median, least, most of the rounds), FLOP/s and their share of "
        "what a large matrix product reaches, memory, seconds to the first step from a fresh "
        "process (nothing compiled before; all compiled before). Then the same from files, "
        "inference, and Lab beside scikit-image.",
        epilog="for instance:\n"
        "  python -m colorjax.benchmark train --model gan --against pytorch --output train.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    models = ("encoder_decoder", "resnet", "gan")
    parser.add_argument("--model", choices=models, help="(default: all three)")
    parser.add_argument("--against", choices=("pytorch",), help="beside it, eager and compiled")
    parser.add_argument("--path", default="", help="folders and zips (default: procedural_faces)")
    parser.add_argument("--width", type=float, default=1.0, help="of all layers (default: 1)")
    default = "(default: {}; on a CPU {})".format
    dtypes = ("float32", "bfloat16")
    parser.add_argument("--dtype", choices=dtypes, help=default("bfloat16", "float32"))
    parser.add_argument("--batch_size", type=int, help=default(256, 16))
    parser.add_argument("--image_size", type=int, help="pixels " + default(128, 64))
    parser.add_argument("--steps", type=int, help="steps a round " + default(30, 4))
    parser.add_argument("--rounds", type=int, help="(default: 5)")
    parser.set_defaults(measure=_measure_train, models=models)
    return parser


def _measure_train(options: argparse.Namespace) -> tuple[list[Row], Row]:
    from colorjax.benchmark.train import measure

    for name in ("steps", "rounds"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InputError(f"--{name} must be at least 1, not {value}")
    return measure(
        models=[options.model] if options.model else options.models,
        width=options.width,
        pytorch=options.against == "pytorch",
        path=options.path,
        dtype=options.dtype,
        batch_size=options.batch_size,
        image_size=options.image_size,
        steps=options.steps,
        rounds=options.rounds,
    )


# Each adds its parser, sets `measure` to the function that gets the parsed options, and returns it.
COMMANDS: tuple[Callable[[Any], argparse.ArgumentParser], ...] = (_data, _colorize, _train)


if __name__ == "__main__":
    sys.exit(main())
