"""The models: their shapes, their statistics, and spectral normalisation."""

import chex
import flax
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from colorjax.models import layers
from colorjax.models.discriminator import Discriminator
from colorjax.models.efficientnet import EfficientNetGenerator
from colorjax.models.encoder_decoder import EncoderDecoder
from colorjax.models.resnet import ResNet50, ResNetGenerator

WIDTH = 1 / 16
ALL_GENERATORS = [EncoderDecoder, ResNetGenerator, EfficientNetGenerator]
GENERATORS = pytest.mark.parametrize("generator", ALL_GENERATORS)


@pytest.fixture(autouse=True)
def _full_precision():
    with jax.default_matmul_precision("highest"):
        yield


def normal(shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def shapes(model, *inputs):
    return jax.eval_shape(model.init, jax.random.key(0), *inputs)


def drawn(model, *inputs):
    """Initial variables, drawn by NumPy because initialisation takes seconds to compile."""
    rng = np.random.default_rng(1)

    def draw(path, leaf):
        name = path[-1].key
        if name in ("scale", "var") or name.endswith("sigma"):
            return np.ones(leaf.shape, leaf.dtype)
        if name in ("bias", "mean"):
            return np.zeros(leaf.shape, leaf.dtype)
        fan_in = np.prod(leaf.shape[:-1])
        return (rng.normal(size=leaf.shape) * np.sqrt(2 / fan_in)).astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes(model, *inputs))


def test_resnet50_is_the_published_one():
    """23,508,032 parameters without the head, and 2048 maps of 4×4 from 128×128."""
    model, x = ResNet50(), jnp.zeros((2, 128, 128, 3))
    variables = shapes(model, x)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 23_508_032
    maps = jax.eval_shape(model.apply, variables, x)
    expected = [(64, 64), (32, 256), (16, 512), (8, 1024), (4, 2048)]
    chex.assert_shape(maps, [(2, size, size, channels) for size, channels in expected])


def test_every_block_of_resnet50_starts_as_the_identity():
    """The last scale of each block is zero."""
    model = ResNet50(WIDTH)

    @jax.jit
    def scales(key):
        params = model.init(key, jnp.zeros((1, 32, 32, 3)))["params"]
        return {name: block["bn3"]["scale"] for name, block in params.items() if "layer" in name}

    found = scales(jax.random.key(0))
    assert len(found) == 16
    assert not any(scale.any() for scale in found.values())


@GENERATORS
@pytest.mark.parametrize("skip_connections", [True, False])
def test_generators_start_from_grey(generator, skip_connections):
    model = generator(width=WIDTH, skip_connections=skip_connections)
    l = normal((2, 32, 64, 1))
    variables = drawn(model, l)
    apply = jax.jit(model.apply)
    assert apply(variables, l).ab.any()
    last_layer = jax.jit(lambda key: model.init(key, l)["params"]["decoder"]["ab"])
    variables["params"]["decoder"]["ab"] = last_layer(jax.random.key(0))
    ab = apply(variables, l).ab
    chex.assert_shape(ab, (2, 32, 64, 2))
    np.testing.assert_array_equal(ab, np.zeros_like(ab))


