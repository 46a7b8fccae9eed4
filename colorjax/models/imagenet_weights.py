"""ImageNet weights for the ResNet-50 encoder, read from torchvision's and timm's files."""

import os
import pickle
import re
import warnings
from collections.abc import Mapping
from typing import Any

import flax
import jax.numpy as jnp
import numpy as np

from colorjax.terminal.errors import InputError

# Parts of PyTorch's names, such as `layer1.0.downsample.0.weight`, that differ from ours.
_THEIR_NAMES = {
    "downsample_conv": "downsample.0",
    "downsample_bn": "downsample.1",
    "kernel": "weight",
    "scale": "weight",
    "mean": "running_mean",
    "var": "running_var",
}
_IGNORED = re.compile(r"fc\.|(.+\.)?num_batches_tracked$")


def load_resnet50(path: str | os.PathLike[str], variables: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of a `ResNet50` from a file of torchvision or timm.

    The head `fc` and `num_batches_tracked` are ignored; all other names must match.

    Args:
      path: torchvision's `resnet50-*.pth` (needs PyTorch; only tensors are unpickled) or timm's
        `.safetensors`.
      variables: `params` and `batch_stats` of a `ResNet50`: arrays or `jax.ShapeDtypeStruct`s.

    Returns:
      The same tree of float32 NumPy arrays, with convolution kernels in HWIO.

    Raises:
      InputError: the file cannot be read, a package is missing, or a tensor, which is named, does
        not fit the model.
    """
    path = os.fspath(path)
    tensors = _read(path)
    template = flax.traverse_util.flatten_dict(dict(variables))
    ours = {their_name(parameter): parameter for parameter in template}
    filled = {}
    for name in sorted(ours, key=lambda name: name not in tensors):  # wrong shapes come first
        shape = template[ours[name]].shape
        if len(shape) == 4:  # HWIO to OIHW
            shape = tuple(shape[axis] for axis in (3, 2, 0, 1))
        found = tensors[name].shape if name in tensors else "missing"
        if found != shape:
            raise InputError(
                f"{path}: {name} is {found}, but the model's is {shape};"
                " give the weights of a ResNet-50 (v1.5) and leave config.model.width at 1"
            )
        tensor = tensors[name].astype(np.float32)
        filled[ours[name]] = np.ascontiguousarray(
            tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor
        )
    for name in sorted(tensors):
        if name not in ours:
            raise InputError(
                f"{path}: the model has no {name}, which is {tensors[name].shape};"
                " give the weights of a ResNet-50 (v1.5)"
            )
    return flax.traverse_util.unflatten_dict(filled)


def their_name(parameter: tuple[str, ...]) -> str:
    """PyTorch's name of one of our parameters or statistics, such as `layer1.0.bn1.weight`."""
    return ".".join(_THEIR_NAMES.get(part, part.replace("_", ".")) for part in parameter[1:])


def _read(path: str) -> dict[str, np.ndarray]:
    """The floating-point tensors of a file by their names."""
    if not os.path.isfile(path):
        raise InputError(f"{path} is not a file; give a ResNet-50's .pth or .safetensors file")
    readers = {".pth": _read_pth, ".safetensors": _read_safetensors}
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in readers:
        raise InputError(f"{path} must end in {' or '.join(readers)}")
    try:
        return readers[suffix](path)
    except ImportError as error:
        raise InputError(
            f"{path}: reading {suffix} needs {error.name}: pip install '.[weights]'"
        ) from error
    except Exception as error:  # The readers raise errors of any type on garbage.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]
        raise InputError(
            f"{path}: not a {suffix} file of named floating-point tensors ({reason})"
        ) from error


def _read_pth(path: str) -> dict[str, np.ndarray]:
    import torch

    try:
        with warnings.catch_warnings(action="ignore"):  # about old pickle protocols and storages
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # PyTorch's own message recommends unsafe unpickling.
        raise ValueError("it is corrupt, or holds more than tensors") from error
    if not isinstance(tensors, Mapping):
        raise ValueError(f"it holds a {type(tensors).__name__}")
    result = {}
    for name, tensor in tensors.items():
        if _IGNORED.match(name):
            continue
        if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
            raise ValueError(f"{name} is not one")
        # NumPy arrays of PyTorch cannot be bfloat16.
        result[name] = tensor.detach().float().numpy()
    return result


def _read_safetensors(path: str) -> dict[str, np.ndarray]:
    from safetensors.flax import load_file  # reads bfloat16, which safetensors.numpy does not

    result = {}
    for name, tensor in load_file(path).items():
        if _IGNORED.match(name):
            continue
        if not jnp.issubdtype(tensor.dtype, jnp.floating):
            raise ValueError(f"{name} is {tensor.dtype}")
        result[name] = np.asarray(tensor, np.float32)
    return result
