"""What the server does, one request after the other."""

import asyncio
import contextlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

import jax

from colorjax.colorize.colorizer import Colorizer
from colorjax.colorize.hints import Hints
from colorjax.images.photo_reader import PhotoReader
from colorjax.runs.model_paths import DISTRIBUTION
from colorjax.serve import photos
from colorjax.serve.limits import Limits, Refusal
from colorjax.serve.looks import Look
from colorjax.serve.models import Models
from colorjax.serve.pictures import Picture
from colorjax.serve.queue import Queue, Ticket
from colorjax.serve.store import Store

T = TypeVar("T")
# Old pictures are looked for every so many seconds.
TIDYING_SECONDS = 30.0
# Requests between two looks at how much memory is mapped.
CHECKED_REQUESTS = 20


class Service:
    """Models, the queue, and the pictures that are kept.

    Its methods are called on the event loop. Those that take `names` wait in the queue, where the
    client knows them by these names, and return the seconds that they took without waiting.

    Args:
      models: that may be asked for.
      reader: decodes uploads.
      limits: see `Limits`.
    """

    def __init__(self, models: Models, reader: PhotoReader, limits: Limits | None = None) -> None:
        self.models, self.limits = models, limits or Limits()
        self._reader = reader
        self.queue = Queue(self.limits.waiting)
        self.store = Store(self.limits)
        self._requests = 0

    def check(self, look: Look, model: str, distribution: bool = False) -> None:
        """Raises Refusal (409) if a model cannot do what a look, or a call, needs."""
        able = self.models.described[model]
        look.check(able)
        if distribution and not able[DISTRIBUTION]:
            raise Refusal(409, "this model predicts no distribution of colours; choose another")

    async def open(
        self, data: bytes, name: str, model: str, names: Collection[str]
    ) -> tuple[Picture, float]:
        """A picture to look at. Raises Refusal (422) if it cannot be read."""

        def opened(ticket: Ticket) -> Picture:
            photo = photos.read(data, self._reader)
            ticket.check()
            return Picture(data, name, model, photo)

        return await self._run(opened, len(data), names)

    async def see(
        self,
        picture: Picture,
        temperature: float | None,
        function: Callable[[Colorizer], T],
        names: Collection[str],
    ) -> tuple[T, float]:
        """What a function of a model gives for a picture.

        All previews of a picture come from one compiled network: the first one waits for it, and
        hints, candidates, suggestions and other temperatures do not.
        """

        def seen(ticket: Ticket) -> T:
            colorizer = self._colorizer(picture.model)
            return function(colorizer.variant(temperature, one_program=True))

        found = await self._run(seen, 0, names)
        self.store.fit()
        return found

    async def file(
        self,
        data: bytes,
        name: str,
        look: Look,
        model: str,
        names: Collection[str],
        admitted: bool = False,
    ) -> tuple[photos.File, float]:
        """The coloured file, see `photos.coloured`."""

        def coloured(ticket: Ticket) -> photos.File:
            colorizer = self._colorizer(model).variant(look.temperature)
            return photos.coloured(data, name, look, colorizer, model, self._reader, ticket)

        return await self._run(coloured, len(data), names, admitted)

    async def suggest(
        self,
        data: bytes,
        x: float,
        y: float,
        hints: Hints | None,
        count: int,
        model: str,
        names: Collection[str],
    ) -> tuple[list[tuple[str, float]], float]:
        """The likeliest colours of a pixel of a photograph."""

        def suggested(ticket: Ticket) -> list[tuple[str, float]]:
            photo = photos.read(data, self._reader)
            ticket.check()
            colorizer = self._colorizer(model).variant(one_program=True)
            return colorizer.suggest(photo.rgb, x, y, count, hints)

        return await self._run(suggested, len(data), names)

    async def tidy(self) -> None:
        """Forgets old pictures, until it is cancelled."""
        while True:
            await asyncio.sleep(TIDYING_SECONDS)
            self.store.forget_old()

    async def _run(
        self,
        function: Callable[[Ticket], T],
        size: int,
        names: Collection[str],
        admitted: bool = False,
    ) -> tuple[T, float]:
        seconds = self.limits.work_seconds(size)
        return await self.queue.run(function, seconds=seconds, names=names, admitted=admitted)

    def _colorizer(self, model: str) -> Colorizer:
        self._requests += 1
        if self._requests % CHECKED_REQUESTS == 0:
            forget_programs()
        return self.models.colorizer(model)


def forget_programs(most: int | None = None) -> None:
    """Drops what is compiled if the process has more than `most` mappings of memory.

    By default that is half of those that Linux gives a process, which ends without any left. A
    compiled network has 350, and pictures have many sizes. Programs that are needed again come
    from JAX's cache on the disk.
    """
    with contextlib.suppress(OSError, ValueError):  # not on Linux
        if most is None:
            most = int(Path("/proc/sys/vm/max_map_count").read_text()) // 2
        with open("/proc/self/maps", "rb") as maps:
            used = sum(1 for _ in maps)
        if used > most:
            jax.clear_caches()
