"""Training speed of the models, in turns with PyTorch's, each in a process of its own."""

import contextlib
import importlib
import importlib.util
import os
import shutil
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

from ml_collections import ConfigDict

from colorjax.benchmark.remote import Remote
from colorjax.benchmark.workers import Device, Trainer
from colorjax.damage import DAMAGES
from colorjax.models import backend_kernels, kernels, layers
from colorjax.terminal.errors import EndedError, InputError

Row = Mapping[str, Any]

# The configs that train the models.
CONFIGS = {"encoder_decoder": "cnn", "resnet": "resnet", "gan": "gan"}
# Defaults; on a CPU the size and batch of the short recipe.
CPU: Row = {"dtype": ["float32"], "batch_size": [16], "image_size": [64], "steps": 4, "rounds": 5}
ACCELERATOR: Row = {
    "dtype": ["bfloat16"],
    "batch_size": [256],
    "image_size": [128],
    "steps": 30,
    "rounds": 5,
}
COMPARED: Row = {"dtype": ["float32", "bfloat16"], "image_size": [64, 128]}
OURS = "colorjax"


def measure(
    *,
    model: str | None,
    against: str | None,
    path: str,
    width: float,
    output_stride: Sequence[int],
    four_phases: bool,
    **wanted: Any,
) -> tuple[list[Row], Row]:
    """Measures one model after the other.

    Args:
      model: a key of CONFIGS; by default all.
      against: "pytorch" to measure PyTorch in turns with colorjax, eager and compiled; on a CPU
        then by default in float32 and bfloat16, and at 64×64 and 128×128.
      path: images to train on, see config.dataset.path; empty for procedural_faces.
      width: of all networks, see config.model.width.
      output_stride: see config.model.output_stride; all of them are measured in turns.
      four_phases: whether colorjax is also measured with plain layers and `kernels.deconvolve`.
      **wanted: values for the keys of CPU and ACCELERATOR, or None. `dtype`,
        `batch_size` and `image_size` are lists: the dtypes are measured in turns, the others one
        after the other.

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
        defaults = ACCELERATOR
        if about["backend"] == "cpu":
            defaults = {**CPU, **COMPARED} if against else CPU
        chosen: dict[str, Any] = {
            key: default if wanted[key] is None else wanted[key]
            for key, default in defaults.items()
        }
        if against and not _can_compile():
            about["torch.compile"] = "not measured: there is no C++ compiler (g++ or clang++)"
        training, others = [], []
        for name in [model] if model else CONFIGS:
            for batch, size in product(chosen["batch_size"], chosen["image_size"]):
                configs = [
                    _config(name, width, path, batch, size, dtype, stride)
                    for dtype, stride in product(chosen["dtype"], output_stride)
                ]
                makers = _makers(configs, bool(against), four_phases)
                cache = f"{folder}/{name}{batch}x{size}"
                rows, other = _measure_model(name, makers, cache, device, chosen)
                training += rows
                others += other
    about |= {**chosen, "width": width, "output_stride": list(output_stride)}
    return [*training, *others], about


def _can_compile() -> bool:
    """Whether torch.compile finds what it needs: a GPU's Triton, or a C++ compiler."""
    compilers = os.environ.get("CXX"), "g++", "clang++"
    return any(shutil.which(name) for name in compilers if name)


def _makers(
    configs: Sequence[ConfigDict], pytorch: bool, four_phases: bool
) -> dict[str, tuple[Any, ...]]:
    """What is measured in turns, by its name in the table: (function, config, arguments)."""
    makers: dict[str, tuple[Any, ...]] = {}
    for config in configs:
        suffix = f", {config.model.dtype}"
        if config.model.output_stride != 1:
            suffix += f", output_stride {config.model.output_stride}"
        makers[f"{OURS}{suffix}"] = Trainer, config
        if four_phases:
            makers[f"{OURS}, four phases{suffix}"] = four_phase_trainer, config
        if pytorch:
            makers[f"PyTorch{suffix}"] = torch_trainer, config, False
            if _can_compile():
                makers[f"PyTorch, torch.compile{suffix}"] = torch_trainer, config, True
    return makers


