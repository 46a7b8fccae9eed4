"""Exported models as bytes and as files, checked before they are kept."""

import json
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from colorjax import __version__
from colorjax.export import parity
from colorjax.export.kinds import ONNX, STABLEHLO, written
from colorjax.export.stablehlo import PLATFORMS, export_stablehlo
from colorjax.files import replaced
from colorjax.models import SIZE_MULTIPLE
from colorjax.parallel import devices
from colorjax.runs.trained_model import TrainedModel
from colorjax.runs.weights import public_config

USE = (
    "l: float32 [n, 1, h, w], CIE Lab lightness in [0, 100]; ab: float32 [n, 2, h, w], a* and b* "
    "in Lab units (D65). h and w must be multiples of {multiple}. For pictures of about {size} "
    "pixels a side; no hints."
)

COMPATIBILITY = (
    "jax.export.deserialize of versions of JAX up to six months newer and up to three weeks older "
    "than the one that exported it"
)


class Checked(NamedTuple):
    """A model that computes what JAX does.

    Attributes:
      data: the file.
      difference: the largest one from JAX that `parity.check` found, in Lab units.
    """

    data: bytes
    difference: float


def to_onnx(run: TrainedModel, card: str, dtype: str = "float32") -> Checked:
    """An ONNX file, see `onnx_graph.build_model`, with `metadata` in it.

    Needs the extra `onnx`.

    Args:
      run: the model.
      card: Markdown.
      dtype: of the large kernels, float32 or float16.

    Raises:
      InputError: the dtype cannot hold a kernel, or `parity.check` finds a difference.
    """
    import onnxruntime

    from colorjax.export.onnx_graph import build_model

    data = build_model(run, metadata(run, card), dtype).SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])

    def call(l: np.ndarray) -> np.ndarray:
        (ab,) = session.run(["ab"], {"l": l})
        return np.asarray(ab)

    return Checked(data, parity.check(run, call, ONNX, dtype))


def to_stablehlo(run: TrainedModel, dtype: str = "float32") -> Checked:
    """What `jax.export.deserialize` reads, see `stablehlo.export_stablehlo`.

    The arguments and errors are those of `to_onnx`.
    """
    data = bytes(export_stablehlo(run, dtype).serialize())
    exported = jax.jit(jax.export.deserialize(bytearray(data)).call)
    device = devices.one_device("cpu")

    def call(l: np.ndarray) -> np.ndarray:
        return np.asarray(exported(jax.device_put(l, device)))

    return Checked(data, parity.check(run, call, STABLEHLO, dtype))


def metadata(run: TrainedModel, card: str) -> dict[str, str]:
    """What goes with an exported model: card, config, step, version, and how it is used."""
    return {
        "card": card,
        "config": public_config(run),
        "step": str(run.step),
        "version": f"colorjax {__version__}",
        "use": USE.format(multiple=SIZE_MULTIPLE, size=run.image_size),
    }


def write_onnx(run: TrainedModel, path: Path, card: str, dtype: str) -> Checked:
    """Writes `to_onnx`. Raises OSError if that cannot be written."""
    checked = to_onnx(run, card, dtype)
    with replaced(path) as part:
        part.write_bytes(checked.data)
    return checked


def write_stablehlo(run: TrainedModel, path: Path, card: str, dtype: str) -> Checked:
    """Writes `to_stablehlo`, and beside it PATH.json: the format has no place for metadata.

    Raises OSError if they cannot be written.
    """
    checked = to_stablehlo(run, dtype)
    about = {
        **metadata(run, card),
        "jax": jax.__version__,
        "compatibility": COMPATIBILITY,
        "platforms": PLATFORMS,
    }
    model, card_file = written(path, STABLEHLO).values()
    # Both are complete before either gets its name, first the model.
    with replaced(card_file) as beside, replaced(model) as part:
        part.write_bytes(checked.data)
        beside.write_text(json.dumps(about, indent=1) + "\n")
    return checked
