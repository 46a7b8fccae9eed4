"""Exported models: their size, their difference from JAX, and their latency next to JAX's."""

import contextlib
import importlib.metadata
import os
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import jax
import jax.export
import numpy as np

from colorjax.benchmark.measuring import seconds
from colorjax.benchmark.remote import Remote
from colorjax.benchmark.workers import Device
from colorjax.export import kinds
from colorjax.export.write import to_onnx, to_stablehlo
from colorjax.parallel import devices
from colorjax.runs.model_paths import DEFAULT_MODEL
from colorjax.runs.weights import open_model

Row = Mapping[str, Any]
THREADS = (1, 2)
DTYPES = ("float32", "float16")


def measure(*, model: str, sides: Sequence[int], rounds: int, calls: int) -> tuple[list[Row], Row]:
    """Exports a model in every kind, then times the files and the model itself, in turns.

    Args:
      model: see `runs.weights.open_model`; by default the one that is best for faces.
      sides: of the square pictures that are timed, in pixels.
      rounds: number of times that every runtime is timed.
      calls: number of calls in each round, of which the median counts.

    Returns:
      Rows of two tables (files; ms per picture, with the median, minimum and maximum of the
      rounds), and the conditions.

    Raises:
      InputError: the extra `onnx` is not installed, or the model cannot be exported.
    """
    kinds.check_extra(kinds.ONNX)
    devices.configure()
    model = model or DEFAULT_MODEL
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        rows = _files(model, Path(folder))
        cpus = len(os.sched_getaffinity(0))
        runners = {
            (runtime, threads): stack.enter_context(Remote(Runner, runtime, source, threads))
            for runtime, source in _sources(model, Path(folder)).items()
            for threads in THREADS
            if threads <= cpus
        }
        times: dict[tuple[str, int, int], list[float]] = {}
        for _, (key, runner), side in product(range(rounds), runners.items(), sides):
            found = runner.call("milliseconds", side, calls)
            times.setdefault((*key, side), []).append(found)
    latencies: list[Row] = [
        {
            "runtime": runtime,
            "threads": threads,
            "size": f"{side}×{side}",
            "ms": statistics.median(found),
            "least": min(found),
            "most": max(found),
        }
        for (runtime, threads, side), found in times.items()
    ]
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("onnx", "onnxruntime")]
    about = {**Device().about(), "and": ", ".join(versions), "model": model, "rounds": rounds}
    return [*rows, *latencies], about


def _name(kind: str, dtype: str) -> str:
    return f"{kind}, {dtype}"


def _files(model: str, folder: Path) -> list[Row]:
    """Exports a model to files called as `_name` does."""
    import onnx

    run = open_model(model)
    rows: list[Row] = []
    for kind, dtype in product((kinds.ONNX, kinds.STABLEHLO), DTYPES):
        is_onnx = kind == kinds.ONNX
        checked = to_onnx(run, "", dtype) if is_onnx else to_stablehlo(run, dtype)
        (folder / _name(kind, dtype)).write_bytes(checked.data)
        graph = onnx.load_model_from_string(checked.data).graph if is_onnx else None
        rows.append(
            {
                "file": _name(kind, dtype),
                "MiB": len(checked.data) / 2**20,
                "nodes": "" if graph is None else len(graph.node),
                "from JAX, at most": checked.difference,
            }
        )
    return rows


def _sources(model: str, folder: Path) -> dict[str, str]:
    """What `Runner` opens, by the names of its runtimes."""
    return {
        "onnxruntime": str(folder / _name(kinds.ONNX, "float32")),
        "colorjax": model,
        "JAX, from StableHLO": str(folder / _name(kinds.STABLEHLO, "float32")),
    }


class Runner:
    """A model in its own process, which may use some of the CPUs.

    Args:
      runtime: a key of `_sources`.
      source: its value there.
      threads: the number of CPUs, and of threads of onnxruntime; JAX has as many as CPUs.
    """

    def __init__(self, runtime: str, source: str, threads: int) -> None:
        # Before JAX counts them, which it does at its first operation.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
        open_source = {"onnxruntime": _onnxruntime, "colorjax": _colorjax}.get(runtime, _stablehlo)
        self._call = open_source(source, threads)

    def milliseconds(self, side: int, calls: int) -> float:
        """Median time from the L of one picture to its a*b*, both in the host's memory."""
        l = np.random.default_rng(0).uniform(0, 100, (1, 1, side, side)).astype(np.float32)
        self._call(l)  # compiles
        return 1e3 * statistics.median(seconds(lambda: self._call(l)) for _ in range(calls))


Call = Callable[[np.ndarray], Any]


def _onnxruntime(source: str, threads: int) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return lambda l: session.run(None, {"l": l})


def _colorjax(source: str, threads: int) -> Call:
    devices.configure()
    run = open_model(source)
    predict = jax.jit(run.predict)
    variables = jax.device_put(run.variables, devices.one_device())
    return lambda l: np.asarray(predict(variables, l.reshape(len(l), *l.shape[2:], 1)))


def _stablehlo(source: str, threads: int) -> Call:
    devices.configure()
    device = devices.one_device()
    call = jax.jit(jax.export.deserialize(bytearray(Path(source).read_bytes())).call)
    return lambda l: np.asarray(call(jax.device_put(l, device)))
