"""Intervals against closed forms, paired differences, groups of images, curves and damage."""

import numpy as np
import pytest
from scipy import sparse

from colorjax.evaluation import scores
from colorjax.evaluation.scores import TRUTH, Scores
from colorjax.report import bootstrap, findings


def _predictor(rng, count, shift=0.0, noise=None):
    """Metrics that differ from image to image; two predictors may share their noise."""
    own = rng.normal(0, 1, count) if noise is None else noise
    histogram = rng.integers(0, 20, (count, 484)).astype(np.float32)
    return {
        "mse": 100 + 10 * own + shift,
        "threshold_loss": np.stack([0.7 + 0.1 * own, 0.4 + 0.1 * own + shift, 0.2 + 0 * own], 1),
        "auc": 90 + own,
        "auc_by_color": sparse.csr_array(histogram * 0.9),
        "delta_e": 8 + own,
        "psnr": 25 + own,
        "ssim": 0.9 + 0.01 * own,
        "colorfulness": 30 + 5 * own,
        "skin_ab": rng.normal(15, 4, (count, 2)),
        "skin_delta_e": 5 + own,
        "histogram": sparse.csr_array(histogram),
    }


def _scores(count=200, seed=0, **predictors):
    rng = np.random.default_rng(seed)
    truth = {
        "colorfulness": 40 + rng.normal(0, 5, count),
        "lightness": rng.uniform(20, 80, count),
        "skin_share": np.full(count, 0.5),
        "skin_l": rng.uniform(20, 80, count),
        "skin_ab": rng.normal(15, 4, (count, 2)),
        "histogram": sparse.csr_array(rng.integers(0, 20, (count, 484)).astype(np.float32)),
    }
    images = {TRUTH: truth} | {
        name: _predictor(rng, count, **changes) for name, changes in predictors.items()
    }
    sums = {name: {"errors": np.ones(152), "colors": np.ones((110, 110))} for name in images}
    return Scores(images, sums)


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution():
    of = _scores(400, a={})
    low, high = bootstrap.intervals(bootstrap.resampled(of))["a"]["mse"]
    values = of.images["a"]["mse"]
    error = values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_every_metric_lies_in_its_interval():
    of = _scores(100, a={}, b={"shift": 0.02})
    found, metrics = bootstrap.intervals(bootstrap.resampled(of)), scores.metrics_of(of)
    for name in ("a", "b"):
        assert list(found[name]) == list(scores.METRICS)
        for metric, (low, high) in found[name].items():
            assert low <= metrics[name][metric] <= high, metric
            assert low < high or metric == "threshold_loss_20"


def test_a_pair_with_shared_noise_differs_although_its_intervals_overlap():
    noise = np.random.default_rng(7).normal(size=200)
    of = _scores(200, a={"noise": noise}, b={"noise": noise, "shift": 0.01})
    values = bootstrap.resampled(of)
    ends = bootstrap.intervals(values)
    assert ends["a"]["threshold_loss_10"][1] > ends["b"]["threshold_loss_10"][0]
    found = {row["metric"]: row for row in bootstrap.comparisons(values, [("a", "b")])}
    assert found["threshold_loss_10"]["real"]
    assert found["threshold_loss_10"]["difference"] == pytest.approx(-0.01)
    assert found["threshold_loss_10"]["interval"] == pytest.approx((-0.01, -0.01))
    # Equal metrics are not told apart.
    assert not found["delta_e"]["real"]
    assert found["delta_e"]["interval"] == pytest.approx((0, 0))


def test_the_interval_of_delta_cf_starts_at_zero_for_a_model_as_colourful_as_the_truth():
    of = _scores(100, a={})
    of.images["a"]["colorfulness"] = of.images[TRUTH]["colorfulness"] + np.tile([3.0, -3.0], 50)
    low, high = bootstrap.intervals(bootstrap.resampled(of))["a"]["delta_cf"]
    assert low == 0
    assert 0.3 < high < 1.2


def test_draws_do_not_depend_on_the_size_of_chunks(monkeypatch):
    of = _scores(50, a={})
    first, again = (bootstrap.resampled(of, count=30)["a"] for _ in range(2))
    monkeypatch.setattr(bootstrap, "MAX_WEIGHTS", 350)
    chunked = bootstrap.resampled(of, count=30)["a"]
    for key, values in first.items():
        np.testing.assert_array_equal(values, again[key])
        np.testing.assert_allclose(values, chunked[key], rtol=1e-9, atol=1e-12)
        assert values.shape == (31,)
        if key in scores.METRICS:
            assert values[0] == pytest.approx(scores.metrics_of(of)["a"][key])


