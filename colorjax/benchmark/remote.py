"""An object in a process of its own, so that what it compiles and allocates is counted alone."""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from multiprocessing.managers import BaseManager
from typing import Any

from colorjax.terminal.errors import EndedError, InputError


class Remote:
    """Makes an object in a new process and calls its methods from this one.

    Args:
      make: function or class that returns the object; can be pickled.
      *arguments: of `make`.

    Attributes:
      seconds: time from the start of the process until the object was made.

    Raises:
      InputError: `make` raised it.
      EndedError: `make` raised another error, or the process died.
    """

    def __init__(self, make: Callable[..., Any], *arguments: Any) -> None:
        start = time.perf_counter()
        # A forked process would hold locks of threads that it does not have.
        self._manager = _Manager(ctx=multiprocessing.get_context("spawn"))
        self._manager.start()
        try:
            self._holder = self._manager.Holder()  # type: ignore[attr-defined]
            self._ask("make", make, arguments)
        except BaseException:
            self.close()
            raise
        self.seconds = time.perf_counter() - start

    def call(self, method: str, *arguments: Any) -> Any:
        """Calls a method of the object. Raises as the class does."""
        return self._ask("call", method, arguments)

    def close(self) -> None:
        """Ends the process."""
        self._manager.shutdown()

    def __enter__(self) -> "Remote":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, method: str, *arguments: Any) -> Any:
        try:
            return getattr(self._holder, method)(*arguments)
        except (EOFError, ConnectionError) as error:
            raise EndedError("a process died; it may have run out of memory") from error


class _Holder:
    """Holds the object in its process."""

    def make(self, make: Callable[..., Any], arguments: Sequence[Any]) -> None:
        self._made = _in_one_line(make, arguments)

    def call(self, method: str, arguments: Sequence[Any]) -> Any:
        return _in_one_line(getattr(self._made, method), arguments)


def _in_one_line(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    try:
        return function(*arguments)
    except InputError:
        raise
    except Exception as error:
        line = (str(error).strip() or "without a message").splitlines()[0]
        raise EndedError(f"{type(error).__name__}: {line}") from None


class _Manager(BaseManager):
    pass


_Manager.register("Holder", _Holder)
