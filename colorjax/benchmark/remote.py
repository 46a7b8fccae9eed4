"""An object in a process of its own: what it compiles, holds and allocates is its alone."""

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from colorjax.terminal.errors import EndedError, InputError


class Remote:
    """Makes an object in a fresh process; its methods are called from here.

    Args:
      make: gives the object; a function or class that can be pickled.
      *arguments: of `make`.

    Attributes:
      seconds: from the start of the process until the object was there.

    Raises:
      InputError: as `make` does.
      EndedError: whatever else it raises, as one line.
    """

    def __init__(self, make: Callable[..., Any], *arguments: Any) -> None:
        # Forked, it would have the locks of threads that it does not have.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, arguments))
        start = time.perf_counter()
        self._process.start()
        theirs.close()
        try:
            self._answer()
        except BaseException:
            self.close()
            raise
        self.seconds = time.perf_counter() - start

    def call(self, method: str, *arguments: Any) -> Any:
        """Calls a method there. Raises as the class does."""
        self._connection.send((method, arguments))
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        self._connection.close()
        self._process.join()

    def __enter__(self) -> "Remote":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self) -> Any:
        try:
            answer, error = self._connection.recv()
        except EOFError:
            self._process.join()
            error = EndedError(f"a process ended with status {self._process.exitcode}")
        if error:
            raise error
        return answer


def _serve(connection: Connection, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        made = make(*arguments)
        connection.send((None, None))
        while True:
            method, arguments = connection.recv()
            connection.send((getattr(made, method)(*arguments), None))
    except (EOFError, KeyboardInterrupt):
        return
    except InputError as error:
        connection.send((None, error))
    except Exception as error:
        line = (str(error).strip() or "no more is known").splitlines()[0]
        connection.send((None, EndedError(f"{type(error).__name__}: {line}")))