def test_skin_variety_is_the_slope_of_predicted_on_true_skin():
    of = _scores(100, half={}, beige={})
    true = of.images[TRUTH]["skin_ab"]
    of.images["half"]["skin_ab"] = 0.5 * true + 9
    of.images["beige"]["skin_ab"] = np.tile([15.0, 20.0], (100, 1))
    # Images without skin do not count.
    of.images[TRUTH]["skin_share"][:10] = 0
    of.images["half"]["skin_ab"][:10] = 1e6
    found = findings.find(of, ["half", "beige"], [], {})["skin_variety"]
    assert found["images"] == 90
    assert found["of"]["half"]["value"] == pytest.approx(0.5)
    assert found["of"]["beige"]["value"] == pytest.approx(0, abs=1e-9)


def test_groups_contain_every_image_once_and_small_ones_are_not_compared():
    of = _scores(200, a={})
    of.images[TRUTH]["skin_share"][:7] = 0
    found = findings.find(of, ["a"], [], {})
    for groups in (found["skin_tone"], found["lightness"]):
        assert sum(group["images"] for group in groups) == 200
        for group in groups:
            assert group["compared"] == bool(group["intervals"])
            if group["compared"]:
                assert group["images"] >= findings.MIN_IMAGES
                low, high = group["intervals"]["a"]
                assert low < group["metrics"]["a"]["threshold_loss_10"] < high
    assert found["skin_tone"][-1]["label"] == "no skin found"
    assert found["skin_tone"][-1]["images"] == 7


def test_metrics_of_a_group_are_the_means_over_its_images():
    of = _scores(120, a={})
    of.images[TRUTH]["lightness"][:] = np.repeat([30.0, 40.0, 60.0, 90.0], 30)
    of.images["a"]["threshold_loss"][30:60, 1] += 1.0
    found = findings.find(of, ["a"], [], {})
    for i, group in enumerate(found["lightness"]):
        part = of.images["a"]["threshold_loss"][30 * i : 30 * (i + 1), 1]
        assert group["metrics"]["a"]["threshold_loss_10"] == pytest.approx(part.mean())
    gap = found["gaps"]["lightness"]["a"]
    assert gap["worst"] == found["lightness"][1]["label"]
    assert gap["apart"]


def test_verdicts_say_whether_a_run_lies_below_the_curve():
    of = _scores(200, regression={}, gan={})
    truth = of.images[TRUTH]["colorfulness"]
    factors = np.array([0.0, 1.0, 1.5])
    of.sums["regression"]["saturations"] = factors
    noise = np.random.default_rng(3).normal(0, 0.05, 200)
    noise -= noise.mean()
    regression, gan = of.images["regression"], of.images["gan"]
    regression["saturation_colorfulness"] = truth[:, None] * factors[None] / 1.5
    regression["saturation_threshold_loss_10"] = noise[:, None] + np.array([[0.8, 0.3, 0.5]])
    # As colourful as the middle of the last two points, where the curve is at 0.4.
    gan["colorfulness"] = truth * 1.25 / 1.5
    for loss, below in ((0.35, True), (0.45, False)):
        gan["threshold_loss"][:, 1] = noise + loss
        (verdict,) = findings.find(of, ["regression", "gan"], [], {})["verdicts"]
        assert (verdict["run"], verdict["curve"]) == ("gan", "regression")
        assert verdict["curve_loss"] == pytest.approx(0.4, abs=1e-6)
        assert (verdict["margin"] > 0) == below
        assert verdict["real"]
    # Without a verdict if the run is more colourful than all of the curve.
    gan["colorfulness"] = truth * 2
    assert findings.find(of, ["regression", "gan"], [], {})["verdicts"] == []


def test_what_damage_costs_is_paired_and_the_losses_of_two_runs_are_compared():
    noise = np.random.default_rng(5).normal(size=200)
    shifts = {"half": 0.05, "all": 0.1, "none": 0.0}
    undamaged = {name: f"{name}, undamaged" for name in shifts}
    damaged = {name: {"noise": noise, "shift": shift} for name, shift in shifts.items()}
    of = _scores(200, **damaged, **{plain: {"noise": noise} for plain in undamaged.values()})
    report = findings.find(of, ["half", "all", "none"], [], {}, undamaged)
    assert list(report["results"]) == list(report["intervals"]) == list(shifts)
    found = report["undamaged"]
    expected = scores.metrics_of(of)
    for name, plain in undamaged.items():
        assert found["results"][name] == pytest.approx(expected[plain])
    lost = {row["a"]: row for row in found["losses"] if row["metric"] == "threshold_loss_10"}
    for name, shift in shifts.items():
        assert lost[name]["difference"] == pytest.approx(shift)
        assert lost[name]["interval"] == pytest.approx((shift, shift))
    # "none" loses nothing, so no share refers to it.
    (share,) = found["shares"]
    assert (share["run"], share["other"]) == ("half", "all")
    assert share["share"] == pytest.approx(0.5)
    assert share["interval"] == pytest.approx((0.5, 0.5))
