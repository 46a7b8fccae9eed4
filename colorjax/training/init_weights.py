"""Weights that a run starts from, where its config names some."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from colorjax.models.imagenet_weights import check_architecture, find_weights, load_encoder
from colorjax.models.layers import BIN_WEIGHTS, HINT_FILTER, HINTS, LOGITS
from colorjax.models.variables import Variables, check_like
from colorjax.parallel import processes
from colorjax.runs import checkpoint, hub
from colorjax.runs.model_paths import read_config, run_folder
from colorjax.runs.trained_model import describe_run, run_and_step
from colorjax.runs.weights import load_weights
from colorjax.terminal.errors import InputError

# Parts that a model may have and the one it is started from may lack.
NEW_PARTS = {HINTS, HINT_FILTER, LOGITS, BIN_WEIGHTS}

Flat = Mapping[tuple[str, ...], Any]


def check_weights(config: ConfigDict) -> None:
    """Raises InputError if what the config names does not exist. Reads no weights.

    The first process downloads those of the hub.
    """

    def find() -> None:
        if config.init_from:
            path = hub.local_path(config.init_from)
            if not path.is_file():
                workdir, step = run_and_step(path)
                checkpoint.find_checkpoint(workdir, step)
        elif config.model.encoder_weights:
            find_weights(_encoder_weights(config), config.model.name)

    processes.from_first(find)


def with_weights(
    config: ConfigDict, variables: Variables, bin_weights: np.ndarray | None
) -> Variables:
    """The initial variables of a generator, with what its config names.

    Args:
      config: of the run: `init_from`, the weights of a generator, or `model.encoder_weights`.
      variables: initial ones.
      bin_weights: see `color_bins.rebalancing`; replaces the initial ones, not loaded ones.

    Raises:
      InputError: the weights cannot be read or do not fit the model.
    """
    flat = flatten_dict(variables)
    if bin_weights is not None:
        flat |= {path: bin_weights for path in flat if path[-1] == BIN_WEIGHTS}
    if config.init_from:
        path = processes.from_first(lambda: str(hub.local_path(config.init_from)))
        flat = _generator(Path(path), flat)
    elif config.model.encoder_weights:
        template = {kind: tree["encoder"] for kind, tree in variables.items() if "encoder" in tree}
        encoder = processes.read_by_first(
            lambda: load_encoder(_encoder_weights(config), template, config.model.name), template
        )
        flat |= {(kind, "encoder", *path): x for (kind, *path), x in flatten_dict(encoder).items()}
    return unflatten_dict(flat)


def _encoder_weights(config: ConfigDict) -> str:
    """`model.encoder_weights`; for those of the hub the path of the file."""
    check_architecture(config.model.name)  # before anything is downloaded
    weights = config.model.encoder_weights
    return str(hub.fetch(weights)) if hub.is_name(weights) else weights


def _generator(path: Path, flat: Flat) -> Flat:
    """The weights of a run or a file; parts that are new are those of `flat`."""
    if processes.from_first(path.is_file):
        return processes.read_by_first(
            lambda: _complete(load_weights(path, path.stem).variables, flat, path), flat
        )
    workdir, step = run_folder(path), processes.from_first(lambda: run_and_step(path)[1])
    theirs = processes.from_first(lambda: read_config(workdir))
    _, _, shapes = describe_run(workdir, theirs)
    return _complete(checkpoint.restore_generator(workdir, shapes, step), flat, workdir)


def _complete(variables: Variables, flat: Flat, source: Path) -> Flat:
    found = flatten_dict(jax.device_get(variables))
    new = {path: x for path, x in flat.items() if path not in found and NEW_PARTS & set(path)}
    for part, key in {HINTS: "hints", LOGITS: "distribution"}.items():
        if any(part in path and path not in flat for path in found):
            raise InputError(f"{source} was trained with config.{key} above 0; set it here too")
    found |= new
    check_like(unflatten_dict(found), unflatten_dict(flat), str(source))
    return found