@GENERATORS
@pytest.mark.parametrize("output_stride", [1, 4])
@pytest.mark.parametrize("skip_connections", [True, False])
@pytest.mark.parametrize(("size", "train"), [(32, True), (96, False), (128, True)])
def test_generators_keep_the_size_at_full_width(
    generator, skip_connections, output_stride, size, train
):
    model = generator(
        skip_connections=skip_connections,
        output_stride=output_stride,
        distribution=skip_connections,
        hints=skip_connections,
    )
    l, hints = jnp.zeros((2, size, size, 1)), jnp.zeros((2, size, size, 3))

    def apply(variables):
        inputs = (l, hints) if skip_connections else (l,)
        return model.apply(variables, *inputs, train=train, mutable=["batch_stats"])

    variables = shapes(model, l)
    (ab, distribution), updated = jax.eval_shape(apply, variables)
    chex.assert_shape(ab, (2, size, size, 2))
    assert (distribution is not None) == skip_connections
    if distribution is not None:
        chex.assert_shape(distribution.logits, (2, size // 4, size // 4, 261))
    chex.assert_trees_all_equal_shapes_and_dtypes(updated["batch_stats"], variables["batch_stats"])


@GENERATORS
@pytest.mark.parametrize(("skip_connections", "output_stride"), [(True, 1), (False, 4)])
def test_generators_export_with_symbolic_shapes(generator, skip_connections, output_stride):
    """In the plain form, which equals the CPU's."""
    model = generator(WIDTH, skip_connections, output_stride=output_stride, distribution=True)
    l = normal((2, 64, 96, 1))
    variables = drawn(model, l)
    shape = jax.export.symbolic_shape("n, 32 * h, 32 * w, 1")
    symbolic = jax.ShapeDtypeStruct(shape, jnp.float32)
    exported = jax.export.export(jax.jit(lambda l: model.apply(variables, l)))(symbolic)
    expected = jax.jit(model.clone(kernels="cpu").apply)(variables, l)
    for x, y in zip(jax.tree.leaves(exported.call(l)), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-4 * np.abs(y).max())


@GENERATORS
def test_without_hints_a_model_is_the_one_that_takes_none(generator):
    model, l = generator(WIDTH, hints=True), normal((2, 32, 32, 1))
    hints = normal((2, 32, 32, 3), seed=2)
    hints[..., 2] = hints[..., 2] > 2
    variables = flatten_dict(drawn(model, l))
    parts = {layers.HINTS, layers.HINT_FILTER}
    others = {path: x for path, x in variables.items() if not parts & set(path)}
    plain = jax.jit(generator(WIDTH).apply)(unflatten_dict(others), l).ab
    apply = jax.jit(model.apply)
    np.testing.assert_array_equal(apply(unflatten_dict(variables), l).ab, plain)
    none = apply(unflatten_dict(variables), l, np.zeros_like(hints)).ab
    np.testing.assert_allclose(none, plain, atol=1e-6)
    assert np.abs(apply(unflatten_dict(variables), l, hints).ab - plain).max() > 1e-2


@GENERATORS
def test_width_multiplies_every_channel_count(generator):
    """Except those of the image."""

    def kernels(width):
        params = shapes(generator(width, skip_connections=False), jnp.zeros((1, 32, 32, 1)))
        flat = flax.traverse_util.flatten_dict(params["params"], sep="/")
        return {name: leaf.shape for name, leaf in flat.items() if name.endswith("kernel")}

    full, half = kernels(1.0), kernels(0.5)
    for name, (*size, channels, features) in full.items():
        halved = [n if n in (1, 2, 3) else n // 2 for n in (channels, features)]
        assert half[name] == (*size, *halved), name


def test_enlargement_equals_pytorch():
    torch = pytest.importorskip("torch", reason="the extra `parity` (PyTorch) is not installed")
    x = normal((2, 3, 5, 2))
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(x).permute(0, 3, 1, 2), scale_factor=4, mode="bilinear"
    )
    np.testing.assert_allclose(layers.enlarge(x, 4), theirs.permute(0, 2, 3, 1), atol=1e-6)


def test_statistics_synchronised_over_an_axis_are_those_of_the_global_batch():
    x = normal((8, 2, 4, 4, 3)) + np.arange(8, dtype=np.float32).reshape(8, 1, 1, 1, 1)

    def apply(x, axis_name):
        module = layers.batch_norm(True, axis_name, jnp.float32)()
        variables = {
            "params": {"scale": jnp.full(3, 1.5), "bias": jnp.full(3, 0.2)},
            "batch_stats": {"mean": jnp.zeros(3), "var": jnp.ones(3)},
        }
        return module.apply(variables, x, mutable=["batch_stats"])

    y, updated = jax.vmap(lambda x: apply(x, "batch"), axis_name="batch")(x)
    expected, expected_updated = apply(x.reshape(16, 4, 4, 3), None)
    np.testing.assert_allclose(y.reshape(expected.shape), expected, atol=1e-5)
    for i in range(8):
        chex.assert_trees_all_close(
            jax.tree.map(lambda leaf, i=i: leaf[i], updated), expected_updated, atol=1e-6
        )
    batch_mean = x.mean((0, 1, 2, 3))
    np.testing.assert_allclose(expected_updated["batch_stats"]["mean"], 0.1 * batch_mean, rtol=1e-5)


@GENERATORS
def test_generators_synchronise_every_normalisation(generator):
    model, l = generator(WIDTH, axis_name="batch"), jnp.zeros((2, 32, 32, 1))
    axes = {}

    def note_axis(next_fun, args, kwargs, context):
        if isinstance(context.module, flax.linen.BatchNorm):
            axes[context.module.path] = context.module.axis_name
        return next_fun(*args, **kwargs)

    with flax.linen.intercept_methods(note_axis):
        batch_stats = shapes(model, l)["batch_stats"]
    # The statistics of EfficientNet's encoder are never those of a batch.
    if generator is EfficientNetGenerator:
        del batch_stats["encoder"]
    assert len(axes) == len(jax.tree.leaves(batch_stats)) // 2
    assert set(axes.values()) == {"batch"}


def discriminator_inputs(size=32, batch=2, seed=0):
    lab = normal((batch, size, size, 3), seed)
    return lab[..., :1], lab[..., 1:]


@pytest.mark.parametrize("spectral_norm", [True, False])
def test_the_discriminator_scores_patches(spectral_norm):
    model = Discriminator(WIDTH, spectral_norm)
    inputs = jnp.zeros((3, 64, 96, 1)), jnp.zeros((3, 64, 96, 2))
    variables = shapes(model, *inputs)
    assert ("batch_stats" in variables) == spectral_norm
    chex.assert_shape(jax.eval_shape(model.apply, variables, *inputs), (3, 4, 6, 1))


def test_a_logit_depends_on_its_patch_alone():
    """In 128×128, the far corner is outside the receptive field of the first logits."""
    model = Discriminator(WIDTH)
    l, ab = discriminator_inputs(128, batch=1)
    variables = drawn(model, l, ab)

    @jax.jit
    def logits(l, ab):
        return model.apply(variables, l, ab)[0, ..., 0]

    for change in ("l", "ab"):
        moved_l, moved_ab = l.copy(), ab.copy()
        (moved_l if change == "l" else moved_ab)[:, 96:, 96:] += 1
        difference = np.abs(logits(moved_l, moved_ab) - logits(l, ab))
        assert difference[-1, -1] > 0
        np.testing.assert_array_equal(difference[:4, :4], 0)


def test_a_score_does_not_depend_on_the_other_images():
    model = Discriminator(WIDTH)
    l, ab = discriminator_inputs(batch=4)
    variables = drawn(model, l, ab)

    @jax.jit
    def logits(l, ab):
        return model.apply(variables, l, ab, train=True, mutable=["batch_stats"])[0]

    together = logits(l, ab)
    for i in range(4):
        np.testing.assert_allclose(logits(l[i : i + 1], ab[i : i + 1])[0], together[i], atol=1e-5)


def test_spectral_normalisation_makes_the_largest_singular_value_one():
    """Of every kernel as it is used, starting far from one."""
    model = Discriminator(WIDTH)
    l, ab = discriminator_inputs()
    variables = drawn(model, l, ab)
    params = jax.tree.map(lambda p: 5 * p, variables["params"])

    @jax.jit
    def step(batch_stats):
        _, updated = model.apply(
            {"params": params, "batch_stats": batch_stats}, l, ab, train=True, mutable="batch_stats"
        )
        return updated["batch_stats"]

    batch_stats = variables["batch_stats"]
    for _ in range(50):
        batch_stats = step(batch_stats)
    used = kernels_as_used(model, {"params": params, "batch_stats": batch_stats}, l, ab)
    assert set(used) == {"conv0", "conv1", "conv2", "conv3", "logits"}
    for name, kernel in used.items():
        singular = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), compute_uv=False)
        np.testing.assert_allclose(singular[0], 1, rtol=0.02, err_msg=name)


def kernels_as_used(model, variables, l, ab):
    """The kernels that reach the convolutions, by the names of the layers."""

    @jax.jit
    def run(variables):
        used = {}

        def note_kernel(next_fun, args, kwargs, context):
            params = context.module.variables.get("params", {})
            if "kernel" in params:
                used[context.module.name] = params["kernel"]
            return next_fun(*args, **kwargs)

        with flax.linen.intercept_methods(note_kernel):
            model.apply(variables, l, ab)
        return used

    return jax.tree.map(np.asarray, run(variables))


@pytest.mark.parametrize("train", [True, False])
def test_the_power_iteration_is_updated_in_training_alone(train):
    model = Discriminator(WIDTH)
    inputs = discriminator_inputs()
    variables = drawn(model, *inputs)

    @jax.jit
    def updated(variables):
        return model.apply(variables, *inputs, train=train, mutable=["batch_stats"])[1]

    same = jax.tree.map(np.array_equal, updated(variables)["batch_stats"], variables["batch_stats"])
    assert all(jax.tree.leaves(same)) is not train
