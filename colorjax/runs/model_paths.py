"""Where models are: packaged ones and those of the hub by name, weights files and runs by path.

Imports no JAX, so that wrong names are answered at once.
"""

import hashlib
import importlib.resources
import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from colorjax.runs import hub
from colorjax.terminal.errors import InputError

SUFFIX = hub.SUFFIX
DEFAULT_MODEL = "faces"
# Keys of a config that are above 0 if the model predicts a distribution of colours, takes hints.
DISTRIBUTION, HINTS = "distribution", "hints"


def packaged() -> dict[str, Path]:
    """The models that come with colorjax, by name."""
    folder = Path(str(importlib.resources.files("colorjax") / "assets/models"))
    return {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}"))}


def find_model(model: str | Path) -> Path:
    """The weights file, the run's folder or its checkpoint of a name or a path.

    In a text, a packaged model's name and `hub.SYNTAX` take precedence over a path; a Path is never
    a name. What the hub has is downloaded.

    Raises:
      InputError: there is no such model, or it is neither a weights file nor a run.
    """
    if isinstance(model, Path):
        path = Path(os.path.expanduser(model))
    elif model in packaged():
        return packaged()[model]
    else:
        path = hub.local_path(model)
    if is_weights(path):
        read_metadata(path)
    elif model and run_folder(path).is_dir():
        read_config(run_folder(path))
    else:
        raise InputError(
            f"{str(model)!r} is neither a run nor a weights file nor a packaged model "
            f"({', '.join(packaged())}); give one of these"
        )
    return path


def model_name(path: Path) -> str:
    """What people call the model that `find_model` returns: its file, its run or `hub.SYNTAX`."""
    if name := hub.cached_name(path):
        return name
    return path.resolve().stem if is_weights(path) else run_folder(path).resolve().name


def digest(path: Path) -> str:
    """A text that differs when the weights of what `find_model` returns differ."""
    if is_weights(path):
        files = [path]
    else:
        folder = run_folder(path) / "checkpoints"
        steps = sorted(int(step.name) for step in folder.glob("*") if step.name.isdecimal())
        if path.name.isdecimal() and path.parent == folder:
            steps = [int(path.name)]
        elif path.name != "best":  # the best one depends on all
            steps = steps[-1:]
        # The sums of a checkpoint's files, written by `runs.checkpoint`.
        files = [folder / str(step) / "sha256.json" for step in steps]
    found = hashlib.sha256()
    for file in files:
        found.update(file.read_bytes() if file.is_file() else str(file).encode())
    return found.hexdigest()[:16]


def is_weights(path: Path) -> bool:
    return os.path.isfile(path) or path.suffix == SUFFIX


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a weights file: format, config, step and card.

    Raises:
      InputError: it does not exist, or `weights.export_weights` did not write it.
    """
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; check the path") from error
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path} is not a safetensors file ({error}); give a run or what `colorjax export` "
            "wrote"
        ) from error
    if not metadata.get("format", "").startswith("colorjax ") or "card" not in metadata:
        raise InputError(f"{path} is not from colorjax; give what `colorjax export` wrote")
    return metadata


def read_model_config(path: Path) -> dict[str, Any]:
    """The config of what `find_model` returns. Raises InputError if it is corrupt."""
    if not is_weights(path):
        return read_config(run_folder(path))
    try:
        config = json.loads(read_metadata(path)["config"])
    except (KeyError, ValueError) as error:
        raise InputError(f"{path} is corrupt ({error}); export or copy it again") from error
    return config if isinstance(config, dict) else {}


def abilities(path: Path) -> list[str]:
    """What the model that `find_model` returns supports besides colouring: DISTRIBUTION, HINTS."""
    config = read_model_config(path)

    def is_positive(value: Any) -> bool:
        return isinstance(value, (int, float)) and value > 0

    return [key for key in (DISTRIBUTION, HINTS) if is_positive(config.get(key))]


def run_folder(path: Path) -> Path:
    """The folder of a run, given RUN, RUN/checkpoints/STEP or RUN/checkpoints/best."""
    named = path.parent.name == "checkpoints" and (path.name == "best" or path.name.isdecimal())
    return path.parent.parent if named and not (path / "config.json").exists() else path


def read_config(path: Path) -> dict[str, Any]:
    """The config.json of a run. Raises InputError if it is missing or corrupt."""
    file = path / "config.json"
    if not path.is_dir():
        raise InputError(f"{path} is not a run: the folder does not exist; give a run's --workdir")
    try:
        config = json.loads(file.read_text())
    except FileNotFoundError as error:
        raise InputError(f"{path} is not a run: it has no config.json; give a --workdir") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{file} is corrupt ({error}); restore it from a copy") from error
    if not isinstance(config, dict):
        raise InputError(f"{file} is corrupt (it holds no object); restore it from a copy")
    return config
