"""`colorjax serve`."""

import argparse
import sys
import threading
import webbrowser
from typing import Any

from colorjax.terminal import signals
from colorjax.terminal.arguments import port


def add_serve(commands: Any) -> None:
    """Adds `colorjax serve`."""
    parser = commands.add_parser(
        "serve",
        help="a web page on this machine to colour photographs on",
        description="Starts a web page, for this machine alone, on which photographs are coloured, "
        "looked at, improved with hints and downloaded; and an API for programs. Needs the extra "
        "web (pip install '.[web]'). Uploads, of at most 512 MiB and 250 megapixels, are kept in "
        "memory, and in a private temporary file while one is read or written; they are forgotten "
        "half an hour after their last use. "
        "Ctrl-C ends it.",
        epilog="example:\n  colorjax serve --open\n"
        "  curl --fail-with-body --form file=@grey.jpg --output coloured.jpg "
        "http://127.0.0.1:7860/api/colorize",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--model",
        metavar="RUN|FILE|NAME",
        help="see `colorjax colorize --help` (default: the model that comes with colorjax)",
    )
    everyone = "address to listen on; anything but a loopback address lets other machines in"
    add("--host", default="127.0.0.1", metavar="ADDRESS", help=f"{everyone} (default: 127.0.0.1)")
    add("--port", type=port, default=7860, metavar="N", help="0: any that is free (default: 7860)")
    add("--device", choices=["cpu", "gpu", "tpu"], help="default: JAX's default device")
    add("--open", action="store_true", help="open the page in the browser")
    parser.set_defaults(run=_run_serve)


def _run_serve(options: argparse.Namespace) -> None:
    # Nothing here imports JAX: wrong input is answered at once.
    from colorjax.runs.model_paths import DEFAULT_MODEL, find_model
    from colorjax.serve.address import check_extra, is_loopback, listen, url

    check_extra()
    model = DEFAULT_MODEL if options.model is None else options.model
    find_model(model)
    with listen(options.host, options.port) as listener:
        from colorjax.images.photo_reader import PhotoReader
        from colorjax.serve.limits import Limits

        (address, number, *_), limits = listener.getsockname(), Limits()
        page = url(address, number)
        if not is_loopback(address):
            print(
                f"Warning: everyone who reaches {address} can use this page and its models; "
                "leave out --host to serve this machine alone.",
                file=sys.stderr,
            )
        # Its processes start while JAX is imported.
        with PhotoReader(1, limits.decode_seconds, limits.pixels) as reader:
            with signals.delayed():
                from colorjax.parallel import devices
                from colorjax.serve.models import Models
                from colorjax.serve.server import build_server, page_assets
                from colorjax.serve.service import Service

                devices.configure()
                models = Models(model, options.device)
                models.colorizer(models.default)

            def started() -> None:
                print(
                    f"{page} colours photographs with {models.default}. Ctrl-C ends it.", flush=True
                )
                if options.open:
                    threading.Thread(target=webbrowser.open, args=[page], daemon=True).start()

            service = Service(models, reader, limits)
            build_server(service, page_assets(), listener, options.host, started).run([listener])
