"""The pictures that are kept in memory, for a while."""

import contextlib
import secrets
import time
from collections.abc import Callable, Iterable, Iterator

from colorjax.serve.limits import Limits, Refusal
from colorjax.serve.pictures import Picture

# A picture that was used this many seconds ago may have to make room for another.
RECENT = 60.0
GONE = "this picture is not kept any more; upload it again"


class Store:
    """Pictures by an id that nobody can guess: whoever knows it may see the picture.

    All methods are called on the event loop.

    Args:
      limits: how many pictures, of how many bytes, are kept for how long.
      clock: gives seconds.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._pictures: dict[str, tuple[Picture, float]] = {}  # the one used last is the last
        self._arriving = 0

    def add(self, picture: Picture) -> str:
        """Keeps a picture; returns its id. Raises Refusal (503) if there is no room."""
        self._make_room(picture.num_bytes, 1)
        name = secrets.token_urlsafe(16)
        self._pictures[name] = picture, self._clock()
        return name

    def get(self, name: str) -> Picture:
        """A picture, which is used now. Raises Refusal (404) if it is not there any more."""
        self.forget_old()
        if name not in self._pictures:
            raise Refusal(404, GONE)
        picture, _ = self._pictures.pop(name)
        self._pictures[name] = picture, self._clock()
        return picture

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of these ids whose pictures are not there any more."""
        self.forget_old()
        return [name for name in names if name not in self._pictures]

    def remove(self, name: str) -> None:
        """Forgets a picture. Raises Refusal (404)."""
        self.get(name)
        del self._pictures[name]

    def forget_old(self) -> None:
        """Forgets pictures that have not been used for a while."""
        while self._pictures and self._idle_seconds() > self._limits.session_seconds:
            self._forget_first()

    def fit(self) -> None:
        """Forgets pictures but the last until the memory suffices: they grow while looked at."""
        while self.num_bytes > self._limits.memory and len(self._pictures) > 1:
            self._forget_first()

    @contextlib.contextmanager
    def arriving(self) -> Iterator[Callable[[int], None]]:
        """Gives a function that counts bytes of an upload as they arrive.

        It raises Refusal (503) if there is no room for them.
        """
        counted = 0

        def count(size: int) -> None:
            nonlocal counted
            self._make_room(size, 0)
            self._arriving += size
            counted += size

        try:
            yield count
        finally:
            self._arriving -= counted

    @property
    def num_bytes(self) -> int:
        """Of what is kept and of what arrives."""
        return self._arriving + sum(picture.num_bytes for picture, _ in self._pictures.values())

    def _idle_seconds(self) -> float:
        """Of the picture that was not used for the longest time."""
        _, used = next(iter(self._pictures.values()))
        return self._clock() - used

    def _forget_first(self) -> None:
        del self._pictures[next(iter(self._pictures))]

    def _make_room(self, size: int, count: int) -> None:
        def is_full() -> bool:
            too_many = len(self._pictures) + count > self._limits.pictures
            return too_many or self.num_bytes + size > self._limits.memory

        while is_full():
            if not self._pictures or self._idle_seconds() < RECENT:
                raise Refusal(
                    503, "too many pictures are open; try again soon", {"Retry-After": "10"}
                )
            self._forget_first()
