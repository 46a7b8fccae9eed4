"""The SHA-256 of a checkpoint's files: what is damaged is found out before it is read."""

import hashlib
import json
from pathlib import Path

from colorjax.files import write_text

SUMS = "sha256.json"


class DamagedError(RuntimeError):
    """A checkpoint is not what was saved. Its message says what is wrong with it."""


def write_sums(checkpoint: Path) -> None:
    """Writes down, in a checkpoint's folder, what its files have to be."""
    write_text(checkpoint / SUMS, json.dumps(_sums(checkpoint), indent=1))


def has_sums(checkpoint: Path) -> bool:
    """Whether it has them; one of an earlier version has none."""
    return (checkpoint / SUMS).exists()


def check_sums(checkpoint: Path) -> None:
    """Compares a checkpoint's files with what was written.

    Raises:
      DamagedError: names a file that is missing or differs. A checkpoint without sums, of an
        earlier version, passes.
    """
    if not has_sums(checkpoint):
        return
    try:
        expected = json.loads((checkpoint / SUMS).read_text())
        found = _sums(checkpoint)
        wrong = sorted(name for name in expected if found.get(name) != expected[name])
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DamagedError(f"{SUMS}: {error}") from error
    if wrong:
        raise DamagedError(f"{wrong[0]} {'differs' if wrong[0] in found else 'is missing'}")


def _sums(checkpoint: Path) -> dict[str, str]:
    sums = {}
    for path in sorted(checkpoint.rglob("*")):
        if path.is_file() and path.name != SUMS:
            with path.open("rb") as file:
                sums[path.relative_to(checkpoint).as_posix()] = hashlib.file_digest(
                    file, "sha256"
                ).hexdigest()
    return sums
