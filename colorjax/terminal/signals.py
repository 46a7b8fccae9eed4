"""Signals that end a command: as KeyboardInterrupt, and not in the middle of imports."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

_ENDING = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


@contextlib.contextmanager
def handled(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Gives SIGINT, SIGTERM and SIGHUP a handler.

    Those that are ignored, as in the background of a shell or after nohup, stay ignored.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():  # no other may set handlers
        before = {number: signal.getsignal(number) for number in _ENDING}
        before = {
            number: old for number, old in before.items() if old not in (signal.SIG_IGN, None)
        }
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def raised() -> contextlib.AbstractContextManager[None]:
    """SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does."""
    return handled(signal.default_int_handler)


@contextlib.contextmanager
def delayed() -> Iterator[None]:
    """KeyboardInterrupt is raised at the end: modules in C may swallow it while they start."""
    asked: list[int] = []
    with handled(lambda number, _: asked.append(number)):
        yield
    if asked:
        raise KeyboardInterrupt
