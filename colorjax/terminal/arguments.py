"""Command-line arguments: the parser, and the types of values."""

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from colorjax.terminal.errors import InputError

TEMPERATURE_RULE = "0 or in [0.05, 10]"


def saturation(text: str) -> float:
    return _number(text, 0, 10)


def temperature(text: str) -> float:
    value = _number(text, 0, 10)
    if not is_temperature(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not {TEMPERATURE_RULE}")
    return value


def is_temperature(value: float) -> bool:
    """Whether it is TEMPERATURE_RULE. Dividing by less may overflow."""
    return value == 0 or 0.05 <= value <= 10


def share(text: str) -> float:
    return _number(text, 0, 1)


def strength(text: str) -> float:
    try:
        return share(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a strength in [0, 1]; for the default, write --damage after the runs"
        ) from error


def candidates(text: str) -> int:
    number = _integer(text)
    if not 2 <= number <= 16:
        raise argparse.ArgumentTypeError(f"{number} is not in [2, 16]")
    return number


def positive(text: str) -> int:
    number = _integer(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer") from error


def port(text: str) -> int:
    number = _integer(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{number} is not in [0, 65535]")
    return number


def decimal(text: str) -> float:
    return _number(text, 0, float("inf"))


def _number(text: str, low: float, high: float) -> float:
    try:
        number = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from error
    if not low <= number <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not in [{low}, {high}]")
    return number


class Parser(argparse.ArgumentParser):
    """Raises InputError, so that errors are reported in one line. --a_b is understood as --a-b."""

    def parse_known_args(  # type: ignore[override]  # argparse overloads it by the namespace
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        given = list(sys.argv[1:] if args is None else args)
        end = given.index("--") if "--" in given else len(given)
        flags = [re.sub(r"^--\w[\w-]*", lambda f: f[0].replace("_", "-"), a) for a in given[:end]]
        return super().parse_known_args(flags + given[end:], namespace)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help)")


def explain_flags(error: Exception) -> str:
    """One line about what absl or ml_collections raised for the flags of a run."""
    text = str(error).strip()
    unknown = re.fullmatch(r"\W*(\w+)\W*(?:n?Did you mean \W*(\w+).*)?", text)
    if unknown and isinstance(error, (KeyError, AttributeError)):
        hint = f"did you mean {unknown[2]!r}?" if unknown[2] else "configs/common.py lists the keys"
        return f"the config has no key {unknown[1]!r}; {hint}"
    lines = text.splitlines() or [type(error).__name__]
    if isinstance(error, OSError):
        return f"the config cannot be read: {lines[-1].strip()}"
    return " ".join(dict.fromkeys((lines[0], lines[-1]))) + " (--help lists the flags)"
