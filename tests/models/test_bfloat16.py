"""Computation in bfloat16: what stays float32, and how well it learns."""

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from support import quick_compilation, small_gan, tiny_config

from colorjax.data.procedural.renderer import render_face
from colorjax.parallel import devices
from colorjax.training.setup import build_plan, initial_state


def adversarial(config):
    """The config without pretraining."""
    config.generator_pretrain_steps = 0
    return config


def batch(size):
    """Eight faces, on the devices."""
    images = np.stack([render_face(0, person, 0, size) for person in range(8)])
    return devices.shard({"image": images})


def built(config):
    with quick_compilation():
        run, state = build_plan(config), initial_state(config)
    return run.adversarial_step or run.pretrain_step, state


@pytest.fixture(scope="module")
def small():
    """The step of a GAN in bfloat16, and its state."""
    return built(adversarial(small_gan(model__dtype="bfloat16")))


def test_state_and_losses_are_float32(small):
    step, state = small
    state, metrics = jax.eval_shape(step, state, batch(32))
    dtypes = {leaf.dtype for leaf in jax.tree.leaves((state, metrics))}
    assert dtypes == {jnp.dtype(name) for name in ("float32", "int32", "uint32", "bool")}


def equations(jaxpr):
    """All equations, nested ones too."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            yield from equations(inner)


def test_convolutions_are_bfloat16_and_reductions_float32(small):
    """The powers of Lab, losses, statistics, moments and sums over devices stay float32."""
    step, state = small
    found = {}
    for equation in equations(jax.make_jaxpr(step)(state, batch(32)).jaxpr):
        types = {v.aval.dtype.name for v in equation.invars if hasattr(v.aval, "dtype")}
        found.setdefault(equation.primitive.name, set()).update(types)
    assert found["conv_general_dilated"] == {"bfloat16"}
    for name in ("exp", "log", "log1p", "abs", "sqrt", "rsqrt", "psum", "psum_invariant"):
        assert "bfloat16" not in found.get(name, ()), name
    assert {"exp", "log", "log1p", "abs", "sqrt", "rsqrt"} <= set(found)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["cnn", "resnet", "gan"])
def test_bfloat16_learns_as_well_as_float32(model):
    """By the regression loss on eight faces after 60 steps."""
    last = {}
    for dtype in ("float32", "bfloat16"):
        config = tiny_config(model, num_steps=60, model__width=1 / 8, model__dtype=dtype)
        step, state = built(adversarial(config))
        losses = []
        for _ in range(60):
            state, metrics = step(state, batch(32))
            losses.append(float(metrics["loss"]))
        last[dtype] = np.mean(losses[-5:])
        assert last[dtype] < 0.7 * losses[0]
    assert last["bfloat16"] == pytest.approx(last["float32"], rel=0.05)
