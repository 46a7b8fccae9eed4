"""Generators as safetensors files, which hold no code and need no checkpoint library."""

import json
from pathlib import Path

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from colorjax.files import replaced
from colorjax.models.variables import check_like
from colorjax.parallel import devices
from colorjax.runs.config_keys import without_private
from colorjax.runs.model_paths import find_model, is_weights, model_name, read_metadata
from colorjax.runs.trained_model import TrainedModel, describe_model, load_run
from colorjax.terminal.errors import InputError


def export_weights(run: TrainedModel, path: Path, card: str, dtype: str = "float16") -> None:
    """Writes an averaged generator with its config and a model card to a file.

    BatchNorm's statistics stay float32: variances may be too small for half precision.

    Args:
      run: the model.
      path: of the file, usually ending in .safetensors.
      card: Markdown.
      dtype: of the parameters, float16 or float32.

    Raises:
      InputError: a parameter is too large for the dtype.
      OSError: the file cannot be written.
    """
    arrays = {}
    for name, value in flatten_dict(jax.device_get(run.variables), sep="/").items():
        kind = dtype if name.startswith("params/") else "float32"
        with np.errstate(over="ignore"):
            arrays[name] = np.asarray(value, kind)
        if not np.isfinite(arrays[name]).all():
            raise InputError(f"{name} has values that {kind} cannot hold; try --dtype float32")
    metadata = {
        "format": "colorjax 1",
        "config": public_config(run),
        "step": str(run.step),
        "card": card,
    }
    with replaced(path) as part:
        # Not `save_file`, whose files only their owner can read.
        part.write_bytes(save(arrays, metadata))


def public_config(run: TrainedModel) -> str:
    """The config of a model as JSON, without the keys that name paths or commands."""
    # Weights are used in float32, whatever they were trained in.
    changes = {"image_size": run.image_size, "model": {**run.config["model"], "dtype": "float32"}}
    return json.dumps(without_private({**run.config, **changes}))


def interpolate(run: TrainedModel, other: TrainedModel, share: float) -> TrainedModel:
    """Network interpolation (Wang et al. 2018, arXiv:1809.00219): averages two models.

    It works if one of the two was started from the other, as a GAN is from its regression. The
    result is then more colourful than the regression and has a smaller error than the GAN.

    Args:
      run: the model that keeps its config.
      other: of the same architecture.
      share: weight of `run`'s parameters and statistics, in [0, 1]; the other's is 1 - share.

    Raises:
      InputError: the architectures differ; the first parameter that does is named.
    """
    check_like(other.variables, run.variables, str(other.path))
    variables = jax.tree.map(
        lambda x, y: share * x + (1.0 - share) * y, run.variables, other.variables
    )
    config = {**run.config, "interpolated": {"share": share, "with": other.name}}
    return run._replace(variables=variables, config=config)


def load_weights(path: Path, name: str) -> TrainedModel:
    """Loads a file that `export_weights` wrote.

    Raises:
      InputError: it is not such a file, or it is corrupt.
    """
    metadata = read_metadata(path)
    try:
        config, step = json.loads(metadata["config"]), int(metadata["step"])
        generator, size, shapes = describe_model(config)
        arrays = load_file(path)
    except (KeyError, TypeError, AttributeError, ValueError, SafetensorError) as error:
        raise InputError(f"{path} is corrupt ({error}); export or copy it again") from error
    variables = unflatten_dict(arrays, sep="/")
    check_like(variables, shapes, str(path))
    return TrainedModel(
        path=path,
        name=name,
        config=config,
        image_size=size,
        generator=generator,
        temperature=config.get("temperature", 0.0),
        variables=devices.replicate(jax.tree.map(lambda x: x.astype(np.float32), variables)),
        step=step,
        rows=[],
    )


def open_model(model: str | Path) -> TrainedModel:
    """Opens a run, its checkpoint or a weights file by its path, or a model by its name.

    Args:
      model: see `model_paths.find_model`: the name of a packaged model, `hub.SYNTAX`, or a path. A
        Path is never a name.

    Raises:
      InputError: there is no such model, or it cannot be read.
    """
    path = find_model(model)
    return open_path(path, model_name(path))


def open_path(path: Path, name: str) -> TrainedModel:
    """Opens a run or a weights file. Raises InputError if it cannot be read."""
    return load_weights(path, name) if is_weights(path) else load_run(path, name)
