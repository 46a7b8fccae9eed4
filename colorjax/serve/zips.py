"""Coloured files as one zip, sent while it is made."""

import io
import traceback
import zipfile
from collections.abc import AsyncIterator, Awaitable, Iterable
from pathlib import Path

from colorjax.serve.limits import Refusal
from colorjax.serve.photos import File
from colorjax.terminal.errors import EndedError, InputError

FAILED = "not coloured.txt"


class _Sink(io.RawIOBase):
    """Holds what was written until it is taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: "bytes | memoryview") -> int:  # type: ignore[override]
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


async def zipped(
    files: Iterable[tuple[str, Awaitable[tuple[File, float]]]],
) -> AsyncIterator[bytes]:
    """A zip in pieces, one file after the other.

    Args:
      files: names of the sources, and what gives their coloured files. Those that cannot be
        coloured are listed, with the reasons, in the file FAILED of the zip.
    """
    sink, used, failed = _Sink(), {FAILED}, []
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, coming in files:
            try:
                file, _ = await coming
            except (Refusal, InputError, EndedError) as error:
                failed.append(f"{name}: {error}")
                continue
            except Exception as error:  # the zip and what it has already are not to be lost
                traceback.print_exc()
                failed.append(f"{name}: {type(error).__name__}, see the terminal")
                continue
            with archive.open(_unique(file.name, used), "w", force_zip64=True) as entry:
                entry.write(file.data)
            del file
            yield sink.take()
        if failed:
            archive.writestr(FAILED, "\n".join(failed) + "\n")
    yield sink.take()


def _unique(name: str, used: set[str]) -> str:
    """The name, with a number if it is used already; file systems may ignore the case."""
    path, number, found = Path(name), 1, name
    while found.lower() in used:
        number += 1
        found = f"{path.stem}_{number}{path.suffix}"
    used.add(found.lower())
    return found
