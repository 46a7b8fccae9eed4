"""`colorjax models`."""

import argparse
from typing import Any

from colorjax.runs import hub
from colorjax.terminal.errors import InputError


def add_models(commands: Any) -> None:
    """`colorjax models`."""
    parser = commands.add_parser(
        "models",
        help="list the models that come with colorjax",
        description="Lists the models that come with colorjax, or prints the card of one.",
        epilog="example:\n  colorjax models faces",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model",
        nargs="?",
        metavar="NAME|FILE",
        help=f"the name of a listed model, a weights file, or {hub.SYNTAX}",
    )
    parser.set_defaults(run=_run_models)


def _run_models(options: argparse.Namespace) -> None:
    from colorjax.runs.model_paths import (
        DEFAULT_MODEL,
        abilities,
        find_model,
        is_weights,
        packaged,
        read_metadata,
    )

    if options.model:
        path = find_model(options.model)
        if not is_weights(path):
            raise InputError(f"{path} is a run; `colorjax export` writes its card")
        print(read_metadata(path)["card"])
        return
    for name, path in packaged().items():
        title = read_metadata(path)["card"].splitlines()[0].lstrip("# ")
        role = " (the default)" if name == DEFAULT_MODEL else ""
        able = "".join(f", with {ability}" for ability in abilities(path))
        print(f"{name}{role}: {title}, {path.stat().st_size / 2**20:.1f} MiB{able}")
