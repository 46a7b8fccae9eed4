"""The `colorjax` command: `colorjax COMMAND --help` says what each does, with an example."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import colorjax
from colorjax.commands.colorize import add_colorize
from colorjax.commands.evaluate import add_evaluate
from colorjax.commands.export import add_export
from colorjax.commands.models import add_models
from colorjax.commands.prepare import add_prepare
from colorjax.terminal.arguments import Parser
from colorjax.terminal.errors import exit_status


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


# Each adds its parser, and sets `run` to the function that gets the parsed options.
COMMANDS: tuple[Callable[[Any], None], ...] = (
    add_colorize,
    add_models,
    add_prepare,
    add_evaluate,
    add_export,
)


if __name__ == "__main__":
    sys.exit(main())
