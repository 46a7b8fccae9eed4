"""The `colorjax` command. `colorjax COMMAND --help` describes a subcommand, with an example."""

import difflib
import os
import shlex
import sys
from collections.abc import Sequence

import colorjax
from colorjax.commands.colorize import add_colorize
from colorjax.commands.evaluate import add_evaluate
from colorjax.commands.export import add_export
from colorjax.commands.models import add_models
from colorjax.commands.prepare import add_prepare
from colorjax.commands.serve import add_serve
from colorjax.parallel import huge_pages
from colorjax.terminal import signals
from colorjax.terminal.arguments import Parser
from colorjax.terminal.errors import InputError, exit_status

# Each adds its parser, and sets `run` to the function that takes the parsed options.
COMMANDS = (add_colorize, add_serve, add_models, add_prepare, add_evaluate, add_export)
# Other spellings of a subcommand.
SPELLINGS = dict.fromkeys(("colour", "color", "colourize", "colorise", "colourise"), "colorize")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line, by default that of the process. Returns the exit status."""
    with signals.raised():
        return exit_status(lambda: run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> None:
    """Parses and runs a command line. Raises InputError for wrong input."""
    parser = Parser(prog="colorjax", description="Colours grey faces.")
    parser.add_argument("--version", action="version", version=f"colorjax {colorjax.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(commands)
    if not arguments:
        parser.print_help()
        return
    options = parser.parse_args([_command(arguments, list(commands.choices)), *arguments[1:]])
    options.arguments = arguments
    options.run(options)


def _command(arguments: list[str], known: list[str]) -> str:
    """The subcommand that is meant. Raises InputError with a suggestion for an unknown one."""
    name = arguments[0]
    if name in SPELLINGS:
        return SPELLINGS[name]
    if name in known or name.startswith("-"):
        return name
    if name == "train":
        flags = arguments[1:] if "--config" in " ".join(arguments) else ["--config=configs/gan.py"]
        raise InputError(f"to train: {shlex.join(['python', '-m', 'colorjax.main', *flags])}")
    if os.path.exists(name):
        raise InputError(f"to colour files: {shlex.join(['colorjax', 'colorize', *arguments])}")
    close = difflib.get_close_matches(name, [*known, *SPELLINGS], n=1)
    meant = f"did you mean {SPELLINGS.get(close[0], close[0])}?" if close else "choose"
    raise InputError(f"there is no command {name!r}; {meant} ({', '.join(known)})")


def command() -> int:
    """`main` for the process that the operating system has started."""
    huge_pages.restart()
    return main()


if __name__ == "__main__":
    sys.exit(command())
