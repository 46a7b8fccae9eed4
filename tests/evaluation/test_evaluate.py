"""Metrics of data sets, against loops over images in float64 with scikit-image."""

import json
import subprocess
import sys
import warnings
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
import support
from skimage.color import deltaE_ciede2000, lab2rgb, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from colorjax.data import pipeline
from colorjax.data.procedural.renderer import render_face
from colorjax.evaluation import evaluate, scores, steps
from colorjax.evaluation.evaluate import Candidate
from colorjax.parallel import devices

SIZE = 32
COUNT = 11
# Warm shadows and cold lights. Some colours are outside sRGB and must be clipped.
SLOPE, OFFSET = np.array([-0.7, -0.75]), np.array([45.0, 45.0])


@pytest.fixture(autouse=True, scope="module")
def _quick_compilation():
    with support.quick_compilation():
        yield


def _faces(size):
    """[11, size, size, 3] uint8: faces of different people."""
    return np.stack([pipeline.resize(render_face(1, i, 0, 64), size) for i in range(COUNT)])


@pytest.fixture(scope="module")
def images():
    return _faces(SIZE)


def _batches(images, batch_size):
    for start in range(0, len(images), batch_size):
        image = images[start : start + batch_size]
        pad = batch_size - len(image)
        # The padding must not count, so it is not black.
        filler = np.full((pad, *image.shape[1:]), (255, 0, 90), np.uint8)
        yield {
            "image": np.concatenate([image, filler]),
            "mask": np.arange(batch_size) < len(image),
            "index": np.arange(start, start + batch_size, dtype=np.int32),
        }


def _linear(variables, l):
    slope, offset = (variables[key].reshape(1, 1, 1, 2) for key in ("slope", "offset"))
    return l * slope + offset


def _grey(variables, l):
    return jnp.zeros((*l.shape[:-1], 2))


def _candidate(name="linear", predict=_linear, image_size=SIZE, damage=None):
    table = {"slope": jnp.float32(SLOPE), "offset": jnp.float32(OFFSET)}
    see = partial(steps.seen_step, damage=damage) if damage else steps.seen_step
    return Candidate(name, predict, devices.replicate(table), image_size, see)


def _score(images, batch_size, *candidates):
    candidates = candidates or (_candidate(),)
    return evaluate.score(candidates, lambda size: _batches(images, batch_size))


@pytest.fixture(scope="module")
def scored(images):
    return _score(images, 8)


@pytest.fixture(scope="module")
def metrics(scored):
    return scores.metrics_of(scored)["linear"]


def _colorfulness(rgb):
    r, g, b = 255 * np.moveaxis(rgb, -1, 0)
    rg, yb = r - g, (r + g) / 2 - b
    return np.sqrt(rg.var() + yb.var()) + 0.3 * np.sqrt(rg.mean() ** 2 + yb.mean() ** 2)


def _bins(labs):
    return np.clip(np.floor(np.stack(labs)[..., 1:] / 10).astype(int) + 11, 0, 21)


def _histogram(labs):
    counts = np.zeros((22, 22))
    for a, b in _bins(labs).reshape(-1, 2):
        counts[a, b] += 1
    return counts / counts.sum()


def _reference(images, predict):
    """The definitions, image by image, with scikit-image in float64."""
    values = {
        key: []
        for key in ["mse", "5", "10", "20", "auc", "delta_e", "psnr", "ssim", "cf", "difference"]
    }
    shown_labs, true_labs, errors = [], [], []
    for image in images:
        rgb = image / 255
        lab = rgb2lab(rgb)
        predicted = np.concatenate([lab[..., :1], predict(lab[..., :1])], axis=-1)
        with warnings.catch_warnings():  # about negative Z, outside sRGB
            warnings.simplefilter("ignore")
            shown = np.round(np.clip(lab2rgb(predicted), 0, 1) * 255) / 255
        shown_lab = rgb2lab(shown)
        difference = shown_lab[..., 1:] - lab[..., 1:]
        error = np.sqrt((difference**2).sum(-1))
        values["mse"].append((difference**2).mean())
        for tau in (5, 10, 20):
            values[str(tau)].append((error > tau).mean())
        values["auc"].append(100 * np.mean([(error <= tau).mean() for tau in range(151)]))
        values["delta_e"].append(deltaE_ciede2000(shown_lab, lab).mean())
        values["psnr"].append(
            peak_signal_noise_ratio(image, np.round(255 * shown).astype(np.uint8))
        )
        values["ssim"].append(
            structural_similarity(
                rgb, shown, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
                data_range=1, channel_axis=-1,
            )
        )  # fmt: skip
        values["cf"].append(_colorfulness(shown))
        values["difference"].append(_colorfulness(shown) - _colorfulness(rgb))
        shown_labs.append(shown_lab)
        true_labs.append(lab)
        errors.append(error)
    frequency = _histogram(true_labs)
    weights = 1 / frequency[tuple(np.moveaxis(_bins(true_labs), -1, 0))]
    shares = [(weights * (np.stack(errors) <= tau)).sum() / weights.sum() for tau in range(151)]
    return {
        "mse": np.mean(values["mse"]),
        "threshold_loss_5": np.mean(values["5"]),
        "threshold_loss_10": np.mean(values["10"]),
        "threshold_loss_20": np.mean(values["20"]),
        "auc": np.mean(values["auc"]),
        "rebalanced_auc": 100 * np.mean(shares),
        "delta_e": np.mean(values["delta_e"]),
        "psnr": np.mean(values["psnr"]),
        "ssim": np.mean(values["ssim"]),
        "colorfulness": np.mean(values["cf"]),
        "delta_cf": abs(np.mean(values["difference"])),
        "delta_cf_image": np.mean(np.abs(values["difference"])),
        "histogram_distance": 0.5 * np.abs(_histogram(shown_labs) - frequency).sum(),
    }


