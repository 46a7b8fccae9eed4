"""`colorjax models`."""

import argparse
from pathlib import Path
from typing import Any


def add_models(commands: Any) -> None:
    """`colorjax models`."""
    parser = commands.add_parser(
        "models",
        help="list the models that come with colorjax",
        description="Lists the models that come with colorjax, or prints the card of one.",
        epilog="example:\n  colorjax models faces",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", nargs="?", help="the name of a listed model, or a weights file")
    parser.set_defaults(run=_run_models)


def _run_models(options: argparse.Namespace) -> None:
    from colorjax.runs.model_paths import DEFAULT_MODEL, packaged, read_metadata

    if options.model:
        path = packaged().get(options.model, Path(options.model))
        print(read_metadata(path)["card"])
        return
    for name, path in packaged().items():
        title = read_metadata(path)["card"].splitlines()[0].lstrip("# ")
        role = " (the default)" if name == DEFAULT_MODEL else ""
        print(f"{name}{role}: {title}, {path.stat().st_size / 2**20:.1f} MiB")
