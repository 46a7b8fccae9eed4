"""The tensors of PyTorch's files (.pth), read without PyTorch.

`_save` and `_legacy_save` in torch/serialization.py define two formats:

- A zip file (since PyTorch 1.6): `NAME/data.pkl` is the object, `NAME/data/KEY` the values of a
  storage.
- Before that, five pickles: a magic number, the version of the format, facts about the machine, the
  object, the keys of the storages. Then, for each key, the number of values (int64) and the values.

In the object, a tensor is a call of `torch._utils._rebuild_tensor_v2` with a storage, which is a
persistent id, an offset, a shape and strides.

A pickle is a program that may call what it names, and one corrupt byte makes Python's unpickler
reserve gigabytes (for its memo). So the pickles are interpreted here: of the opcodes, only those
that `torch.save` writes are known, and nothing is imported or called.
"""

import io
import os
import pickletools
import struct
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_DTYPES: dict[str, np.dtype] = {
    "torch DoubleStorage": np.dtype("<f8"),
    "torch FloatStorage": np.dtype("<f4"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch BFloat16Storage": np.dtype(jnp.bfloat16),
    "torch LongStorage": np.dtype("<i8"),
    "torch IntStorage": np.dtype("<i4"),
    "torch ShortStorage": np.dtype("<i2"),
    "torch CharStorage": np.dtype("i1"),
    "torch ByteStorage": np.dtype("u1"),
    "torch BoolStorage": np.dtype("?"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}


class TorchFileError(Exception):
    """The file is corrupt, or holds more than tensors."""


class _Global(NamedTuple):
    """A Python object that a pickle names, as "module name". It is never looked up."""

    name: str


class _Storage(NamedTuple):
    dtype: np.dtype
    key: str
    length: int  # in values


class _Tensor(NamedTuple):
    """A view of a storage. The offset and the strides count values, not bytes."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_tensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The tensors of a file that `torch.save` wrote of a dict of tensors, such as a state dict.

    Args:
      path: a file of either format, written on a little-endian machine.

    Returns:
      The tensors by their names, which are printable, in the order of the file. The arrays are
      views of what was read: read-only, with the tensors' strides, and maybe not aligned.

    Raises:
      TorchFileError: says in a few words what is wrong.
      OSError: the file cannot be read.
    """
    data = Path(path).read_bytes()
    try:
        parts = _zip_parts if data.startswith(b"PK\x03\x04") else _legacy_parts
        tensors, buffers = parts(data)
        return {
            name: _array(tensor, buffers[tensor.storage.key]) for name, tensor in tensors.items()
        }
    except TorchFileError:
        raise
    except Exception as error:  # Reading zip files and opcodes raises errors of any type.
        raise TorchFileError("it is corrupt") from error


def _zip_parts(data: bytes) -> tuple[dict[str, _Tensor], dict[str, memoryview]]:
    """The tensors of a zip file, and the bytes of their storages by their keys."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        records = {info.filename.partition("/")[2]: info for info in archive.infolist()}

        def read(name: str) -> bytes:
            if records[name].compress_type != zipfile.ZIP_STORED:  # maybe a zip bomb
                raise TorchFileError("it is compressed")
            return archive.read(records[name])

        if "byteorder" in records and read("byteorder") != b"little":
            raise TorchFileError("it is big-endian")
        tensors = _named_tensors(_interpret(io.BytesIO(read("data.pkl"))))
        keys = {tensor.storage.key for tensor in tensors.values()}
        return tensors, {key: memoryview(read(f"data/{key}")) for key in keys}


def _legacy_parts(data: bytes) -> tuple[dict[str, _Tensor], dict[str, memoryview]]:
    """The tensors of a file before PyTorch 1.6, and the bytes of their storages by their keys."""
    file = io.BytesIO(data)
    if _interpret(file) != _MAGIC_NUMBER or _interpret(file) != _VERSION:
        raise TorchFileError("it is corrupt")
    if _interpret(file)["little_endian"] is not True:
        raise TorchFileError("it is big-endian")
    tensors = _named_tensors(_interpret(file))
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    keys = _interpret(file)
    buffers, position = {}, file.tell()
    for key in keys:
        (count,) = struct.unpack_from("<q", data, position)
        if not isinstance(key, str) or count != storages[key].length:
            raise TorchFileError("it is corrupt")
        start, position = position + 8, position + 8 + count * storages[key].dtype.itemsize
        buffers[key] = memoryview(data)[start:position]
    return tensors, buffers


def _named_tensors(contents: Any) -> dict[str, _Tensor]:
    if not isinstance(contents, dict):
        raise TorchFileError("it holds no dict of tensors")
    for name, tensor in contents.items():
        if not isinstance(name, str) or not name.isprintable():
            raise TorchFileError(f"{name!a:.80} is not a name")
        if not isinstance(tensor, _Tensor):
            raise TorchFileError(f"{name:.80} is not a tensor")
    return contents


def _array(tensor: _Tensor, buffer: memoryview) -> np.ndarray:
    """A tensor as a view of its storage's bytes."""
    (dtype, _, length), offset, shape, strides = tensor
    numbers = (offset, *shape, *strides)
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise TorchFileError("it is corrupt")
    # Of the last value. NumPy checks this too, but with integers that overflow.
    index = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    empty = 0 in shape
    if len(buffer) != length * dtype.itemsize or (index >= length and not empty):
        raise TorchFileError("it is corrupt")
    if empty:
        return np.empty(shape, dtype)
    steps = [step * dtype.itemsize for step in strides]
    return np.ndarray(shape, dtype, buffer, offset * dtype.itemsize, steps)


def _interpret(file: io.BytesIO) -> Any:
    """The value of the pickle that begins at the file's position, which moves behind it.

    It is made of dicts, lists, tuples, strings, numbers, and the NamedTuples above.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[Any, Any] = {}

    def pop(start: int) -> list[Any]:
        items = stack[start:]
        del stack[start:]
        return items

    for opcode, argument, _ in pickletools.genops(file):
        match opcode.name:
            case "PROTO" | "STOP":
                pass
            case "NONE" | "NEWTRUE" | "NEWFALSE" | "EMPTY_TUPLE":
                stack.append(_CONSTANTS[opcode.name])
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE":
                stack.append(argument)
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "MARK":
                marks.append(len(stack))
            case "TUPLE":
                stack.append(tuple(pop(marks.pop())))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(pop(-int(opcode.name[-1]))))
            case "APPEND" | "APPENDS":
                items = pop(-1 if opcode.name == "APPEND" else marks.pop())
                stack[-1].extend(items)
            case "SETITEM" | "SETITEMS":
                items = pop(-2 if opcode.name == "SETITEM" else marks.pop())
                _set_items(stack[-1], items)
            case "GLOBAL":
                stack.append(_Global(str(argument)))
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
            case "REDUCE":
                function, arguments = pop(-2)
                stack.append(_called(function, arguments))
            case "BUILD" if isinstance(stack[-2], dict):  # A state dict has attributes: versions.
                stack.pop()
            case name:
                raise _more_than_tensors(f"the opcode {name}")
    (value,) = stack
    return value


def _set_items(target: Any, items: list[Any]) -> None:
    # The hash of a deeply nested tuple would overflow the stack of C.
    if not isinstance(target, dict) or not all(isinstance(key, str | int) for key in items[::2]):
        raise TorchFileError("it is corrupt")
    target.update(zip(items[::2], items[1::2], strict=True))


def _storage(persistent_id: Any) -> _Storage:
    match persistent_id:
        # The last is there in the older format: a view of another storage, in the first versions.
        case ("storage", _Global(kind), str(key), str(), int(length), *view) if view in (
            [],
            [None],
        ):
            if kind not in _DTYPES:
                raise _more_than_tensors(kind)
            return _Storage(_DTYPES[kind], key, length)
    raise TorchFileError("it is corrupt")


def _called(function: Any, arguments: Any) -> Any:
    """What stands for the result of a call."""
    match function, arguments:
        case _Global("collections OrderedDict"), ():
            return {}
        case (
            _Global("torch._utils _rebuild_tensor_v2"),
            (_Storage() as storage, offset, tuple(shape), tuple(strides), *_),
        ):
            return _Tensor(storage, offset, shape, strides)
        case _Global("torch._utils _rebuild_parameter"), (_Tensor() as tensor, *_):
            return tensor
        case _Global(name), _:
            raise _more_than_tensors(name)
    raise TorchFileError("it is corrupt")


def _more_than_tensors(what: str) -> TorchFileError:
    return TorchFileError(f"it is corrupt, or holds more than tensors: {what!a:.80}")
