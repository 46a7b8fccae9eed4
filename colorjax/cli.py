"""The `colorjax` command. `colorjax COMMAND --help` describes a subcommand, with an example."""

import sys
from collections.abc import Sequence

import colorjax
from colorjax.commands.colorize import add_colorize
from colorjax.commands.evaluate import add_evaluate
from colorjax.commands.export import add_export
from colorjax.commands.models import add_models
from colorjax.commands.prepare import add_prepare
from colorjax.terminal.arguments import Parser
from colorjax.terminal.errors import exit_status

# Each adds its parser, and sets `run` to the function that takes the parsed options.
COMMANDS = (add_colorize, add_models, add_prepare, add_evaluate, add_export)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line, by default that of the process. Returns the exit status."""
    return exit_status(lambda: run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> None:
    """Parses and runs a command line. Raises InputError for wrong input."""
    parser = Parser(prog="colorjax", description="Colours grey faces.")
    parser.add_argument("--version", action="version", version=f"colorjax {colorjax.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(commands)
    options = parser.parse_args(arguments)
    options.arguments = arguments
    options.run(options)


if __name__ == "__main__":
    sys.exit(main())
