"""Our ResNet-50 equals PyTorch's, which has torchvision's names, with the same weights.

No parameter has its initial value: a scale of one or a mean of zero would hide that it was swapped
with another, or not read.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from colorjax.models.imagenet_weights import load_encoder
from colorjax.models.resnet import ResNet50

torch = pytest.importorskip("torch", reason="the extra `parity` (PyTorch) is not installed")
save_file = pytest.importorskip("safetensors.torch").save_file
nn = torch.nn

from colorjax.benchmark.torch_models import TorchResNet50  # noqa: E402

# Height and width differ, except for the second, which ends in 2×2 maps: kernels.py computes these
# in another way.
EVALUATION_SIZE, SMALL_SIZE, TRAINING_SIZE = (96, 128), (64, 64), (96, 64)
TOLERANCE = 1e-4


def torchvision_resnet50() -> TorchResNet50:
    """With the head that is in torchvision's files."""
    model = TorchResNet50()
    model.fc = nn.Linear(model.channels[-1], 1000)
    return model


def random_resnet50():
    """A PyTorch ResNet-50 with random weights, scales, biases, means and variances.

    The running statistics are perturbed ones of a random batch. The feature maps then keep their
    magnitude through all 16 blocks, and every statistic matters.
    """
    torch.manual_seed(0)
    model = torchvision_resnet50()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        for norm in norms:
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(0, 0.5)
            norm.momentum = 1.0
        for name, norm in model.named_modules():
            if name.endswith("bn3"):
                norm.weight.mul_(0.5)  # as in trained networks: rounding errors grow less
        model.train()(torch.randn(2, 3, 96, 96))
        for norm in norms:
            deviation = norm.running_var.sqrt()
            norm.running_mean.add_(0.5 * deviation * torch.randn_like(deviation))
            norm.running_var.mul_(torch.empty_like(deviation).uniform_(0.5, 2))
            norm.momentum = 0.1
    return model.eval()


class Pair(NamedTuple):
    """The same network twice."""

    theirs: TorchResNet50
    state_dict: dict
    ours: dict


@pytest.fixture(scope="module")
def template():
    model = ResNet50()
    return jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3))))


@pytest.fixture(scope="module")
def pair(template, tmp_path_factory):
    """The PyTorch network, its state when made, and ours read from the file it saved."""
    theirs = random_resnet50()
    state_dict = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
    path = tmp_path_factory.mktemp("weights") / "resnet50.pth"
    torch.save(state_dict, path)
    return Pair(theirs, state_dict, load_encoder(path, template, "resnet"))


@pytest.fixture(autouse=True)
def _full_precision():
    with jax.default_matmul_precision("highest"):
        yield


@jax.jit
def features(variables, x):
    return ResNet50(kernels="cpu").apply(variables, x)


def images(size, seed=0):
    """[2, H, W, 3] float32."""
    return np.random.default_rng(seed).normal(size=(2, *size, 3)).astype(np.float32)


def nchw(x):
    return torch.from_numpy(np.einsum("nhwc->nchw", x).copy())


def nhwc(x):
    return np.einsum("nchw->nhwc", x.detach().numpy())


def relative_error(ours, theirs) -> float:
    """The largest difference by the largest value."""
    chex.assert_equal_shape([ours, theirs])
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def errors(ours, theirs) -> list[float]:
    return [relative_error(a, nhwc(b)) for a, b in zip(ours, theirs, strict=True)]


def their_features(model, x):
    with torch.no_grad():
        return model(nchw(x))


@pytest.mark.parametrize("size", [EVALUATION_SIZE, SMALL_SIZE])
def test_features_are_equal_in_evaluation(pair, size):
    x = images(size)
    theirs = their_features(pair.theirs, x)
    # The tolerance means nothing for maps that are dead or exploded.
    assert all(0.1 < float(feature_map.std()) < 10 for feature_map in theirs)
    found = errors(features(pair.ours, x), theirs)
    assert max(found) < TOLERANCE, found


@pytest.mark.parametrize("file_format", ["legacy .pth", "safetensors"])
def test_every_file_format_gives_the_same_weights(file_format, pair, template, tmp_path):
    if file_format == "safetensors":
        path = tmp_path / "resnet50.safetensors"
        save_file(pair.state_dict, path)
    else:
        path = tmp_path / "resnet50.pth"
        torch.save(pair.state_dict, path, _use_new_zipfile_serialization=False)
    chex.assert_trees_all_equal(load_encoder(path, template, "resnet"), pair.ours)


def our_training_step(variables, x, cotangents):
    """Gradients of the mean of the maps times the cotangents, the maps, the new statistics."""

    def loss(params):
        maps, updated = ResNet50(dtype=jnp.float64, kernels="cpu").apply(
            {"params": params, "batch_stats": variables["batch_stats"]},
            x,
            train=True,
            mutable=["batch_stats"],
        )
        total = sum((m * c).mean() for m, c in zip(maps, cotangents, strict=True))
        return total, (maps, updated["batch_stats"])

    gradients, (maps, batch_stats) = jax.grad(loss, has_aux=True)(variables["params"])
    return gradients, maps, batch_stats


def test_features_statistics_and_gradients_are_equal_in_training(pair, template, tmp_path):
    """In float64: in float32 the rounding errors of some CPUs grow to 1 % of a gradient."""
    x = images(TRAINING_SIZE).astype(np.float64)
    theirs = torchvision_resnet50()
    theirs.load_state_dict(pair.state_dict)
    theirs.double()
    counts = {}  # of the values that each normalisation averages over
    for name, module in theirs.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(
                lambda _, inputs, __, name=name: counts.update(
                    {name: inputs[0].numel() // inputs[0].shape[1]}
                )
            )
    their_maps = theirs.train()(nchw(x))
    rng = np.random.default_rng(1)
    cotangents = [rng.normal(size=nhwc(m).shape) for m in their_maps]
    sum((m * nchw(c)).mean() for m, c in zip(their_maps, cotangents, strict=True)).backward()

    with jax.enable_x64(True):
        variables = jax.tree.map(np.float64, pair.ours)
        ours = jax.device_get(jax.jit(our_training_step)(variables, x, cotangents))
    our_gradients, our_maps, our_stats = ours

    found = errors(our_maps, their_maps)
    assert max(found) < 1e-6, found

    # The loader brings whatever has the network's shapes into our tree, as float32: the new
    # statistics, and the gradients in the place of the parameters.
    updated = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
    updated |= {name: tensor.grad for name, tensor in theirs.named_parameters() if "fc" not in name}
    for name, count in counts.items():
        # PyTorch divides the batch's variance by n - 1, Flax by n.
        old = 0.9 * pair.state_dict[f"{name}.running_var"]
        new = updated[f"{name}.running_var"]
        updated[f"{name}.running_var"] = old + (new - old) * (count - 1) / count
    torch.save(updated, tmp_path / "updated.pth")
    expected = load_encoder(tmp_path / "updated.pth", template, "resnet")
    ours = {"batch_stats": our_stats, "params": our_gradients}
    found = jax.tree.map(relative_error, ours, expected)
    assert max(jax.tree.leaves(found)) < 1e-6, found
