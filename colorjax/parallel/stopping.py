"""Stopping when the machine is taken away: SIGTERM, in any of the processes."""

import signal
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

import jax
from jax.experimental import multihost_utils

from colorjax.parallel.processes import GO_ON

T = TypeVar("T")

MESSAGE = f"stopped by SIGTERM; {GO_ON}"


class StopRequested(BaseException):
    """SIGTERM came; raised where the state is whole, at the same place in all processes.

    As KeyboardInterrupt it is no Exception: nobody who expects errors takes it for one.
    """


class Stopping:
    """Looks for SIGTERM while it is entered.

    In several processes it is JAX that catches the signal, and that agrees with the others on a
    call of `check` soon to come: every process has to make the same calls in the same order.

    Attributes:
      at_once: whether StopRequested may be raised anywhere, as there is nothing to save yet; so
        it is at first. In several processes it always waits for a call.
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
        """Whether it is time to stop; in several processes it costs 10 µs."""
        if self._together:
            self._calls += 1
            if multihost_utils.reached_preemption_sync_point(self._calls):
                self._asked = True
        return self._asked

    def check(self) -> None:
        """Raises StopRequested if it is time to stop."""
        if self.asked:
            raise StopRequested(MESSAGE)

    def each(self, items: Iterable[T]) -> Iterator[T]:
        """The items, with a check before each."""
        for item in items:
            self.check()
            yield item
