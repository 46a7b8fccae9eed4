"""Worker processes for what decodes untrusted bytes.

A decoder may crash or never end on a corrupt file. It then ends a worker, which is replaced, and
not the program. This module imports neither JAX nor what imports it, so that workers start fast.
"""

import contextlib
import signal
import sys
import threading
import time
import types
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, NamedTuple, Self

import pebble

from colorjax.images.reasons import reasons

# Seconds that decoding one file may take, and more for each million bytes of the file.
TIME_LIMIT = 60.0
SECONDS_PER_MEGABYTE = 1.0
# Seconds without any file being decoded, after which those that wait are sent again.
LOST_SECONDS = 180.0


class _Process(SpawnProcess):
    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        # A worker would run the user's script again, unless that guards itself by `if __name__ ==
        # "__main__"`; and Ctrl-C is the parent's to handle, even while a worker starts.
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        blocked = hasattr(signal, "pthread_sigmask") and signal.pthread_sigmask(
            signal.SIG_BLOCK, {signal.SIGINT}
        )
        try:
            return SpawnProcess._Popen(process_obj)  # type: ignore[attr-defined]
        finally:
            sys.modules["__main__"] = main
            if blocked is not False:
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


class _Context(SpawnContext):
    Process = _Process


class _Failure(NamedTuple):
    """An exception of a worker, as one that can be pickled."""

    reason: str
    errno: int | None = None
    filename: str | None = None


class Workers:
    """Processes that decode; a context manager.

    Args:
      count: number of processes. They start at once.
      time_limit: seconds that decoding a file may take, plus one second a megabyte of the file.
    """

    def __init__(self, count: int, time_limit: float = TIME_LIMIT) -> None:
        self._count, self._time_limit = count, time_limit
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._pool = self._started()
        self._tasks: set[Future[Any]] = set()  # of pebble, unfinished
        threading.Thread(target=self._watch, daemon=True).start()

    def _started(self) -> pebble.ProcessPool:
        pool = pebble.ProcessPool(self._count, initializer=_initialize, context=_Context())
        assert pool.active  # starts the workers
        return pool

    def _schedule(self, *task: Any, timeout: float) -> "Future[Any]":
        """Gives pebble a task: to other processes, if one was ended from outside."""
        with self._lock:
            if not self._ended.is_set() and not self._pool.active:
                self._restart()
            future = self._pool.schedule(_guarded, task, timeout=timeout)
            self._tasks.add(future)
        return future

    def _restart(self) -> None:
        lost = frozenset(self._tasks)
        self._pool.stop()
        try:
            self._pool.join()
            self._pool = self._started()
        finally:
            for task in lost:
                if not task.done():  # pebble fails only some of them
                    task.set_exception(BrokenProcessPool("lost"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._pool.join()

    def end(self) -> None:
        """Nothing more will be decoded: ends the processes without waiting for them."""
        self._ended.set()
        with self._lock:
            self._pool.stop()

    def _watch(self) -> None:
        """Gives up tasks that pebble has lost.

        It loses one whose process takes it and dies before it can say so.
        """
        waiting, since = frozenset[Future[Any]](), 0.0
        while not self._ended.wait(1):
            now = frozenset(self._tasks)
            if now != waiting or any(task.running() for task in now):
                waiting, since = now, time.monotonic()
            elif waiting and time.monotonic() - since > LOST_SECONDS:
                with self._lock, contextlib.suppress(Exception):  # it fails the tasks, too
                    if not self._ended.is_set() and frozenset(self._tasks) == waiting:
                        self._restart()

    def submit(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        size: int,
        then: Callable[[Any], Any] = lambda result: result,
    ) -> "Future[Any]":
        """Starts to decode a file.

        Args:
          function: of a module, called in a worker with the arguments.
          *arguments: they are pickled.
          size: bytes of the file.
          then: called in a thread of this process with what the function returns.

        Returns:
          What `then` returns, or an exception: the function's if it is an OSError, else a
          ValueError with the reason.
        """
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        limit = self._time_limit + SECONDS_PER_MEGABYTE * size / 1e6

        def start(is_last: bool) -> None:
            try:
                task = self._schedule(function, *arguments, timeout=limit)
            except Exception as error:  # they have ended, or cannot be started again
                future.set_exception(error)
            else:
                task.add_done_callback(lambda task: finish(task, is_last))

        def finish(task: "Future[Any]", is_last: bool) -> None:
            self._tasks.discard(task)
            try:
                # A worker that is ended from outside takes the files of others with it.
                broken = isinstance(task.exception(), BrokenProcessPool)
                if broken and not is_last and not self._ended.is_set():
                    # This thread is one of the pool that will be replaced.
                    threading.Thread(target=start, args=[True], daemon=True).start()
                else:
                    future.set_result(then(_result(task, limit)))
            except Exception as error:
                future.set_exception(error)

        start(is_last=False)
        return future


def _result(task: "Future[Any]", limit: float) -> Any:
    try:
        found = task.result()
    except TimeoutError as error:
        raise ValueError(f"took more than {limit:.0f} s to decode") from error
    except pebble.ProcessExpired as error:
        cause = f"signal {-error.exitcode}" if error.exitcode < 0 else f"{error.exitcode}"
        raise ValueError(
            f"ended the process that decoded it ({cause}): corrupt, or too large for the memory"
        ) from error
    except BrokenProcessPool as error:
        raise ValueError("the process to decode it ended; try again") from error
    if not isinstance(found, _Failure):
        return found
    if found.errno is None:
        raise ValueError(found.reason)
    raise OSError(found.errno, found.reason, found.filename)


def _initialize() -> None:
    # A decoder in C that does not return ends too.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _guarded(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        with reasons():
            return function(*arguments)
    except MemoryError:
        return _Failure("not enough memory")
    except OSError as error:
        return _Failure(error.strerror or str(error), error.errno, error.filename)
    except ValueError as error:
        return _Failure(" ".join(str(error).split()))
