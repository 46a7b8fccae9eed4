"""The address that the server listens on. Imports no JAX, and nothing of the extra."""

import errno
import importlib.util
import ipaddress
import os
import socket

from colorjax.terminal.errors import InputError, installing

NEEDED = ("starlette", "uvicorn", "python_multipart")


def check_extra() -> None:
    """Raises InputError if the extra is not installed."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"serve needs {', '.join(missing)}: {installing('web')}")


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises InputError if it cannot."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"--host {host} is not an address of this machine; try 127.0.0.1"
        ) from error
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere it would allow two servers on one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise InputError(f"port {port} is in use; choose another --port") from error
        if error.errno == errno.EACCES:
            raise InputError(f"port {port} is not allowed; choose a --port above 1023") from error
        raise InputError(
            f"--host {host} cannot be listened on ({error.strerror}); try 127.0.0.1"
        ) from error
    return listener


def url(address: str, port: int) -> str:
    """Of the page, as this machine reaches it."""
    found = ipaddress.ip_address(address)
    if found.is_unspecified:
        address = "127.0.0.1" if found.version == 4 else "::1"
    return f"http://{f'[{address}]' if found.version == 6 else address}:{port}"


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches it."""
    return ipaddress.ip_address(address).is_loopback


def is_address(text: str) -> bool:
    """Whether a text is an IP address and no name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
