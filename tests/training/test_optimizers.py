import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from colorjax.training.optimizers import build_optimizer, learning_rate_schedule

PEAK = 3e-3


def config(**changes):
    values = {
        "learning_rate": PEAK,
        "final_share": 0.0,
        "warmup_steps": 20,
        "b1": 0.8,
        "b2": 0.95,
        "weight_decay": 0.1,
        "clip_norm": 1.0,
    }
    return ConfigDict(values | changes)


def closed_form(num_steps, warmup_steps, final_share=0.0):
    warmup = min(warmup_steps, num_steps // 10)
    for t in range(num_steps):
        if t < warmup:
            yield PEAK * (t + 1) / (warmup + 1)
        else:
            cosine = 0.5 * (1 + np.cos(np.pi * (t - warmup) / (num_steps - warmup)))
            yield PEAK * (final_share + (1 - final_share) * cosine)


@pytest.mark.parametrize("final_share", [0.0, 0.25])
@pytest.mark.parametrize("warmup_steps", [0, 1, 20])
@pytest.mark.parametrize("num_steps", [1, 2, 3, 9, 10, 11, 50, 200, 1000])
def test_the_schedule_is_a_line_and_then_a_cosine(num_steps, warmup_steps, final_share):
    """For any length."""
    settings = config(warmup_steps=warmup_steps, final_share=final_share)
    schedule = learning_rate_schedule(settings, num_steps)
    rates = np.asarray(jax.vmap(schedule)(jnp.arange(num_steps)))
    expected = list(closed_form(num_steps, warmup_steps, final_share))
    np.testing.assert_allclose(rates, expected, rtol=1e-4, atol=1e-6 * PEAK)
    # No update is lost: the end is reached after the last.
    assert np.all(rates > 0)
    assert rates[-1] > final_share * PEAK
    np.testing.assert_allclose(rates.max(), PEAK, rtol=1e-6)
    np.testing.assert_allclose(schedule(num_steps), final_share * PEAK, atol=1e-6 * PEAK)


def numpy_adamw(settings, num_steps, params, gradients):
    """Loshchilov and Hutter 2019, algorithm 2, after clipping by the global norm: float64."""
    first = second = np.zeros_like(params)
    rates = closed_form(num_steps, settings.warmup_steps)
    for t, (rate, gradient) in enumerate(zip(rates, gradients, strict=False), 1):
        gradient = gradient * min(1, settings.clip_norm / np.linalg.norm(gradient))
        first = settings.b1 * first + (1 - settings.b1) * gradient
        second = settings.b2 * second + (1 - settings.b2) * gradient**2
        step = (first / (1 - settings.b1**t)) / (np.sqrt(second / (1 - settings.b2**t)) + 1e-8)
        params = params - rate * (step + settings.weight_decay * params)
    return params


def trained(settings, num_steps, params, gradients):
    """The same with ours; the parameters are two leaves, so that the norm must be global."""
    optimizer = build_optimizer(settings, num_steps)
    tree = {"a": jnp.asarray(params[:3]), "b": jnp.asarray(params[3:])}
    opt_state = optimizer.init(tree)
    for gradient in gradients:
        gradient = {"a": jnp.asarray(gradient[:3]), "b": jnp.asarray(gradient[3:])}
        updates, opt_state = optimizer.update(gradient, opt_state, tree)
        tree = optax.apply_updates(tree, updates)
    return np.concatenate([tree["a"], tree["b"]])


def draws(steps):
    rng = np.random.default_rng(0)
    # From far below the clipping norm to far above: Adam alone would not see a common factor.
    scales = np.geomspace(0.01, 100, steps)[:, None]
    return rng.normal(size=8).astype(np.float32), (scales * rng.normal(size=(steps, 8))).astype(
        np.float32
    )


@pytest.mark.parametrize("changes", [{}, {"clip_norm": 1e6}, {"weight_decay": 0.0}])
def test_the_optimizer_equals_adamw_on_clipped_gradients_in_numpy(changes):
    settings, num_steps = config(**changes), 30
    params, gradients = draws(10)
    expected = numpy_adamw(settings, num_steps, params.astype(np.float64), gradients)
    result = trained(settings, num_steps, params, gradients)
    np.testing.assert_allclose(result - params, expected - params, rtol=1e-3, atol=1e-7)
