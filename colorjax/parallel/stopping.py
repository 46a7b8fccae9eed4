"""Stopping after SIGTERM, which any of the processes may receive."""

import signal
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

import jax
from jax.experimental import multihost_utils

from colorjax.parallel import RESUME

T = TypeVar("T")

MESSAGE = f"stopped by SIGTERM; {RESUME}"


class StopRequested(BaseException):
    """SIGTERM was received. Raised between steps, at the same step in all processes.

    Like KeyboardInterrupt it is not an Exception, so that no handler of errors catches it.
    """


class Stopping:
    """Context manager that listens for SIGTERM.

    With several processes JAX catches the signal, and the processes agree on a later call of
    `check` or `asked` at which all of them stop: every process must make the same calls in the
    same order.

    Attributes:
      at_once: whether StopRequested may be raised anywhere, since there is nothing to save yet;
        initially True. With several processes it is only ever raised by `check`.
    """

    def __init__(self) -> None:
        self.at_once = True
        self._calls, self._asked = 0, False

    def __enter__(self) -> "Stopping":
        self._together = jax.distributed.is_initialized()
        # Python allows signal handlers in the main thread only.
        self._catches = not self._together and threading.current_thread() is threading.main_thread()
        if self._catches:
            self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def _ask(self, *_: object) -> None:
        self._asked = True
        if self.at_once:
            raise StopRequested(MESSAGE)

    def __exit__(self, *exception: object) -> None:
        if self._catches:
            signal.signal(signal.SIGTERM, self._before)

    @property
    def asked(self) -> bool:
        """Whether to stop now. With several processes a call takes 10 µs."""
        if self._together:
            self._calls += 1
            if multihost_utils.reached_preemption_sync_point(self._calls):
                self._asked = True
        return self._asked

    def check(self) -> None:
        """Raises StopRequested if `asked`."""
        if self.asked:
            raise StopRequested(MESSAGE)

    def each(self, items: Iterable[T]) -> Iterator[T]:
        """Yields the items, with a check before each."""
        for item in items:
            self.check()
            yield item
