"""Which of a network's numbers are stored in half precision."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from colorjax.terminal.errors import InputError

# A kernel with less than this share of the parameters stays float32: such kernels are a tenth of
# EfficientNet-Lite0's bytes and most of the error of rounding, see README.md.
SMALL_SHARE = 0.01


def least_size(params: Mapping[str, Any]) -> float:
    """The number of values from which on a kernel of this network may be stored as halves."""
    return SMALL_SHARE * sum(leaf.size for leaf in jax.tree.leaves(params))


def cast(name: str, values: Any, dtype: Any) -> np.ndarray:
    """An array of a dtype. Raises InputError if that cannot hold a value."""
    with np.errstate(over="ignore"):
        array = np.asarray(values).astype(dtype)
    if not np.isfinite(array).all():
        advice = "try --dtype float32" if np.isfinite(values).all() else "choose another checkpoint"
        raise InputError(f"{name} has values that {array.dtype} cannot hold; {advice}")
    return array