def test_metrics_equal_a_loop_in_float64(images, metrics):
    expected = _reference(images, lambda l: l * SLOPE + OFFSET)
    assert list(metrics) == list(scores.METRICS) == list(expected)
    # One pixel in some thousand rounds to another 8-bit value, or lies on the edge of a bin.
    assert metrics == pytest.approx(expected, rel=2e-3, abs=2e-3)
    # With these predictions clipping matters and no metric is trivial.
    assert 0.05 < metrics["threshold_loss_20"] < 0.95
    assert metrics["delta_cf_image"] > metrics["delta_cf"] + 0.1
    assert abs(metrics["rebalanced_auc"] - metrics["auc"]) > 1


def test_metrics_of_the_truth_are_perfect(images):
    """All images are the same, and the predictor returns its a*b*."""
    one = np.repeat(images[:1], 8, axis=0)
    ab = rgb2lab(images[0] / 255)[None, ..., 1:].astype(np.float32)

    def truth(variables, l):
        return jnp.broadcast_to(ab, (*l.shape[:-1], 2))

    got = scores.metrics_of(_score(one, 8, _candidate("truth teller", truth)))["truth teller"]
    perfect = {"auc": 100, "rebalanced_auc": 100, "psnr": 100, "ssim": 1}
    perfect["colorfulness"] = _colorfulness(images[0] / 255)
    assert got == pytest.approx(dict.fromkeys(got, 0) | perfect, rel=1e-4, abs=1e-3)


def test_metrics_do_not_depend_on_padding_and_the_batch_size(images, metrics):
    # 11 images: padded by 5 in the fixture, by 13 here, over 8 devices each.
    again = scores.metrics_of(_score(images, 24))["linear"]
    assert again == pytest.approx(metrics, rel=1e-5, abs=1e-5)


def test_images_keep_their_order(images, scored):
    expected = [_colorfulness(image / 255) for image in images]
    truth = scored.images[scores.TRUTH]["colorfulness"]
    np.testing.assert_allclose(truth, expected, rtol=1e-4)
    backwards = _score(images[::-1], 8).images["linear"]["mse"]
    np.testing.assert_allclose(backwards[::-1], scored.images["linear"]["mse"], rtol=1e-5)


def test_candidates_do_not_influence_one_another_and_keep_their_order(images, metrics):
    both = scores.metrics_of(_score(images, 8, _candidate("z", _grey), _candidate()))
    assert list(both) == ["z", "linear"]
    assert both["linear"] == pytest.approx(metrics, rel=1e-5, abs=1e-5)
    assert both["z"]["colorfulness"] == pytest.approx(0, abs=0.2)


def test_candidates_see_the_images_at_their_own_size_and_are_compared_at_the_largest(images):
    """A prediction at 32 is enlarged, which changes nothing for a model with one colour."""
    sizes = []

    def one_color(variables, l):
        sizes.append(l.shape[1])
        return jnp.zeros((*l.shape[:-1], 2)) + jnp.float32([12.0, 17.0]).reshape(1, 1, 1, 2)

    small, large = (_candidate(str(size), one_color, image_size=size) for size in (32, 64))
    by_size = {32: images, 64: _faces(64)}
    both = evaluate.score([small, large], lambda size: _batches(by_size[size], 8))
    found = scores.metrics_of(both)
    assert set(sizes) == {32, 64}
    assert found["32"] == pytest.approx(found["64"], rel=1e-6)
    alone = evaluate.score([small], lambda size: _batches(by_size[size], 8), image_size=64)
    assert scores.metrics_of(alone)["32"] == pytest.approx(found["32"], rel=1e-6)


def test_a_network_is_compiled_once_and_runs_once_a_batch_with_its_scaled_form(images):
    traced = []

    def predict(variables, l):
        traced.append(l.shape)
        return _linear(variables, l)

    model = _candidate("model", predict)
    both = model._replace(scaled=evaluate.Scaled("scaled", 0.5, (0.0, 1.0)))
    found = _score(images, 8, both)
    assert found.names == ["model", "scaled"]
    again = _score(images, 8, model)
    assert found.images["model"]["mse"].tolist() == again.images["model"]["mse"].tolist()
    assert len(traced) == 1