def _config(
    model: str,
    width: float,
    path: str,
    batch_size: int,
    image_size: int,
    dtype: str,
    output_stride: int,
) -> ConfigDict:
    """The full-length recipe with the values chosen, without damage, which PyTorch's has not."""
    try:
        module = importlib.import_module(f"configs.{CONFIGS[model]}")
    except ModuleNotFoundError as error:
        raise InputError("there are no configs here; run this in colorjax's folder") from error
    config = module.get_config("image_folder")
    config.batch_size, config.image_size = batch_size, image_size
    config.model.dtype, config.model.width = dtype, width
    config.model.output_stride = output_stride
    config.dataset.path = path
    config.dataset.name = "image_folder" if path else "procedural_faces"
    config.damage.update(dict.fromkeys(DAMAGES, 0.0))
    if "gan" in config:
        config.gan.width = width
    return config


def _measure_model(
    model: str, makers: Mapping[str, tuple[Any, ...]], cache: str, device: Remote, chosen: Row
) -> tuple[list[Row], list[Row]]:
    """Rows of the two tables for one model at one size."""
    trainers, failures, cold = {}, {}, {}
    with contextlib.ExitStack() as stack:
        for number, (name, (make, *arguments)) in enumerate(makers.items()):
            own = f"{cache}{number}"  # torch.compile does not support spaces in it
            try:
                with Remote(make, own, *arguments) as first:
                    cold[name] = first.seconds
                trainers[name] = stack.enter_context(Remote(make, own, *arguments))
            except EndedError as error:
                if make is not torch_trainer:
                    raise
                failures[name] = error
        steps, configs = chosen["steps"], {name: maker[1] for name, maker in makers.items()}
        ours = [name for name in trainers if makers[name][0] is not torch_trainer]
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in trainers}
        files: dict[str, list[float]] = {name: [] for name in ours}
        peaks: dict[str, list[float]] = {dtype: [] for dtype in chosen["dtype"]}
        for _ in range(chosen["rounds"]):
            for name, trainer in trainers.items():
                trainer.call("train", steps)  # the memory of who waits may be reclaimed
                times[name].append(trainer.call("train", steps))
            for name in ours:
                trainers[name].call("train", steps)
                files[name].append(trainers[name].call("train_from_files", steps))
            for dtype, found in peaks.items():
                found.append(device.call("peak", dtype))
        flops = {configs[name].model.output_stride: trainers[name].call("flops") for name in ours}
        rows: list[Row] = [
            {
                "model": model,
                "by": name,
                "batch": configs[name].batch_size,
                "size": configs[name].image_size,
                **_speed(
                    times[name],
                    configs[name].batch_size,
                    flops[configs[name].model.output_stride],
                    max(peaks[configs[name].model.dtype]),
                ),
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
        others = [
            _other(model, name, trainers[name], configs[name], times[name], files[name])
            for name in ours
        ]
    return rows, others


def _other(
    model: str,
    name: str,
    trainer: Remote,
    config: ConfigDict,
    times: Sequence[tuple[float, float]],
    files: Sequence[float],
) -> Row:
    """A row of the second table: training from files, and inference."""
    latency, throughput = (trainer.call("predict", count) for count in (1, 64))
    kept, read = statistics.median(wall for wall, _ in times), statistics.median(files)
    return {
        "model": model,
        "by": name,
        "batch": config.batch_size,
        "size": config.image_size,
        "images/s, one batch kept": config.batch_size / kept,
        "from files": config.batch_size / read,
        "share": kept / read,
        "inference of 1: ms": 1e3 * latency,
        "of 64: images/s": 64 / throughput,
    }


def _speed(times: Sequence[tuple[float, float]], batch_size: int, flops: int, peak: float) -> Row:
    seconds, cpu_seconds = zip(*times, strict=True)
    median, cpu = statistics.median(seconds), statistics.median(cpu_seconds)
    return {
        "images/s": batch_size / median,
        "ms per step": 1e3 * median,
        "least": 1e3 * min(seconds),
        "most": 1e3 * max(seconds),
        "CPU ms": 1e3 * cpu,
        "GFLOP per step": flops / 1e9,
        "GFLOP/s": flops / median / 1e9,
        "of peak": flops / median / peak,
    }


def four_phase_trainer(cache: str, config: ConfigDict) -> Trainer:
    """A `Trainer` of plain layers, but for deconvolutions in the form that CPUs take."""
    four_phases = partial(kernels.deconvolve, convolve=layers.convolve)
    layers.FORMS[backend_kernels()] = layers.FORMS["plain"]._replace(deconvolve=four_phases)
    return Trainer(cache, config)


def torch_trainer(cache: str, config: ConfigDict, compiled: bool) -> Any:
    """PyTorch's `Trainer`, after its first step."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
    from colorjax.benchmark.torch_steps import TorchTimed

    return TorchTimed(config, compiled)
