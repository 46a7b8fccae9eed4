"""The queue of the one thread that runs the model."""

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from colorjax.serve.limits import Refusal

T = TypeVar("T")
# Seconds between two events at most, so that a connection is seen to live, and at least.
HEARTBEAT, PAUSE = 15.0, 0.1
# The longest Retry-After, in seconds.
MAX_RETRY = 60
ENDS = "the server is shutting down"


class Cancelled(Exception):
    """Nobody waits for the result any more."""


class Ticket:
    """A request's place in the queue.

    Attributes:
      names: what the client knows it by.
    """

    def __init__(self, names: Collection[str] = ()) -> None:
        self.names = names
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        self._cancelled.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether nobody waits any more."""
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raises Cancelled if nobody waits any more; called between the steps of long work."""
        if self.is_cancelled:
            raise Cancelled


class Queue:
    """Runs one function after the other in a thread, in the order in which they were asked for.

    All methods are called on the event loop.

    Args:
      most: functions that may wait.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: list[Ticket] = []
        self._running: Ticket | None = None
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "colorjax-model")
        self._changed = asyncio.Event()
        self._mean_seconds = 1.0
        self.closed = False

    def check_room(self) -> None:
        """Raises Refusal if the queue is full."""
        if self.closed:
            raise Refusal(503, ENDS, {"Retry-After": "5"})
        if len(self._waiting) >= self._most:
            seconds = math.ceil(self._mean_seconds * (1 + len(self._waiting)))
            raise Refusal(
                503,
                f"{len(self._waiting)} requests wait already; try again soon",
                {"Retry-After": str(min(max(1, seconds), MAX_RETRY))},
            )

    async def run(
        self,
        function: Callable[[Ticket], T],
        *,
        seconds: float,
        names: Collection[str] = (),
        admitted: bool = False,
    ) -> tuple[T, float]:
        """Runs a function when its turn comes.

        A caller that is cancelled gives up its place; if its function runs already, the ticket is
        cancelled, and the next one starts when the function returns.

        Args:
          function: is given its ticket.
          seconds: that it may take, without the time in the queue.
          names: what the client knows the request by.
          admitted: whether it may wait even if the queue is full; not once it is closed.

        Returns:
          What the function returns, and the seconds that it took.

        Raises:
          Refusal: the queue is full or closed, or the function took too long.
        """
        if self.closed or not admitted:
            self.check_room()
        ticket = Ticket(names)
        self._waiting.append(ticket)
        self._notify()
        try:
            await self._turn.acquire()
        finally:
            self._waiting.remove(ticket)
            self._notify()
        self._running = ticket
        future = asyncio.get_running_loop().run_in_executor(self._thread, _timed, function, ticket)
        future.add_done_callback(self._finished)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(future)
        except Cancelled as error:  # by `close`
            raise Refusal(503, ENDS, {"Retry-After": "5"}) from error
        except TimeoutError as error:
            if future.done():  # the function's own
                raise
            raise Refusal(504, f"took more than {seconds:.0f} s; try a smaller picture") from error
        finally:
            ticket.cancel()

    def state(self, names: Collection[str]) -> dict[str, Any]:
        """How many wait and run, and the places of those with these names: 0 runs, 1 is next."""
        in_order = [self._running, *self._waiting]
        places = {
            name: place
            for place, ticket in reversed(list(enumerate(in_order)))
            for name in (ticket.names if ticket else ())
            if name in names
        }
        return {
            "waiting": len(self._waiting),
            "running": int(self._turn.locked()),
            "places": places,
        }

    async def states(self, names: Collection[str]) -> AsyncIterator[dict[str, Any]]:
        """`state` whenever it changes, and now and then otherwise, until the queue is closed."""
        while not self.closed:
            changed = self._changed
            yield self.state(names)
            await asyncio.sleep(PAUSE)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), HEARTBEAT)

    def close(self) -> None:
        """Ends `states` and what runs between its steps; nothing more is accepted."""
        self.closed = True
        for ticket in (self._running, *self._waiting):
            if ticket:
                ticket.cancel()
        self._notify()

    def join(self) -> None:
        """Waits for the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _finished(self, future: "asyncio.Future[tuple[Any, float]]") -> None:
        if not future.cancelled() and future.exception() is None:
            self._mean_seconds += 0.2 * (future.result()[1] - self._mean_seconds)
        self._running = None
        self._turn.release()
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _timed(function: Callable[[Ticket], T], ticket: Ticket) -> tuple[T, float]:
    ticket.check()
    start = time.perf_counter()
    return function(ticket), time.perf_counter() - start
