"""Training speed of the models, in turns with PyTorch's, each in a process of its own."""

import contextlib
import importlib
import importlib.util
import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from colorjax.benchmark.remote import Remote
from colorjax.benchmark.workers import Device, Trainer
from colorjax.terminal.errors import EndedError, InputError

Row = Mapping[str, Any]

# The configs that train the models.
CONFIGS = {"encoder_decoder": "cnn", "resnet": "resnet", "gan": "gan"}
# Defaults; on a CPU the size and batch of the short recipe.
CPU = {"dtype": "float32", "batch_size": 16, "image_size": 64, "steps": 4, "rounds": 5}
ACCELERATOR = {"dtype": "bfloat16", "batch_size": 256, "image_size": 128, "steps": 30, "rounds": 5}
OURS = "colorjax"


def measure(
    *, model: str | None, against: str | None, path: str, width: float, **wanted: Any
) -> tuple[list[Row], Row]:
    """Measures one model after the other.

    Args:
      model: a key of CONFIGS; by default all.
      against: "pytorch" to measure PyTorch in turns with colorjax, eager and compiled.
      path: images to train on, see config.dataset.path; empty for procedural_faces.
      width: of all networks, see config.model.width.
      **wanted: values for the keys of CPU and ACCELERATOR, or None.

    Returns:
      Rows of two tables (training; from files and inference), and the conditions.

    Raises:
      InputError: PyTorch or the configs are not there, or numbers are not valid.
      EndedError: a process failed, for example for lack of memory.
    """
    if against and not importlib.util.find_spec("torch"):
        raise InputError("--against pytorch needs PyTorch; pip install torch")
    # Several processes share a GPU.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    with Remote(Device) as device, tempfile.TemporaryDirectory() as folder:
        about = device.call("about")
        defaults = CPU if about["backend"] == "cpu" else ACCELERATOR
        chosen = {
            key: default if wanted[key] is None else wanted[key]
            for key, default in defaults.items()
        }
        training, others = [], []
        for name in [model] if model else CONFIGS:
            config = _config(name, width, path, chosen)
            cache = f"{folder}/{name}"
            rows, other = _measure_model(name, config, bool(against), cache, device, chosen)
            training += rows
            others.append(other)
    return [*training, *others], about | {**chosen, "width": width}


def _config(model: str, width: float, path: str, chosen: Row) -> ConfigDict:
    """The full-length recipe with the values chosen."""
    try:
        module = importlib.import_module(f"configs.{CONFIGS[model]}")
    except ModuleNotFoundError as error:
        raise InputError("there are no configs here; run this in colorjax's folder") from error
    config = module.get_config("image_folder")
    config.batch_size, config.image_size = chosen["batch_size"], chosen["image_size"]
    config.model.dtype, config.model.width = chosen["dtype"], width
    config.dataset.path = path
    config.dataset.name = "image_folder" if path else "procedural_faces"
    if "gan" in config:
        config.gan.width = width
    return config


def _measure_model(
    model: str, config: ConfigDict, pytorch: bool, cache: str, device: Remote, chosen: Row
) -> tuple[list[Row], Row]:
    makers: dict[str, tuple[Any, ...]] = {OURS: (Trainer, config)}
    if pytorch:
        makers["PyTorch"] = torch_trainer, config, False
        makers["PyTorch, torch.compile"] = torch_trainer, config, True
    trainers, failures, cold = {}, {}, {}
    with contextlib.ExitStack() as stack:
        for number, (name, (make, *arguments)) in enumerate(makers.items()):
            own = f"{cache}{number}"  # torch.compile does not support spaces in it
            try:
                with Remote(make, own, *arguments) as first:
                    cold[name] = first.seconds
                trainers[name] = stack.enter_context(Remote(make, own, *arguments))
            except EndedError as error:
                if name == OURS:
                    raise
                failures[name] = error
        ours, steps = trainers[OURS], chosen["steps"]
        seconds: dict[str, list[float]] = {name: [] for name in trainers}
        files, peaks = [], []
        for _ in range(chosen["rounds"]):
            for name, trainer in trainers.items():
                seconds[name].append(trainer.call("train", steps))
            files.append(ours.call("train_from_files", steps))
            peaks.append(device.call("peak", config.model.dtype))
        flops = ours.call("flops")
        rows: list[Row] = [
            {
                "model": model,
                "by": name,
                **_speed(seconds[name], config.batch_size, flops, max(peaks)),
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


def _speed(seconds: Sequence[float], batch_size: int, flops: int, peak: float) -> Row:
    median = statistics.median(seconds)
    return {
        "images/s": batch_size / median,
        "ms per step": 1e3 * median,
        "least": 1e3 * min(seconds),
        "most": 1e3 * max(seconds),
        "GFLOP per step": flops / 1e9,
        "GFLOP/s": flops / median / 1e9,
        "of peak": flops / median / peak,
    }


def torch_trainer(cache: str, config: ConfigDict, compiled: bool) -> Any:
    """PyTorch's `Trainer`, after its first step."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
    from colorjax.benchmark.torch_steps import TorchTimed

    return TorchTimed(config, compiled)
