"""Generators as files: exported from runs, loaded without a checkpoint library or foreign code."""

import importlib.resources
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

import colorjax
from colorjax.parallel import devices
from colorjax.terminal.errors import InputError
from colorjax.files import replaced
from colorjax.models import build_generator
from colorjax.runs.trained_model import MODEL_DEFAULTS, TrainedModel, folder, load_run
from colorjax.models.variables import check_like
from colorjax.models.variables import model_predictor

SUFFIX = ".safetensors"
# Of the models in it the one that is used where none is named.
DEFAULT_MODEL = "faces"
DTYPES = ("float16", "float32")
# What of a config says what the model is and how it was trained; paths stay out.
_PRIVATE = {"path", "validation_path", "cache_dir", "init_from", "encoder_weights", "command"}


def export_weights(run: TrainedModel, path: Path, card: str, dtype: str = "float16") -> None:
    """Writes the averaged generator of a run with its config and a model card.

    BatchNorm's statistics stay float32: variances may be smaller than half precision holds.

    Args:
      run: see `runs.load_run`.
      path: where to; ends in .safetensors.
      card: Markdown.
      dtype: of the parameters, one of DTYPES.

    Raises:
      InputError: another suffix or dtype, a parameter too large for it, or the file cannot be
        written.
    """
    if path.suffix != SUFFIX:
        raise InputError(f"{path} shall be a {SUFFIX} file; give it that ending")
    if dtype not in DTYPES:
        raise InputError(f"{dtype!r} is no type for weights; known are {', '.join(DTYPES)}")
    arrays = {}
    for name, value in flatten_dict(jax.device_get(run.variables), sep="/").items():
        kind = dtype if name.startswith("params/") else "float32"
        with np.errstate(over="ignore"):
            arrays[name] = np.asarray(value).astype(kind)
        if not np.isfinite(arrays[name]).all():
            raise InputError(f"{name} has values that {kind} cannot hold; try --dtype float32")
    metadata = {
        "format": "colorjax 1",
        "version": colorjax.__version__,
        "config": json.dumps({**_public(run.config), "image_size": run.image_size}),
        "step": str(run.step),
        "card": card,
    }
    try:
        with replaced(path) as beside:
            save_file(arrays, beside, metadata)
    except OSError as error:
        raise InputError(f"cannot write {path} ({error}); choose another --output") from error


def interpolate(run: TrainedModel, other: TrainedModel, share: float) -> TrainedModel:
    """A network between two: network interpolation (Wang et al. 2018, arXiv:1809.00219).

    Parameters and statistics are averaged, which works where one of the two was started from the
    other, as a GAN from its regression: between them lies what is more colourful than the one and
    errs less than the other.

    Args:
      run: see `runs.load_run`.
      other: of the same model.
      share: of the run, in [0, 1]; the rest is the other's.

    Raises:
      InputError: the models differ; the first parameter that does is named.
    """
    for kind in ("params", "batch_stats"):
        check_like(other.variables[kind], run.variables[kind], str(other.path))
    variables = jax.tree.map(
        lambda x, y: share * x + (1.0 - share) * y, run.variables, other.variables
    )
    config = {**run.config, "interpolated": {"share": share, "with": other.name}}
    return run._replace(variables=variables, config=config)


def _public(config: Any) -> Any:
    if not isinstance(config, dict):
        return config
    return {key: _public(value) for key, value in config.items() if key not in _PRIVATE}


def model_card(run: TrainedModel, addition: Path | None = None) -> str:
    """A model card in Markdown: what the run says of its model, data, lengths and metrics.

    Args:
      run: of a folder; its report's metrics are taken if they are of the same network.
      addition: Markdown to go below the title.

    Raises:
      InputError: the addition cannot be read.
    """
    config = run.config
    model, size = config["model"], run.image_size
    table = run.path / "report" / "results.md"
    lines = [
        f"# {model['name']}, width {model['width']:g}: colours grey faces",
        "",
        f"- input: lightness L of {size}×{size} pixels; output: a*b*",
        f"- trained by colorjax on `{config.get('data')}`: {run.step} of {config.get('num_steps')} "
        f"steps of {config.get('batch_size')} images, loss {config.get('loss')}"
        + (f", adversarial loss {config['gan']['loss']}" if "gan" in config else ""),
    ]
    if "interpolated" in config:
        share, other = config["interpolated"]["share"], config["interpolated"]["with"]
        lines.append(f"- interpolated: {share:g} of that network, {1 - share:g} of `{other}`")
    try:
        added = [] if addition is None else [addition.read_text()]
        report = table.read_text() if table.exists() else ""
    except OSError as error:
        raise InputError(f"cannot read the card ({error})") from error
    # The first line names the run and its step.
    reported = f" (step {run.step})" in report.partition(",")[0] and "interpolated" not in config
    texts = [*added, *([report] if reported else [])]
    # The commands at the end of a report name folders of whoever trained it.
    texts = [text.split("\n```sh\n")[0].strip() for text in texts]
    return "\n".join([*lines, *(f"\n{text}" for text in texts)]) + "\n"


def load_weights(path: Path, name: str) -> TrainedModel:
    """Loads what `export_weights` wrote.

    Raises:
      InputError: it is no such file, or damaged.
    """
    metadata = read_metadata(path)
    try:
        config = json.loads(metadata["config"])
        generator = build_generator(ConfigDict({**MODEL_DEFAULTS, **config["model"]}))
        size = int(config["image_size"])
        with safe_open(path, "numpy") as file:
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        step = int(metadata["step"])
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise InputError(f"{path} is damaged ({error}); export or copy it anew") from error
    variables = {"batch_stats": {}, **unflatten_dict(arrays, sep="/")}
    like = jax.eval_shape(generator.init, jax.random.key(0), jnp.zeros((1, size, size, 1)))
    for kind in ("params", "batch_stats"):
        check_like(variables[kind], like.get(kind, {}), str(path))
    variables = jax.tree.map(lambda x: x.astype(np.float32), variables)
    return TrainedModel(
        path=path,
        name=name,
        config=config,
        image_size=size,
        predict=model_predictor(generator),
        variables=devices.replicate(variables),
        step=step,
        rows=[],
    )


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a file of weights: config, step, card, version.

    Raises:
      InputError: it is no such file.
    """
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; check the path") from error
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path} is no safetensors file ({error}); only these are read, and runs of colorjax"
        ) from error
    if not metadata.get("format", "").startswith("colorjax ") or "card" not in metadata:
        raise InputError(f"{path} is of another program; give what `colorjax export` wrote")
    return metadata


def packaged() -> dict[str, Path]:
    """The models that come with colorjax, by name."""
    folder = Path(str(importlib.resources.files("colorjax") / "assets/models"))
    return {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}"))}


def open_model(model: str) -> TrainedModel:
    """Opens a run's folder, a file of weights or a packaged model.

    Args:
      model: a path, or a name of `packaged()`.

    Raises:
      InputError: there is no such model, or it cannot be read.
    """
    if model in packaged():
        return load_weights(packaged()[model], model)
    path = Path(model).expanduser()
    if not folder(path).exists() and path.suffix != SUFFIX:
        raise InputError(
            f"{model!r} is neither a run nor a file of weights nor the name of a model: "
            f"{', '.join(packaged())}; give one with --model"
        )
    return open_path(path, path.resolve().stem)


def open_path(path: Path, name: str) -> TrainedModel:
    """Opens a run's folder or a file of weights. Raises InputError if it cannot be read."""
    return (
        load_weights(path, name)
        if path.is_file() or path.suffix == SUFFIX
        else load_run(path, name)
    )
