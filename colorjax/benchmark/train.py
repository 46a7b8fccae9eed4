"""How fast the models train here, beside PyTorch's: a process each, in turns."""

import contextlib
import importlib
import importlib.metadata
import importlib.util
import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from colorjax.benchmark.remote import Remote
from colorjax.benchmark.workers import Device, Trainer
from colorjax.terminal.errors import EndedError, InputError

Row = Mapping[str, Any]

# By the names of the models, the configs that train them.
MODELS = {"encoder_decoder": "cnn", "resnet": "resnet", "gan": "gan"}
# Where nothing else is said; on a CPU the size and batch of its short recipe.
CPU = {"dtype": "float32", "batch_size": 16, "image_size": 64, "steps": 4, "rounds": 5}
ACCELERATOR = {"dtype": "bfloat16", "batch_size": 256, "image_size": 128, "steps": 30, "rounds": 5}
OURS = "colorjax"


def measure(
    *, models: Sequence[str], width: float, pytorch: bool, path: str, **wanted: Any
) -> tuple[list[Row], Row]:
    """Measures one model after the other.

    Args:
      models: of MODELS.
      width: of all networks, see config.model.width.
      pytorch: whether PyTorch takes turns with ours, eager and compiled.
      path: images to train from, see config.dataset.path; empty for procedural_faces.
      **wanted: in place of CPU or ACCELERATOR, where not None.

    Returns:
      Rows of three tables (training; from files and inference; Lab), and the circumstances.

    Raises:
      InputError: PyTorch or the configs are not there, or numbers that cannot work.
      EndedError: it does not fit into memory, or the like.
    """
    if pytorch and not importlib.util.find_spec("torch"):
        raise InputError("--against pytorch needs PyTorch; pip install torch")
    # Several processes share a GPU: each takes what it needs when it needs it.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    with Remote(Device) as device, tempfile.TemporaryDirectory() as folder:
        about = device.call("about")
        defaults = CPU if about["backend"] == "cpu" else ACCELERATOR
        chosen = {
            key: default if wanted[key] is None else wanted[key]
            for key, default in defaults.items()
        }
        training, others = [], []
        for model in models:
            config = _config(model, width, path, chosen)
            caches = Path(folder) / model
            rows, other = _measure_model(model, config, pytorch, caches, device, chosen)
            training += rows
            others.append(other)
        lab = device.call("lab", chosen["rounds"])
    about |= {**chosen, "width": width}
    return [*training, *others, *lab], about


def _config(model: str, width: float, path: str, chosen: Mapping[str, Any]) -> ConfigDict:
    """The recipe of full length, but for what was chosen."""
    try:
        module = importlib.import_module(f"configs.{MODELS[model]}")
    except ModuleNotFoundError as error:
        raise InputError("there are no configs here; run it in colorjax's own folder") from error
    config = module.get_config("image_folder")
    config.batch_size, config.image_size = chosen["batch_size"], chosen["image_size"]
    config.model.dtype, config.model.width = chosen["dtype"], width
    config.dataset.path = path
    config.dataset.name = "image_folder" if path else "procedural_faces"
    if "gan" in config:
        config.gan.width = width
    return config


def _measure_model(
    model: str,
    config: ConfigDict,
    pytorch: bool,
    caches: Path,
    device: Remote,
    chosen: Mapping[str, Any],
) -> tuple[list[Row], Row]:
    makers: dict[str, tuple[Any, ...]] = {OURS: (Trainer, config)}
    if pytorch:
        makers |= {
            "PyTorch": (torch_trainer, config, False),
            "PyTorch, torch.compile": (torch_trainer, config, True),
        }
    trainers, failures, cold = {}, {}, {}
    with contextlib.ExitStack() as stack:
        for number, (name, (make, *arguments)) in enumerate(makers.items()):
            cache = f"{caches}{number}"  # torch.compile cannot do with blanks in it
            try:
                with Remote(make, cache, *arguments) as first:
                    cold[name] = first.seconds
                trainers[name] = stack.enter_context(Remote(make, cache, *arguments))
            except EndedError as error:
                if name == OURS:
                    raise
                failures[name] = error
        seconds: dict[str, list[float]] = {name: [] for name in trainers}
        files, peaks = [], []
        for _ in range(chosen["rounds"]):
            for name, trainer in trainers.items():
                seconds[name].append(trainer.call("train", chosen["steps"]))
            files.append(trainers[OURS].call("train_from_files", chosen["steps"]))
            peaks.append(device.call("peak", config.model.dtype))
        ours = trainers[OURS]
        flops = ours.call("flops")
        rows: list[Row] = [
            _training_row(model, name, seconds[name], config.batch_size, flops, max(peaks))
            | {
                "MiB": trainer.call("peak_mib"),
                "first step, s": cold[name],
                "again": trainer.seconds,
                "parameters": trainer.call("parameters"),
            }
            for name, trainer in trainers.items()
        ]
        rows += [
            {**dict.fromkeys(rows[0], ""), "model": model, "by": f"{name}: {error}"}
            for name, error in failures.items()
        ]
        latency, throughput = (ours.call("predict", count) for count in (1, 64))
    kept, read = statistics.median(seconds[OURS]), statistics.median(files)
    other = {
        "model": model,
        "images/s, one batch kept": config.batch_size / kept,
        "from files": config.batch_size / read,
        "share": kept / read,
        "inference of 1: ms": 1e3 * latency,
        "of 64: images/s": 64 / throughput,
    }
    return rows, other


def _training_row(
    model: str, name: str, seconds: Sequence[float], batch_size: int, flops: int, peak: float
) -> dict[str, Any]:
    median = statistics.median(seconds)
    return {
        "model": model,
        "by": name,
        "images/s": batch_size / median,
        "ms a step": 1e3 * median,
        "least": 1e3 * min(seconds),
        "most": 1e3 * max(seconds),
        "GFLOP a step": flops / 1e9,
        "GFLOP/s": flops / median / 1e9,
        "of peak": flops / median / peak,
    }


def torch_trainer(cache: str, config: ConfigDict, compiled: bool) -> Any:
    """PyTorch's training, its first step done. See `torch_steps.TorchTimed`."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
    from colorjax.benchmark.torch_steps import TorchTimed

    return TorchTimed(config, compiled)
