"""The metrics of each image against scikit-image, smaller predictions, and saturations."""

import chex
import jax
import numpy as np
import pytest
import support
import tiny

from colorjax.evaluation import steps as eval_steps
from colorjax.lab import rgb_to_lab


@pytest.fixture(autouse=True, scope="module")
def _quick_compilation():
    with support.quick_compilation():
        yield


@pytest.fixture(scope="module")
def evaluated():
    """A function of images and a*b*: the metrics of these a*b*, of grey, and of the truth."""
    compiled, truth = jax.jit(eval_steps.metrics_step), jax.jit(eval_steps.truth_step)

    def evaluate(images, ab):
        batch = {"image": images, "ab": ab}
        # Waits for the results: tests change the arrays afterwards.
        return jax.device_get(
            {
                "given": compiled(1.0, batch),
                "grey": compiled(0.0, batch),
                "truth": truth({"image": images}),
            }
        )

    return evaluate


def true_ab(images):
    return np.asarray(rgb_to_lab(images.astype(np.float32) / 255)[..., 1:])


def test_metrics_of_an_image_do_not_depend_on_the_others(evaluated):
    images, others = tiny.images(4), tiny.images(4, seed=1)
    ab = np.roll(true_ab(images), 1, axis=0)
    found = evaluated(images, ab)
    images[2:], ab[2:] = others[2:], 50
    changed = evaluated(images, ab)
    first, second = (jax.tree.map(lambda x: np.asarray(x[:2]), f) for f in (found, changed))
    chex.assert_trees_all_equal(first, second)
    assert np.all(found["given"]["mse"][2:] != changed["given"]["mse"][2:])


def test_smaller_predictions_are_enlarged_smoothly(evaluated):
    images = tiny.images(2)
    flat = np.zeros((2, 16, 16, 2), np.float32) + np.float32([10, 20])
    large = np.zeros((2, 32, 32, 2), np.float32) + np.float32([10, 20])
    chex.assert_trees_all_close(
        evaluated(images, flat)["given"], evaluated(images, large)["given"], rtol=1e-5
    )


def test_saturations_are_the_metrics_of_scaled_predictions():
    images = tiny.images(4)
    ab = np.roll(true_ab(images), 1, axis=0)
    factors = np.float32([0.0, 0.5, 1.0, 1.7])
    batch = {"image": images, "ab": ab}
    curve = jax.jit(eval_steps.saturation_step)(factors, batch)
    compiled = jax.jit(eval_steps.metrics_step)
    for k, factor in enumerate(factors):
        expected = compiled(factor, batch)
        np.testing.assert_allclose(
            curve["threshold_loss_10"][:, k], expected["threshold_loss"][:, 1], atol=1e-3
        )
        np.testing.assert_allclose(
            curve["colorfulness"][:, k], expected["colorfulness"], rtol=1e-4, atol=1e-4
        )
