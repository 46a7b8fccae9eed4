"""ImageNet weights for the ResNet-50 encoder, from the files of torchvision and timm."""

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

# Theirs are `layer1.0.downsample.0.weight` and the like.
_THEIR_NAMES = {
    "downsample_conv": "downsample.0",
    "downsample_bn": "downsample.1",
    "kernel": "weight",
    "scale": "weight",
    "mean": "running_mean",
    "var": "running_var",
}
_MODULES = ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "downsample.0", "downsample.1")
_IGNORED = re.compile(r"fc\.|(.+\.)?num_batches_tracked$")
_SAFETENSORS_DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(jnp.bfloat16),
}


def load_resnet50(path: str | os.PathLike[str], variables: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of `ResNet50` filled from torchvision's or timm's file.

    Read are torchvision's `resnet50-*.pth` (needs PyTorch; nothing but tensors is unpickled) and
    timm's `.safetensors` (without PyTorch). Their head `fc` and `num_batches_tracked` are left out;
    every other tensor must be one of ours and every one of ours must be there.

    Args:
      path: the file.
      variables: the template, `params` and `batch_stats` of a `ResNet50`; arrays or
        `jax.ShapeDtypeStruct`s.

    Returns:
      The same tree of float32 NumPy arrays, convolution kernels in HWIO.

    Raises:
      InputError: the file cannot be read, its package is not installed, or its tensors are not
        those of the model; the message names the first, in the network's order, that differs.
    """
    path = os.fspath(path)
    tensors = _read(path)
    template = flax.traverse_util.flatten_dict(dict(variables))
    ours = {their_name(parameter): parameter for parameter in template}
    filled = {}
    for name in sorted(ours, key=_position):
        shape = template[ours[name]].shape
        if len(shape) == 4:  # HWIO to OIHW
            shape = tuple(shape[axis] for axis in (3, 2, 0, 1))
        found = tensors[name].shape if name in tensors else "missing"
        if found != shape:
            raise InputError(
                f"{path}: {name} is {found}, the model's is {shape};"
                " give the weights of a ResNet-50 (v1.5) and leave config.model.width at 1"
            )
        tensor = tensors[name].astype(np.float32)
        filled[ours[name]] = np.ascontiguousarray(
            tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor
        )
    for name in sorted(tensors, key=_position):
        if name not in ours:
            raise InputError(
                f"{path}: {name} is {tensors[name].shape}, the model has none of that name;"
                " give the weights of a ResNet-50 (v1.5)"
            )
    return flax.traverse_util.unflatten_dict(filled)


def their_name(parameter: tuple[str, ...]) -> str:
    """PyTorch's name of one of our parameters or statistics, such as `layer1.0.bn1.weight`."""
    _, *modules, leaf = parameter
    if modules[-1] == "bn":  # flax's module within ours
        modules.pop()
    return ".".join(_THEIR_NAMES.get(part, part.replace("_", ".")) for part in (*modules, leaf))


def _position(name: str) -> tuple[str, int, str]:
    """Sorts names as the network runs: the stem, then the blocks, in each its modules."""
    block, rest = re.fullmatch(r"(layer\d+\.\d+\.)?(.*)", name, re.DOTALL).groups("")  # type: ignore[union-attr]
    module, _, _ = rest.rpartition(".")
    return block, _MODULES.index(module) if module in _MODULES else len(_MODULES), rest


def _read(path: str) -> dict[str, np.ndarray]:
    """The tensors of a file by their names, without those that are not used."""
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such file; give a ResNet-50's .pth or .safetensors file")
    readers = {".pth": _read_pth, ".safetensors": _read_safetensors}
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in readers:
        raise InputError(f"{path}: weights are read from {' and '.join(readers)} files")
    try:
        return readers[suffix](path)
    except ImportError as error:
        raise InputError(
            f"{path}: reading {suffix} needs {error.name}: pip install 'colorjax[weights]'"
        ) from error
    except Exception as error:  # What the readers raise on garbage is of any type.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]
        raise InputError(
            f"{path}: not a {suffix} file of named floating-point tensors ({reason})"
        ) from error


def _read_pth(path: str) -> dict[str, np.ndarray]:
    import torch

    try:
        with warnings.catch_warnings(action="ignore"):  # Of old pickle protocols and storages.
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # PyTorch's own message recommends to unpickle anything.
        raise ValueError("it is damaged, or holds more than tensors") from error
    if not isinstance(tensors, Mapping):
        raise ValueError(f"it holds a {type(tensors).__name__}")
    result = {}
    for name, tensor in tensors.items():
        if _IGNORED.match(name):
            continue
        if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
            raise ValueError(f"{name} is none such")
        # PyTorch gives NumPy no bfloat16.
        result[name] = tensor.detach().float().numpy()
    return result


def _read_safetensors(path: str) -> dict[str, np.ndarray]:
    # Not safetensors.numpy, which knows no bfloat16.
    from safetensors import deserialize

    with open(path, "rb") as file:
        tensors = deserialize(file.read())
    result = {}
    for name, tensor in tensors:
        if _IGNORED.match(name):
            continue
        if tensor["dtype"] not in _SAFETENSORS_DTYPES:
            raise ValueError(f"{name} is {tensor['dtype']}")
        data = np.frombuffer(tensor["data"], _SAFETENSORS_DTYPES[tensor["dtype"]])
        result[name] = data.reshape(tensor["shape"])
    return result
