"""Models and training steps compared with those in PyTorch, from the same weights."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import quick_compilation, small_gan, tiny_config

from colorjax.benchmark.flops import step_flops
from colorjax.parallel import devices
from colorjax.training.setup import build_plan, initial_state
from colorjax.training.state import TrainState

torch = pytest.importorskip("torch", reason="the extra `parity` (PyTorch) is not installed")

from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from colorjax.benchmark import torch_models, torch_steps  # noqa: E402

SIZE = 64
# The two draw different random numbers, so the discriminator sees images that are not augmented.
NOT_AUGMENTED = {"gan__augment_shift": 0.0, "gan__augment_cut": 0.0}
CASES = [
    pytest.param(partial(tiny_config, "cnn"), id="encoder_decoder"),
    pytest.param(partial(tiny_config, "cnn", model__output_stride=4), id="quarter of the size"),
    pytest.param(partial(small_gan, **NOT_AUGMENTED), id="gan of encoder_decoder"),
    # Takes most of a minute to compile.
    pytest.param(partial(tiny_config, "gan", **NOT_AUGMENTED), id="gan", marks=pytest.mark.slow),
]


def images(seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (8, SIZE, SIZE, 3), np.uint8)


def drawn(tree, seed=0):
    """The tree with other random numbers, so that no scale is one and no mean is zero."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        name = jax.tree_util.keystr(path)
        if "kernel" in name:
            return leaf * 1.0 if np.any(leaf) else rng.normal(0, 0.1, leaf.shape)
        return np.abs(leaf + rng.normal(0, 0.2, leaf.shape)) + 0.1

    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.asarray(draw(path, np.asarray(leaf)), leaf.dtype), tree
    )


class Pair(NamedTuple):
    """A step in JAX and in PyTorch, from the same state on the same images."""

    config: Any
    state: TrainState
    metrics: dict
    trainer: torch_steps.TorchTrainer
    losses: dict
    flops: int

    def nets(self):
        """Yields each network in JAX, in PyTorch, and the latter's optimizer."""
        theirs = self.trainer
        yield self.state.generator, theirs.generator, theirs.optimizer
        if theirs.discriminator is not None:
            yield self.state.discriminator, theirs.discriminator, theirs.d_optimizer


@pytest.fixture(scope="module", params=CASES)
def pair(request):
    config = request.param(image_size=SIZE)
    with quick_compilation(), jax.default_matmul_precision("highest"):
        run, state = build_plan(config), initial_state(config)
        g, d = state.generator, state.discriminator
        g = g.replace(params=drawn(g.params), batch_stats=drawn(g.batch_stats))
        if d is not None:
            d = d.replace(params=drawn(d.params))
        trainer = torch_steps.TorchTrainer(config)
        load(trainer.generator, g)
        if trainer.discriminator is not None:
            load(trainer.discriminator, d)
        state = devices.replicate(state.replace(generator=g, discriminator=d))
        step = run.adversarial_step or run.pretrain_step
        updated, metrics = jax.device_get(step(state, devices.shard({"image": images()})))
    with FlopCounterMode(display=False) as counter:
        losses = trainer.step(torch.from_numpy(images()))
    counts = counter.get_flop_counts()["Global"]
    flops = sum(count for name, count in counts.items() if "convolution" in str(name))
    return Pair(config, updated, metrics, trainer, losses, flops)


def load(module, net):
    """Sets every tensor except the counts of batches."""
    variables = {"params": net.params, "batch_stats": net.batch_stats}
    missing, unexpected = module.load_state_dict(torch_models.state_dict(variables), strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)


def relative_error(ours, theirs) -> float:
    """The largest difference divided by the largest value."""
    ours, theirs = ours.detach(), theirs.detach()
    return float((ours - theirs).abs().max() / theirs.abs().max())


def test_losses_are_equal(pair):
    for name, value in pair.losses.items():
        assert float(value) == pytest.approx(float(pair.metrics[name]), rel=1e-5), name


def test_numbers_of_parameters_are_equal(pair):
    for ours, theirs, _ in pair.nets():
        count = sum(leaf.size for leaf in jax.tree.leaves(ours.params))
        assert sum(parameter.numel() for parameter in theirs.parameters()) == count


def test_gradients_are_equal(pair):
    """The clipped gradients are Adam's first moments after the first step."""
    for ours, theirs, optimizer in pair.nets():
        (adam,) = (state for state in ours.opt_state[1] if hasattr(state, "mu"))
        moments = torch_models.state_dict({"params": adam.mu})
        for name, parameter in theirs.named_parameters():
            found = relative_error(moments[name], optimizer.state[parameter]["exp_avg"])
            assert found < 1e-3, name


def test_updated_parameters_and_statistics_are_equal(pair):
    """Except the running variance: PyTorch divides the batch's by n - 1, Flax by n."""
    for ours, theirs, _ in pair.nets():
        variables = {"params": ours.params, "batch_stats": ours.batch_stats}
        updated = theirs.state_dict()
        for name, tensor in torch_models.state_dict(variables).items():
            tolerance = 0.05 if name.endswith("running_var") else 1e-3
            assert relative_error(tensor, updated[name]) < tolerance, name


def test_numbers_of_operations_and_averages_are_equal(pair):
    assert step_flops(pair.config) == pair.flops
    assert len(pair.trainer.ema) == len(jax.tree.leaves(pair.state.ema))


def test_what_the_discriminator_sees_is_shifted_and_cut():
    """By integers: the remaining values of an image of numbers show by how many pixels."""
    numbers = 1 + torch.arange(SIZE * SIZE).reshape(1, 1, SIZE, SIZE).repeat(16, 1, 1, 1)
    seen = torch_steps.translate_and_cut(numbers, max_shift=0.125, cut=0.25)
    shifts = set()
    for image in seen:
        kept = image != 0
        (shift,) = set((numbers[:1] - image)[0][kept].tolist())
        shifts.add(shift)
        # At most a border and a square are blank.
        assert kept.float().mean() > (1 - 0.125) ** 2 - 0.25**2 - 0.01
        assert not kept.all()
    assert len(shifts) > 8
