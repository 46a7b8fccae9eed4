"""Generators as StableHLO, which JAX loads without this package."""

from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from colorjax.export.precision import cast, least_size
from colorjax.models import SIZE_MULTIPLE
from colorjax.models.variables import Variables, model_predictor
from colorjax.runs.trained_model import TrainedModel

PLATFORMS = ("cpu", "cuda", "tpu")
SHAPE = f"n, 1, {SIZE_MULTIPLE} * h, {SIZE_MULTIPLE} * w"


def export_stablehlo(run: TrainedModel, dtype: str) -> jax.export.Exported:
    """A model without hints: `l` float32 [n, 1, h, w] in [0, 100] -> [n, 2, h, w] in Lab units.

    n, h and w are dynamic; JAX refuses h and w that are no multiples of SIZE_MULTIPLE. The layers
    are in their plain form, which every platform has, and their products in full precision: GPUs
    and TPUs would round float32 to fewer bits.

    Args:
      run: the model.
      dtype: of the large kernels, see `precision`; all else, and what is computed, is float32.

    Raises:
      InputError: a kernel has values that the dtype cannot hold.
    """
    predict = model_predictor(run.generator.clone(kernels="plain"), run.temperature)
    stored = _stored(jax.device_get(run.variables), dtype)

    def colorize(l: jax.Array) -> jax.Array:
        variables = jax.tree.map(lambda x: jnp.asarray(x).astype(jnp.float32), stored)
        ab = predict(variables, jnp.transpose(l, (0, 2, 3, 1)))
        return jnp.transpose(ab, (0, 3, 1, 2))

    l = jax.ShapeDtypeStruct(jax.export.symbolic_shape(SHAPE), jnp.float32)
    with jax.default_matmul_precision("highest"):
        return jax.export.export(jax.jit(colorize), platforms=PLATFORMS)(l)


def _stored(variables: Variables, dtype: str) -> Variables:
    least = least_size(variables["params"])

    def one(path: Any, value: np.ndarray) -> np.ndarray:
        if value.ndim != 4 or value.size < least:
            return value
        return cast(jax.tree_util.keystr(path, simple=True, separator="/"), value, dtype)

    return jax.tree_util.tree_map_with_path(one, variables)
