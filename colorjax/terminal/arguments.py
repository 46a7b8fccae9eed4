"""Command-line arguments: the parser, and the types of numbers."""

import argparse
from typing import NoReturn

from colorjax.terminal.errors import InputError


def saturation(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 10:
        raise argparse.ArgumentTypeError(f"{number} is not in [0, 10]")
    return number


def share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not in [0, 1]")
    return share


def strength(text: str) -> float:
    try:
        return share(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no strength in [0, 1]; give one, or --damage behind the runs"
        ) from error


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are InputError: one line, as all wrong input."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} ({self.prog} --help shows how it is used)")
