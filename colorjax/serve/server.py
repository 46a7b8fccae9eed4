"""The web server: its socket, its start and its end."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from colorjax.export.site import WEB, static_files
from colorjax.serve.app import build_app
from colorjax.serve.guard import Guard
from colorjax.serve.service import Service
from colorjax.terminal import signals

# Seconds that requests have to end after Ctrl-C.
GRACE = 3
# Connections at once; more are answered with 503.
MAX_CONNECTIONS = 256


class _Server(uvicorn.Server):
    """Tells when it listens, and ends what waits before it ends."""

    def __init__(self, config: uvicorn.Config, service: Service, started: Callable[[], None]):
        super().__init__(config)
        self._service, self._when_started, self._stopped = service, started, False

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals end the server, and then raise KeyboardInterrupt as in all commands."""

        def stop(number: int, frame: Any) -> None:
            self._stopped = True
            self.handle_exit(number, frame)

        with signals.handled(stop):
            yield
        if self._stopped:
            raise KeyboardInterrupt

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._when_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.queue.close()
        await super().shutdown(sockets)
        self._service.queue.join()


def page_assets() -> dict[str, bytes]:
    """The files of the page, by name."""
    return static_files(WEB)


def build_server(
    service: Service,
    assets: dict[str, bytes],
    listener: socket.socket,
    host: str,
    started: Callable[[], None] = lambda: None,
) -> uvicorn.Server:
    """A server, to be run with its socket.

    Args:
      service: see `build_app`.
      assets: see `build_app`.
      listener: the socket.
      host: what a person called its address.
      started: called when it listens.
    """
    address, port = listener.getsockname()[:2]
    config = uvicorn.Config(
        Guard(build_app(service, assets), address, port, host),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        http="h11",
        loop="asyncio",
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=GRACE,
    )
    return _Server(config, service, started)
