"""Who may ask: requests for this server, from its own page or from no page. An ASGI middleware."""

import ipaddress
import json
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from colorjax.serve.address import is_address

LOOPBACK = ("localhost", "127.0.0.1", "::1")
# Nothing is loaded from elsewhere, and no other page may show this one.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Guard:
    """Refuses requests whose Host is not this server's, or whose Origin is another page.

    A page of a foreign name that its owner lets point here (DNS rebinding) sends that name as Host.
    A page elsewhere sends its Origin, or with an image only that it is elsewhere; it may lead here.
    Programs send none.

    Args:
      app: what is guarded.
      address: that the server listens on. If it is that of all interfaces, addresses count as its
        Host (a name could be anyone's), and the name of this machine.
      port: that it listens on.
      host: what a person called the address.
    """

    def __init__(self, app: ASGIApp, address: str, port: int, host: str) -> None:
        self._app, self._port = app, port
        self._names = {*LOOPBACK, address, host.lower()}
        self._any_address = ipaddress.ip_address(address).is_unspecified
        if self._any_address:
            name = socket.gethostname().lower()
            self._names |= {name, name.partition(".")[0], f"{name.partition('.')[0]}.local"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            await _refuse(send_guarded, f"Host must be one of {', '.join(sorted(self._names))}")
        elif _is_embedded(headers) or any(
            origin.lower() != f"http://{hosts[0].lower()}" for origin in origins
        ):
            await _refuse(send_guarded, "requests of other pages are not answered")
        else:
            await self._app(scope, receive, send_guarded)

    def _is_ours(self, given: str) -> bool:
        try:
            parts = urlsplit(f"//{given}")
            name, port = parts.hostname or "", parts.port or 80
        except ValueError:
            return False
        if parts.netloc != given or "@" in given or port != self._port:
            return False
        return name in self._names or (self._any_address and is_address(name))


def _is_embedded(headers: Headers) -> bool:
    """Whether a browser says that another page asks, and not by a link."""
    is_link = headers.get("sec-fetch-mode") == "navigate"
    return headers.get("sec-fetch-site") == "cross-site" and not is_link


async def _refuse(send: Send, message: str) -> None:
    body = json.dumps({"error": message}).encode()
    headers: Iterable[tuple[bytes, bytes]] = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 403, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})
