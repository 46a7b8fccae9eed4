"""What a client asks for: how a picture is to look. Imports no JAX."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from colorjax.colorize.hints import Hints, parse
from colorjax.runs.model_paths import DISTRIBUTION, HINTS
from colorjax.serve.limits import Refusal
from colorjax.terminal.arguments import TEMPERATURE_RULE, is_temperature
from colorjax.terminal.errors import InputError

MAX_SATURATION, MAX_CANDIDATES, MAX_COLORS = 10.0, 16, 64
KEYS = ("saturation", "temperature", "hints", "candidate")


class Look(NamedTuple):
    """How a picture is to look; see the flags of `colorjax colorize`.

    Attributes:
      saturation: factor applied to a*b*.
      temperature: of the answer; None for the model's own.
      hints: in pixels of the upright picture; None if there are none.
      candidate: 0 for the answer itself, k for the k-th candidate after it.
    """

    saturation: float = 1.0
    temperature: float | None = None
    hints: Hints | None = None
    candidate: int = 0

    def check(self, able: Mapping[str, Any]) -> None:
        """Raises Refusal (409) if a model cannot follow it; `able` says what the model can."""
        if self.hints is not None and not able[HINTS]:
            raise Refusal(409, "this model takes no hints; leave out hints or choose another model")
        if (self.temperature or self.candidate) and not able[DISTRIBUTION]:
            raise Refusal(
                409,
                "this model predicts no distribution of colours; leave out temperature and "
                "candidate or choose another model",
            )

    def fits(self, size: tuple[int, int]) -> None:
        """Raises InputError if a hint is outside a picture of this width and height."""
        if self.hints is not None:
            self.hints.of(size)


def read_look(values: Any) -> Look:
    """A look from a JSON object. Raises InputError, which names what is wrong."""
    if not isinstance(values, dict):
        raise InputError(f"a look is an object with {', '.join(KEYS)}, not {values!r:.60}")
    if unknown := values.keys() - set(KEYS):
        raise InputError(f"a look has no {min(unknown)!r:.60}; it has {', '.join(KEYS)}")
    temperature = values.get("temperature")
    if temperature is not None and not (_is_number(temperature) and is_temperature(temperature)):
        raise InputError(f"temperature={temperature!r:.60} is not {TEMPERATURE_RULE}")
    return Look(
        saturation=number(values.get("saturation", 1.0), "saturation", 0, MAX_SATURATION),
        temperature=None if temperature is None else float(temperature),
        hints=read_points(values.get("hints")),
        candidate=integer(values.get("candidate", 0), "candidate", 0, MAX_CANDIDATES - 1),
    )


def read_points(points: Any) -> Hints | None:
    """Hints from a JSON list. Raises InputError."""
    hints = parse([] if points is None else points)
    return hints if len(hints.pixels) else None


def number(value: Any, name: str, low: float, high: float) -> float:
    """A JSON number in [low, high]. Raises InputError."""
    if not _is_number(value) or not low <= value <= high:  # nor NaN
        raise InputError(f"{name}={value!r:.60} is not a number in [{low:g}, {high:g}]")
    return float(value)


def integer(value: Any, name: str, low: int, high: int) -> int:
    """A JSON integer in [low, high]. Raises InputError."""
    found = number(value, name, low, high)
    if found != int(found):
        raise InputError(f"{name}={value!r:.60} is not an integer")
    return int(found)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
