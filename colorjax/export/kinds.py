"""The kinds of files that models are exported to, and what they need. Imports no JAX."""

import importlib.util
from pathlib import Path

from colorjax.terminal.errors import InputError, installing

WEIGHTS, ONNX, STABLEHLO = FILES = "safetensors", "onnx", "stablehlo"
SITE = "site"
NEEDED = ("onnx", "onnxruntime")  # by ONNX and sites
KINDS = (*FILES, SITE)
# Weights and sites are downloaded, so they are small; what other programs read is exact.
DEFAULT_DTYPES = {WEIGHTS: "float16", ONNX: "float32", STABLEHLO: "float32", SITE: "float16"}


def choose(output: Path, given: str | None) -> str:
    """The kind that an output's suffix says, or else the one that is given.

    Raises:
      InputError: neither says it, or they contradict each other.
    """
    found = output.suffix.removeprefix(".")
    if found not in FILES:
        if given is None:
            suffixes = ", ".join(f".{kind}" for kind in FILES)
            raise InputError(f"{output} must end in {suffixes}; for another name give --format")
        return given
    if given not in (None, found):
        raise InputError(f"{output} ends in .{found}, which --format {given} contradicts")
    return found


def written(output: Path, kind: str) -> dict[str, Path]:
    """The files that a kind consists of, by their suffixes. That of StableHLO has its card beside.

    Args:
      output: the file.
      kind: one of FILES.
    """
    files = {f".{kind}": output}
    if kind == STABLEHLO:
        files[f".{kind}.json"] = output.with_name(f"{output.name}.json")
    return files


def check_extra(kind: str) -> None:
    """Raises InputError if a kind needs packages that are not installed."""
    if kind in (ONNX, SITE) and not all(map(importlib.util.find_spec, NEEDED)):
        raise InputError(f"ONNX needs the extra `onnx`: {installing(ONNX)}")
