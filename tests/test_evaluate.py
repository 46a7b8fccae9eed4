"""Figures of whole data sets, against loops over images in float64."""

import json
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
import support
from skimage.color import lab2rgb, rgb2lab

from colorjax import evaluate, parallel
from colorjax.data import pipeline
from colorjax.data.face_renderer import render_face

SIZE = 32
COUNT = 11


@pytest.fixture(scope="module")
def images():
    """[11, 32, 32, 3] uint8: faces of different people."""
    return np.stack([pipeline.resize(render_face(1, i, 0, 64), SIZE) for i in range(COUNT)])


def _batches(images, batch_size):
    for start in range(0, len(images), batch_size):
        image = images[start : start + batch_size]
        pad = batch_size - len(image)
        # What the padding shows must not count, so it shows something.
        filler = np.full((pad, *image.shape[1:]), (255, 0, 90), np.uint8)
        yield {
            "image": np.concatenate([image, filler]),
            "mask": np.arange(batch_size) < len(image),
        }


# Warm shadows, cold lights; some colours lie outside sRGB, and have to be clipped.
TABLE = {"slope": np.array([-0.7, -0.75]), "offset": np.array([45.0, 45.0])}


def _linear(variables, l):
    return l * variables["slope"].reshape(1, 1, 1, 2) + variables["offset"].reshape(1, 1, 1, 2)


def _jax_linear(variables, l):
    return _linear({k: jnp.asarray(v, jnp.float32) for k, v in variables.items()}, l)


def _evaluate(images, batch_size, predictors=None):
    variables = parallel.replicate({k: jnp.asarray(v, jnp.float32) for k, v in TABLE.items()})
    predictors = predictors or {"linear": _jax_linear}
    return evaluate.evaluator(predictors)(variables, _batches(images, batch_size))


@pytest.fixture(scope="module")
def figures(images):
    return _evaluate(images, 8)


def _colorfulness(rgb):
    r, g, b = 255 * np.moveaxis(rgb, -1, 0)
    rg, yb = r - g, (r + g) / 2 - b
    return np.sqrt(rg.var() + yb.var()) + 0.3 * np.sqrt(rg.mean() ** 2 + yb.mean() ** 2)


def _histogram(labs):
    bins = np.clip(np.floor(np.stack(labs)[..., 1:] / 10).astype(int) + 11, 0, 21).reshape(-1, 2)
    counts = np.zeros((22, 22))
    for a, b in bins:
        counts[a, b] += 1
    return counts / counts.sum()


def _reference(images, predict):
    """The definitions, image by image, by scikit-image in float64."""
    values = {"mse": [], "5": [], "10": [], "20": [], "colorfulness": [], "difference": []}
    shown_labs, true_labs = [], []
    for image in images:
        rgb = image / 255
        lab = rgb2lab(rgb)
        predicted = np.concatenate([lab[..., :1], predict(lab[None, ..., :1])[0]], axis=-1)
        # skimage clips to [0, 1]; out of the gamut it may warn of negative Z.
        shown = np.round(np.clip(_quiet_lab2rgb(predicted), 0, 1) * 255) / 255
        shown_lab = rgb2lab(shown)
        difference = shown_lab[..., 1:] - lab[..., 1:]
        error = np.sqrt((difference**2).sum(-1))
        values["mse"].append((difference**2).mean())
        for tau in (5, 10, 20):
            values[str(tau)].append((error > tau).mean())
        values["colorfulness"].append(_colorfulness(shown))
        values["difference"].append(_colorfulness(shown) - _colorfulness(rgb))
        shown_labs.append(shown_lab)
        true_labs.append(lab)
    return {
        "mse": np.mean(values["mse"]),
        "threshold_loss_5": np.mean(values["5"]),
        "threshold_loss_10": np.mean(values["10"]),
        "threshold_loss_20": np.mean(values["20"]),
        "delta_cf": abs(np.mean(values["difference"])),
        "delta_cf_image": np.mean(np.abs(values["difference"])),
        "colorfulness": np.mean(values["colorfulness"]),
        "histogram_distance": 0.5 * np.abs(_histogram(shown_labs) - _histogram(true_labs)).sum(),
    }


def _quiet_lab2rgb(lab):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return lab2rgb(lab)


def test_figures_equal_a_loop_in_float64(images, figures):
    expected = _reference(images, lambda l: _linear(TABLE, l))
    assert figures["linear"].keys() == expected.keys()
    # A pixel in some thousand rounds to another of the 8-bit values, or lies on the edge of a bin.
    assert figures["linear"] == pytest.approx(expected, rel=2e-3, abs=2e-3)
    # The predictions are such that clipping matters, and that no figure is trivial.
    assert 0.05 < figures["linear"]["threshold_loss_20"] < 0.95
    assert figures["linear"]["delta_cf_image"] > figures["linear"]["delta_cf"] + 0.1


