"""Finished (or still growing) runs, opened for evaluation."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from colorjax.parallel import devices
from colorjax.terminal.errors import InputError
from colorjax.models import build_generator
from colorjax.models.variables import Variables
from colorjax.models.variables import Predictor, model_predictor
from colorjax.runs.workdir import best_step, read_rows

# In a GAN's folder: the scores of its generator before the adversarial phase, and of that scaled.
BEFORE = "regression.npz"
# What a model was that was trained before the key existed.
MODEL_DEFAULTS = {"width": 1.0, "dtype": "float32", "skip_connections": True}


class TrainedModel(NamedTuple):
    """A run as an evaluation needs it.

    Attributes:
      name: in tables and pictures.
      path: its folder, or the file of its weights.
      config: what config.json holds.
      image_size: side of the images that the model knows, in pixels: half that of the config if
        the checkpoint is from when images were seen at half the size.
      predict: see `steps.Predictor`.
      variables: the averaged generator's, replicated.
      step: of the checkpoint.
      rows: of metrics.jsonl.
    """

    name: str
    path: Path
    config: dict[str, Any]
    image_size: int
    predict: Predictor
    variables: Variables
    step: int | None
    rows: list[dict[str, Any]]

    @property
    def is_regression(self) -> bool:
        """Whether it was trained without a discriminator."""
        return "gan" not in self.config


def load_run(path: Path, name: str) -> TrainedModel:
    """Opens a checkpoint of a run.

    Of its config only the model and the sizes of its images are needed, so that a run stays usable
    when keys come and go.

    Args:
      path: see `located`.
      name: in tables and pictures.

    Raises:
      InputError: there is no run, it saved nothing yet, or its files do not fit together.
    """
    from colorjax.runs import checkpoint  # orbax takes long to import; weights in a file need none

    path, step = located(path)
    config = read_config(path)
    # Before the weights are read: the run may be growing.
    step = checkpoint.newest_step(path) if step is None else step
    try:
        generator = build_generator(ConfigDict({**MODEL_DEFAULTS, **config["model"]}))
        size = size_after(config, step or 0)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"{path / 'config.json'} does not say which model it is of ({error}); give a folder "
            "that colorjax trained in"
        ) from error
    shapes = jax.eval_shape(generator.init, jax.random.key(0), jnp.zeros((1, size, size, 1)))
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=devices.replicated()),
        {"batch_stats": {}, **shapes},
    )
    variables = checkpoint.restore_generator(path, like, step)
    return TrainedModel(
        name=name,
        path=path,
        config=config,
        image_size=size,
        predict=model_predictor(generator),
        variables=variables,
        step=step,
        rows=read_rows(path / "metrics.jsonl"),
    )


def size_after(config: Mapping[str, Any], steps: int) -> int:
    """The side of the images, in pixels, that a run's model knows after so many updates."""
    # What it starts from counts as what the first update sees.
    is_half = max(steps, 1) <= config.get("half_size_steps", 0)
    return int(config["image_size"]) // (2 if is_half else 1)


def folder(path: Path) -> Path:
    """A run's folder, of that or of RUN/checkpoints/STEP or …/best: see `located`."""
    named = path.parent.name == "checkpoints" and (path.name == "best" or path.name.isdecimal())
    return path.parent.parent if named and not (path / "config.json").exists() else path


def located(path: Path) -> tuple[Path, int | None]:
    """A run's folder, and the step of the checkpoint that is meant; None for the newest.

    Args:
      path: RUN, RUN/checkpoints/STEP, or RUN/checkpoints/best for the one whose validation metric
        `config.best_checkpoint` is the lowest.

    Raises:
      InputError: of no checkpoint that is there the metric is known.
    """
    from colorjax.runs import checkpoint  # orbax takes long to import

    workdir = folder(path)
    if workdir == path:
        return path, None
    if path.name != "best":
        return workdir, int(path.name)
    metric = read_config(workdir).get("best_checkpoint", "")
    rows, steps = read_rows(workdir / "metrics.jsonl"), checkpoint.saved_steps(path.parent)
    step = best_step(rows, steps, metric)
    if step is None:
        raise InputError(
            f"{workdir}: of no checkpoint there is the validation metric {metric!r} "
            f"(config.best_checkpoint); give one of {path.parent}"
        )
    return workdir, step


def read_config(path: Path) -> dict[str, Any]:
    """The config.json of a run. Raises InputError if there is none, or a damaged one."""
    file = path / "config.json"
    if not path.is_dir():
        raise InputError(f"{path} is no run: there is no such folder; give a run's --workdir")
    try:
        config = json.loads(file.read_text())
    except FileNotFoundError as error:
        raise InputError(f"{path} is no run: it has no config.json; give a --workdir") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{file} is damaged ({error}); copy it from where it is whole") from error
    if not isinstance(config, dict):
        raise InputError(f"{file} is damaged (it holds no object); copy it from where it is whole")
    return config


def run_names(paths: Sequence[Path], taken: Sequence[str]) -> list[str]:
    """Names of runs for tables: as short as tells them apart.

    A folder `gan-procedural_faces`, as runs are called by default, gives `gan`, unless another one
    does too: then the folder's name, or the whole path. A checkpoint of it gives `gan 400`.

    Args:
      paths: of the runs.
      taken: names that mean something else.

    Raises:
      InputError: a run is given twice.
    """
    resolved = [path.resolve() for path in paths]
    for path in resolved:
        if resolved.count(path) > 1:
            raise InputError(f"{path} is given twice; give each run once")
    choices = [
        [_short(path, shorten=True) for path in resolved],
        [_short(path, shorten=False) for path in resolved],
        [str(path) for path in resolved],
    ]
    for names in choices:
        if len({*names, *taken}) == len(names) + len(taken):
            return names
    return choices[-1]


def _short(path: Path, shorten: bool) -> str:
    """A run's folder, shortened by the name of its data set, and the checkpoint if one is given."""
    name = folder(path).name
    if shorten and (folder(path) / "config.json").exists():
        dataset = read_config(folder(path)).get("dataset", {}).get("name", "")
        name = name.removesuffix(f"-{dataset}")
    return name if folder(path) == path else f"{name} {path.name}"
