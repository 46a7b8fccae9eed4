"""A run may start from a model that lacks some of its parts."""

import chex
import jax
import numpy as np
import pytest
import support
from flax.traverse_util import flatten_dict
from skimage import color

from colorjax.data import pipeline
from colorjax.models.color_bins import centers, rebalancing
from colorjax.runs.trained_model import load_run
from colorjax.runs.weights import export_weights
from colorjax.terminal.errors import InputError
from colorjax.training.color_weights import bin_weights
from colorjax.training.setup import build_plan, initial_state

WEIGHTS = np.linspace(0.5, 2, len(centers())).astype(np.float32)


@pytest.mark.parametrize("kind", ["run", "file"])
def test_new_parts_change_no_prediction(tmp_path, kind):
    path = support.trained("cnn")
    old = load_run(path, "cnn")
    if kind == "file":
        path = tmp_path / "cnn.safetensors"
        export_weights(old, path, "", "float32")
    config = support.tiny_config("cnn", init_from=str(path), hints=0.5, distribution=0.1)
    with support.quick_compilation():
        plan, state = build_plan(config), initial_state(config, WEIGHTS)
    found, expected = flatten_dict(state.ema), flatten_dict(old.variables)
    new = {path: x for path, x in found.items() if path not in expected}
    chex.assert_trees_all_equal({path: found[path] for path in expected}, expected)
    assert {path[-2:] for path in new} == {
        ("hints", "kernel"),
        ("features", "kernel"),
        ("hint_filter", "offset"),
        ("hint_filter", "sharpness"),
        ("logits", "kernel"),
        ("logits", "bias"),
        ("decoder", "bin_weights"),
    }
    for path, x in new.items():
        if "hint_filter" not in path:
            np.testing.assert_array_equal(x, WEIGHTS if path[-1] == "bin_weights" else 0 * x)
    l = 100 * np.random.default_rng(0).random((2, 32, 32, 1), np.float32)
    np.testing.assert_array_equal(
        jax.jit(plan.predict)(state.ema, l), jax.jit(old.predict)(old.variables, l)
    )


def test_a_model_that_lacks_other_parts_is_refused():
    config = support.tiny_config(
        "cnn", init_from=str(support.trained("cnn")), model__skip_connections=False
    )
    with support.quick_compilation(), pytest.raises(InputError, match="has shape"):
        initial_state(config)


def test_a_model_with_more_parts_is_refused(tmp_path):
    config = support.tiny_config("cnn", init_from=str(support.trained("cnn")), hints=0.5)
    with support.quick_compilation():
        state = initial_state(config)
    run = load_run(support.trained("cnn"), "cnn")
    changed = {**run.config, "hints": 0.5}
    path = tmp_path / "hints.safetensors"
    export_weights(run._replace(config=changed, variables=state.ema), path, "", "float32")
    plain = support.tiny_config("cnn", init_from=str(path))
    with support.quick_compilation(), pytest.raises(InputError, match=r"config\.hints above 0"):
        initial_state(plain)


def test_the_weights_of_colours_are_those_of_the_training_images():
    """As NumPy counts their nearest bins; the soft encoding blurs these a little."""
    config = support.tiny_config("cnn")
    source = pipeline.load_sources("image_folder", path=config.dataset.path).train
    found = bin_weights(source, 32)
    images = np.stack([pipeline.eval_image(source, i, 32) for i in range(len(source))])
    ab = color.rgb2lab(images)[..., 1:].reshape(len(images), 8, 4, 8, 4, 2).mean((2, 4))
    nearest = ((ab.reshape(-1, 1, 2) - centers()) ** 2).sum(-1).argmin(-1)
    expected = rebalancing(np.bincount(nearest, minlength=len(centers())))
    assert np.corrcoef(np.log(found), np.log(expected))[0, 1] > 0.8
    assert found[nearest].mean() == pytest.approx(1, abs=0.3)
