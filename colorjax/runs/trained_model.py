"""Runs, finished or still training, opened for prediction."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from colorjax.models import build_generator
from colorjax.models.variables import Predictor, Variables, model_predictor
from colorjax.parallel import devices
from colorjax.runs import hub
from colorjax.runs.model_paths import read_config, run_folder
from colorjax.runs.workdir import best_step, read_rows
from colorjax.terminal.errors import InputError


class TrainedModel(NamedTuple):
    """A trained generator, from a run or from a weights file.

    Attributes:
      name: in tables and pictures.
      path: the folder of the run, or the weights file.
      config: of the run, as nested dicts.
      image_size: side of the images that the model was trained on, in pixels.
      generator: the network, see `models.build_generator`.
      temperature: of its answer, see `answers.answer`.
      variables: of the averaged generator, replicated.
      step: number of updates.
      rows: of metrics.jsonl; [] for a weights file.
    """

    name: str
    path: Path
    config: dict[str, Any]
    image_size: int
    generator: nn.Module
    temperature: float
    variables: Variables
    step: int | None
    rows: list[dict[str, Any]]

    @property
    def predict(self) -> Predictor:
        """See `models.variables.Predictor`."""
        return model_predictor(self.generator, self.temperature)

    @property
    def is_regression(self) -> bool:
        """Whether it was trained without a discriminator."""
        return "gan" not in self.config


def load_run(path: Path, name: str) -> TrainedModel:
    """Opens a checkpoint of a run.

    Only the keys that describe the model and its answers are read from its config, so a run stays
    usable when others change.

    Args:
      path: see `run_and_step`.
      name: in tables and pictures.

    Raises:
      InputError: there is no run or no checkpoint, or its files are corrupt.
    """
    from colorjax.runs import checkpoint  # imports orbax, which weights files do not need

    path, step = run_and_step(path)
    config = read_config(path)
    step = checkpoint.newest_step(path) if step is None else step
    generator, size, shapes = describe_run(path, config)
    return TrainedModel(
        name=name,
        path=path,
        config=config,
        image_size=size,
        generator=generator,
        temperature=config.get("temperature", 0.0),
        variables=checkpoint.restore_generator(path, shapes, step),
        step=step,
        rows=read_rows(path / "metrics.jsonl"),
    )


def describe_run(path: Path, config: Mapping[str, Any]) -> tuple[nn.Module, int, Variables]:
    """`describe_model` of the run in a folder. Raises InputError if its config has no model."""
    try:
        return describe_model(config)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"{path / 'config.json'} does not describe a model ({error}); give a folder that "
            "colorjax trained in"
        ) from error


def describe_model(config: Mapping[str, Any]) -> tuple[nn.Module, int, Variables]:
    """The generator of a run's config in float32, its image size, and its variables.

    Of the variables there are shapes and types, replicated over the devices.
    """
    generator = build_generator(ConfigDict(config), dtype="float32")
    size = int(config["image_size"])
    shapes = jax.eval_shape(generator.init, jax.random.key(0), jnp.zeros((1, size, size, 1)))
    variables = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=devices.replicated()), shapes
    )
    return generator, size, variables


def run_and_step(path: Path) -> tuple[Path, int | None]:
    """The folder of a run and the step of one of its checkpoints; None for the newest.

    Args:
      path: RUN, RUN/checkpoints/STEP, or RUN/checkpoints/best for the checkpoint with the lowest
        validation metric `config.best_checkpoint`.

    Raises:
      InputError: no checkpoint has the metric.
    """
    from colorjax.runs import checkpoint

    workdir = run_folder(path)
    if workdir == path:
        return path, None
    if path.name != "best":
        return workdir, int(path.name)
    metric = read_config(workdir).get("best_checkpoint", "")
    rows, steps = read_rows(workdir / "metrics.jsonl"), checkpoint.saved_steps(path.parent)
    step = best_step(rows, steps, metric)
    if step is None:
        raise InputError(
            f"{workdir}: no checkpoint has the validation metric {metric!r} "
            f"(config.best_checkpoint); give one of {path.parent}"
        )
    return workdir, step


def run_names(paths: Sequence[Path], taken: Sequence[str]) -> list[str]:
    """The shortest names that tell runs apart in tables.

    A folder `gan-procedural_faces`, the default of that run, becomes `gan`; if two runs would share
    a name, all are called by folder or by path. A checkpoint adds its step: `gan 400`.

    Args:
      paths: of the runs.
      taken: names that mean something else.

    Raises:
      InputError: a run is given twice.
    """
    resolved = [path if hub.cached_name(path) else path.resolve() for path in paths]
    for path in resolved:
        if resolved.count(path) > 1:
            raise InputError(f"{path} is given twice; give each run once")
    for names in (
        [_short_name(path, without_dataset=True) for path in resolved],
        [_short_name(path, without_dataset=False) for path in resolved],
    ):
        if len({*names, *taken}) == len(names) + len(taken):
            return names
    return [str(path) for path in resolved]


def _short_name(path: Path, without_dataset: bool) -> str:
    folder = run_folder(path)
    name = hub.cached_name(path) or folder.name
    if without_dataset and (folder / "config.json").exists():
        dataset = read_config(folder).get("dataset", {}).get("name", "")
        name = name.removesuffix(f"-{dataset}")
    return name if folder == path else f"{name} {path.name}"