def test_figures_of_the_truth_are_perfect(images):
    """A predictor that knows the answer: the images are one, and its a*b* are given."""
    one = np.repeat(images[:1], 8, axis=0)
    ab = rgb2lab(images[0] / 255)[None, ..., 1:].astype(np.float32)

    def truth(variables, l):
        return jnp.broadcast_to(ab, (*l.shape[:-1], 2))

    got = _evaluate(one, 8, {"truth teller": truth})["truth teller"]
    colorfulness = got.pop("colorfulness")
    assert got == pytest.approx(dict.fromkeys(got, 0), abs=1e-3)
    assert colorfulness == pytest.approx(_colorfulness(images[0] / 255), rel=1e-4)


def test_padding_and_the_size_of_batches_change_nothing(images, figures):
    # 11 images: padded by 5 in the fixture, by 5 and by 13 here, over 8 devices each.
    for batch_size in (16, 24):
        assert _evaluate(images, batch_size)["linear"] == pytest.approx(
            figures["linear"], rel=1e-5, abs=1e-6
        )


def test_predictors_do_not_influence_one_another(images, figures):
    def grey(variables, l):
        return jnp.zeros((*l.shape[:-1], 2))

    both = _evaluate(images, 8, {"grey": grey, "linear": _jax_linear})
    assert list(both) == ["grey", "linear"]
    assert both["linear"] == pytest.approx(figures["linear"], rel=1e-5, abs=1e-6)
    assert both["grey"]["colorfulness"] == pytest.approx(0, abs=0.2)


ONE_DEVICE = """
import json, sys
import jax, numpy as np
import test_evaluate
assert jax.device_count() == 1
print(json.dumps(test_evaluate._evaluate(np.load(sys.argv[1]), 11)["linear"]))
"""


def test_eight_devices_equal_one(tmp_path, images, figures):
    np.save(tmp_path / "images.npy", images)
    tests = str(support.ROOT / "tests")
    environment = {**support.environment(), "JAX_NUM_CPU_DEVICES": "1"}
    environment["PYTHONPATH"] += f":{tests}"
    done = subprocess.run(
        [sys.executable, "-c", ONE_DEVICE, str(tmp_path / "images.npy")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert figures["linear"] == pytest.approx(
        json.loads(done.stdout.splitlines()[-1]), rel=1e-5, abs=1e-6
    )


def test_the_scaled_regression_is_as_colourful_as_the_truth_on_the_fitting_images(images):
    variables = parallel.replicate({k: jnp.asarray(v, jnp.float32) for k, v in TABLE.items()})

    def pale(variables, l):
        return 0.2 * _jax_linear(variables, l)

    scaled = evaluate.scaled(pale, variables, _batches(images, 8))
    got = evaluate.evaluator({"pale": pale, "scaled": scaled})(variables, _batches(images, 8))
    truth = np.mean([_colorfulness(image / 255) for image in images])
    assert got["scaled"]["colorfulness"] == pytest.approx(truth, rel=2e-3)
    assert got["scaled"]["delta_cf"] < 2e-3 * truth
    assert got["pale"]["colorfulness"] < 0.5 * truth
    # A multiple of what it scales.
    l = jnp.full((1, 2, 2, 1), 40.0)
    ratio = scaled(variables, l) / pale(variables, l)
    assert float(ratio.min()) == pytest.approx(float(ratio.max()), rel=1e-5)


def test_the_baselines_are_the_means_of_the_fitting_images(images):
    predictors = evaluate.constant_baselines(_batches(images, 8))
    assert list(predictors) == ["grey", "mean colour", "mean colour for each lightness"]
    lab = rgb2lab(images / 255.0)
    l = jnp.asarray(lab[..., :1], jnp.float32)
    np.testing.assert_array_equal(predictors["grey"]({}, l), 0)
    np.testing.assert_allclose(
        predictors["mean colour"]({}, l)[0, 0, 0], lab[..., 1:].mean((0, 1, 2)), atol=1e-3
    )
    # The mean of a lightness that is common, without its edges where float32 rounds otherwise.
    level = 50
    of_level = lab[np.round(lab[..., 0]) == level][:, 1:]
    np.testing.assert_allclose(
        predictors["mean colour for each lightness"]({}, jnp.full((1, 1, 1, 1), 50.0))[0, 0, 0],
        of_level.mean(0),
        atol=0.02,
    )


def test_on_faces_each_baseline_beats_the_one_before_it(images):
    predictors = evaluate.constant_baselines(_batches(images, 8))
    got = evaluate.evaluator(predictors)(evaluate.NO_VARIABLES, _batches(images, 8))
    grey, mean, lightness = got.values()
    assert grey["mse"] > 1.05 * mean["mse"] > 1.05 * lightness["mse"]
    assert grey["delta_cf"] > mean["delta_cf"]
    assert grey["colorfulness"] < 0.2
