"""Whether an exported model computes what JAX does."""

import importlib.resources
from collections.abc import Callable

import jax
import numpy as np
from PIL import Image

from colorjax.lab import lightness
from colorjax.models.variables import jit_once, model_predictor
from colorjax.parallel import devices
from colorjax.runs.trained_model import TrainedModel
from colorjax.terminal.errors import InputError

# Largest difference of a* or b*, by the dtype of the kernels. The reference is always the model as
# it was opened, in float32: the tolerance includes what is lost by rounding.
TOLERANCES = {"float32": 1e-3, "float16": 2e-2}
# n, h, w: odd multiples of 32, down to maps of one column.
SHAPES = ((1, 96, 160), (5, 224, 32))
# Eileen Collins, by NASA (public domain), from scikit-image's `data.astronaut()`.
PICTURE = "assets/portrait.jpg"

# l [n, 1, h, w] -> a*b* [n, 2, h, w].
Call = Callable[[np.ndarray], np.ndarray]


def check(run: TrainedModel, call: Call, kind: str, dtype: str) -> float:
    """Compares an exported model with JAX on a CPU, on a photograph's L and on random ones.

    Args:
      run: the model that was exported.
      call: the exported model.
      kind: of the export, for the message.
      dtype: a key of TOLERANCES.

    Returns:
      The largest difference, in Lab units.

    Raises:
      InputError: the difference is larger than the tolerance, or no number.
    """
    expected = reference(run)
    differences = [np.abs(call(l) - expected(l)).max() for l in inputs()]
    largest = float(np.max(differences))
    if not largest <= TOLERANCES[dtype]:  # NaN is refused too
        advice = "try --dtype float32" if dtype != "float32" else "use its .safetensors"
        raise InputError(
            f"as {kind} in {dtype}, {run.path} differs from JAX by {largest:.2g} in a*b*, more "
            f"than {TOLERANCES[dtype]:g}, and is not written; {advice}"
        )
    return largest


def reference(run: TrainedModel) -> Call:
    """The model in JAX on a CPU, as `colorjax colorize` runs it."""
    device = devices.one_device("cpu")
    predict = jit_once(model_predictor(run.generator.clone(kernels="cpu"), run.temperature))
    variables = jax.device_put(jax.device_get(run.variables), device)

    def call(l: np.ndarray) -> np.ndarray:
        ab = predict(variables, jax.device_put(l.transpose(0, 2, 3, 1), device))
        return np.asarray(ab).transpose(0, 3, 1, 2)

    return call


def inputs() -> list[np.ndarray]:
    """L [n, 1, h, w] float32 of each of SHAPES: crops of a photograph, and random numbers."""
    rng = np.random.default_rng(0)
    found = []
    for count, height, width in SHAPES:
        found.append(np.stack([_crop(i, height, width) for i in range(count)]))
        found.append(rng.uniform(0, 100, (count, 1, height, width)).astype(np.float32))
    return found


def _crop(index: int, height: int, width: int) -> np.ndarray:
    """L [1, height, width] of a part of the photograph."""
    with Image.open(str(importlib.resources.files("colorjax") / PICTURE)) as picture:
        corner, side = 8 * index, picture.width - 32
        crop = picture.crop((corner, corner, corner + side, corner + side))
    pixels = np.asarray(crop.convert("L").resize((width, height)))
    return np.asarray(lightness(pixels[..., None]))[..., 0][None]