ONE_DEVICE = """
import json, sys
import jax, numpy as np
import test_evaluate
from colorjax.evaluation import scores
assert jax.device_count() == 1
images = np.load(sys.argv[1])
print(json.dumps(scores.metrics_of(test_evaluate._score(images, 11))["linear"]))
"""


def test_one_device_gives_the_metrics_of_eight(tmp_path, images, metrics):
    np.save(tmp_path / "images.npy", images)
    tests = str(support.ROOT / "tests")
    environment = {**support.environment(), "JAX_NUM_CPU_DEVICES": "1"}
    environment["PYTHONPATH"] += f":{tests}:{tests}/evaluation"
    done = subprocess.run(
        [sys.executable, "-c", ONE_DEVICE, str(tmp_path / "images.npy")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert metrics == pytest.approx(json.loads(done.stdout.splitlines()[-1]), rel=1e-5, abs=1e-5)


def _pale(variables, l):
    return 0.2 * _linear(variables, l)


def test_the_scaled_regression_is_as_colourful_as_the_truth_on_the_fitting_images(images):
    pale = evaluate.with_scaled(_candidate("pale", _pale), "scaled", _batches(images, 8))
    together = _score(images, 8, pale)
    got = scores.metrics_of(together)
    truth = np.mean([_colorfulness(image / 255) for image in images])
    assert got["scaled"]["colorfulness"] == pytest.approx(truth, rel=2e-3)
    assert got["scaled"]["delta_cf"] < 2e-3 * truth
    assert got["pale"]["colorfulness"] < 0.5 * truth
    # The curve starts at grey and contains both.
    factor, curve = pale.scaled.factor, pale.scaled.curve
    assert curve[0] == 0
    assert {1.0, factor} <= set(curve)
    values = scores.statistics(together, np.ones((1, COUNT)))["pale"]
    for at, name in ((1.0, "pale"), (factor, "scaled")):
        bias, loss = (values[key][0, curve.index(at)] for key in ("curve_bias_cf", "curve_loss"))
        assert truth + bias == pytest.approx(got[name]["colorfulness"], rel=1e-4)
        assert loss == pytest.approx(got[name]["threshold_loss_10"], abs=1e-3)


def test_predictions_do_not_depend_on_the_padding(images):
    l = rgb2lab(images / 255)[..., :1]
    for batch_size in (8, 16):
        found = evaluate.predictions(_candidate(), images, range(COUNT), batch_size)
        np.testing.assert_allclose(found, l * SLOPE + OFFSET, atol=1e-3)


def _negative(l, indices):
    return 100 - l


def _by_index(l, indices):
    return l + 3.0 * indices.reshape(-1, 1, 1, 1).astype(jnp.float32)


def test_a_model_sees_damaged_l_and_is_compared_at_that_of_the_truth(images):
    found = scores.metrics_of(_score(images, 8, _candidate(damage=_negative)))["linear"]
    expected = _reference(images, lambda l: (100 - l) * SLOPE + OFFSET)
    assert found == pytest.approx(expected, rel=2e-3, abs=2e-3)


def test_damage_depends_on_the_image_index_and_not_on_the_batches(images):
    candidate = _candidate(damage=_by_index)
    l = rgb2lab(images / 255)[..., :1] + 3.0 * np.arange(COUNT).reshape(-1, 1, 1, 1)
    for chosen in (list(range(COUNT)), [9, 2]):
        found = evaluate.predictions(candidate, images[chosen], chosen, 8)
        np.testing.assert_allclose(found, l[chosen] * SLOPE + OFFSET, atol=1e-3)


def test_one_network_sees_damaged_and_undamaged_inputs_in_one_pass(images, metrics):
    found = scores.metrics_of(_score(images, 8, _candidate(), _candidate("d", damage=_negative)))
    assert found["linear"] == pytest.approx(metrics, rel=1e-5, abs=1e-5)
    assert abs(found["d"]["mse"] - metrics["mse"]) > 0.1


def test_the_baselines_are_the_means_of_the_fitting_images(images):
    baselines = evaluate.constant_baselines(_batches(images, 8), SIZE)
    names = ["grey", "mean colour", "mean colour for each lightness"]
    assert [baseline.name for baseline in baselines] == names
    grey, mean, by_lightness = (
        evaluate.predictions(b, images, range(COUNT), 16) for b in baselines
    )
    lab = rgb2lab(images / 255.0)
    np.testing.assert_array_equal(grey, 0)
    expected = np.broadcast_to(lab[..., 1:].mean((0, 1, 2)), mean.shape)
    np.testing.assert_allclose(mean, expected, atol=1e-3)
    # A common lightness.
    at = np.abs(lab[..., 0] - 50) < 0.49
    of_level = lab[np.round(lab[..., 0]) == 50][:, 1:]
    np.testing.assert_allclose(by_lightness[at][0], of_level.mean(0), atol=0.02)
