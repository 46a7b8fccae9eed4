"""Intervals against closed forms, pairs that cancel, groups, and scores that survive a file."""

import numpy as np
import pytest
from scipy import sparse

from colorjax.evaluation import scores
from colorjax.evaluation.scores import TRUTH, Scores
from colorjax.report import bootstrap, findings


def _predictor(rng, count, shift=0.0, noise=None):
    """Metrics that differ from image to image; `noise` is what two predictors share."""
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


def _estimates(of):
    return scores.statistics(of, np.ones((1, of.num_images)))


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution():
    of = _scores(400, a={})
    draws = bootstrap.resampled(of)
    low, high = bootstrap.intervals(draws, _estimates(of))["a"]["mse"]
    values = of.images["a"]["mse"]
    error = values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_every_figure_lies_in_its_interval():
    of = _scores(100, a={}, b={"shift": 0.02})
    estimates = _estimates(of)
    found = bootstrap.intervals(bootstrap.resampled(of), estimates)
    for name in ("a", "b"):
        assert list(found[name]) == list(scores.METRICS)
        for metric, (low, high) in found[name].items():
            assert low <= estimates[name][metric][0] <= high, metric
            assert low < high or metric == "threshold_loss_20"


def test_an_interval_holds_the_truth_about_nineteen_times_in_twenty():
    held = 0
    for seed in range(60):
        of = _scores(60, seed, a={})
        draws = bootstrap.resampled(of, count=300, seed=seed)
        low, high = bootstrap.percentiles(draws["a"]["mse"])
        held += low <= 100 <= high
    assert 50 <= held <= 60


def test_a_pair_that_shares_its_noise_is_told_apart_though_its_intervals_overlap():
    noise = np.random.default_rng(7).normal(size=200)
    of = _scores(200, a={"noise": noise}, b={"noise": noise, "shift": 0.01})
    estimates, draws = _estimates(of), bootstrap.resampled(of)
    ends = bootstrap.intervals(draws, estimates)
    assert ends["a"]["threshold_loss_10"][1] > ends["b"]["threshold_loss_10"][0]
    found = {row["metric"]: row for row in bootstrap.comparisons(draws, estimates, [("a", "b")])}
    assert found["threshold_loss_10"]["real"]
    assert found["threshold_loss_10"]["difference"] == pytest.approx(-0.01)
    assert found["threshold_loss_10"]["interval"] == pytest.approx((-0.01, -0.01))
    # They are equal in this, and nothing is made of it.
    assert not found["delta_e"]["real"]
    assert found["delta_e"]["interval"] == pytest.approx((0, 0))


def test_a_difference_of_chance_is_not_real():
    of = _scores(100, a={}, b={})
    found = bootstrap.comparisons(bootstrap.resampled(of), _estimates(of), [("a", "b")])
    assert sum(row["real"] for row in found if row["metric"] in ("mse", "delta_e", "auc")) == 0


def test_delta_cf_of_a_model_as_colourful_as_the_truth_begins_at_zero():
    of = _scores(100, a={})
    of.images["a"]["colorfulness"] = of.images[TRUTH]["colorfulness"] + np.tile([3.0, -3.0], 50)
    low, high = bootstrap.intervals(bootstrap.resampled(of), _estimates(of))["a"]["delta_cf"]
    assert low == 0
    assert 0.3 < high < 1.2


def test_draws_are_the_same_every_time_and_in_any_chunks(monkeypatch):
    of = _scores(50, a={})
    first = bootstrap.resampled(of, count=30)["a"]
    again = bootstrap.resampled(of, count=30)["a"]
    monkeypatch.setattr(bootstrap, "MAX_WEIGHTS", 350)
    chunked = bootstrap.resampled(of, count=30)["a"]
    for key, values in first.items():
        np.testing.assert_array_equal(values, again[key])
        np.testing.assert_allclose(values, chunked[key], rtol=1e-9, atol=1e-12)
        assert values.shape == (30,)


def test_skin_variety_is_the_slope_of_what_is_painted():
    of = _scores(100, half={}, beige={})
    true = of.images[TRUTH]["skin_ab"]
    of.images["half"]["skin_ab"] = 0.5 * true + 9
    of.images["beige"]["skin_ab"] = np.tile([15.0, 20.0], (100, 1))
    # Where no skin was found, nothing counts.
    of.images[TRUTH]["skin_share"][:10] = 0
    of.images["half"]["skin_ab"][:10] = 1e6
    found = findings.find(of, ["half", "beige"], [], {})["skin_variety"]
    assert found["images"] == 90
    assert found["of"]["half"]["value"] == pytest.approx(0.5)
    assert found["of"]["beige"]["value"] == pytest.approx(0, abs=1e-9)


def test_groups_hold_every_image_once_and_small_ones_are_not_compared():
    of = _scores(200, a={})
    of.images[TRUTH]["skin_share"][:7] = 0
    for found in (findings.by_skin_tone(of), findings.by_lightness(of)):
        assert sum(group["images"] for group in found) == 200
        for group in found:
            assert group["compared"] == bool(group["intervals"])
            if group["compared"]:
                assert group["images"] >= findings.MIN_IMAGES
                low, high = group["intervals"]["a"]
                assert low < group["metrics"]["a"]["threshold_loss_10"] < high
    assert findings.by_skin_tone(of)[-1]["label"] == "no skin found"
    assert findings.by_skin_tone(of)[-1]["images"] == 7


def test_a_group_s_figures_are_the_means_of_its_images():
    of = _scores(120, a={})
    of.images[TRUTH]["lightness"][:] = np.repeat([30.0, 40.0, 60.0, 90.0], 30)
    found = findings.by_lightness(of)
    for i, group in enumerate(found):
        part = of.images["a"]["threshold_loss"][30 * i : 30 * (i + 1), 1]
        assert group["metrics"]["a"]["threshold_loss_10"] == pytest.approx(part.mean())
    of.images["a"]["threshold_loss"][30:60, 1] += 1.0
    gap = findings.gaps(findings.by_lightness(of), ["a"])["a"]
    assert gap["worst"] == found[1]["label"]
    assert gap["apart"]


def test_a_run_below_a_curve_is_worth_its_trouble_and_one_above_is_not():
    of = _scores(200, regression={}, gan={})
    truth = of.images[TRUTH]["colorfulness"]
    factors = np.array([0.0, 1.0, 1.5])
    of.sums["regression"]["saturations"] = factors
    noise = np.random.default_rng(3).normal(0, 0.05, 200)
    noise -= noise.mean()
    regression, gan = of.images["regression"], of.images["gan"]
    regression["saturation_colorfulness"] = truth[:, None] * factors[None] / 1.5
    regression["saturation_threshold_loss_10"] = noise[:, None] + np.array([[0.8, 0.3, 0.5]])
    # As colourful as half-way between the last two, where the curve has 0.4.
    gan["colorfulness"] = truth * 1.25 / 1.5
    for loss, below in ((0.35, True), (0.45, False)):
        gan["threshold_loss"][:, 1] = noise + loss
        (verdict,) = findings.find(of, ["regression", "gan"], [], {})["verdicts"]
        assert (verdict["run"], verdict["curve"]) == ("gan", "regression")
        assert verdict["curve_loss"] == pytest.approx(0.4, abs=1e-6)
        assert (verdict["margin"] > 0) == below
        assert verdict["real"]
    # More colourful than the curve ever is: nothing can be said.
    gan["colorfulness"] = truth * 2
    assert findings.find(of, ["regression", "gan"], [], {})["verdicts"] == []


def test_what_damage_costs_is_paired_and_shares_of_it_are_compared():
    noise = np.random.default_rng(5).normal(size=200)
    undamaged = _scores(200, **{name: {"noise": noise} for name in ("half", "all", "none")})
    shifts = {"half": 0.05, "all": 0.1, "none": 0.0}
    damaged = _scores(200, **{name: {"noise": noise, "shift": s} for name, s in shifts.items()})
    found = findings.find(damaged, ["half", "all"], [], {}, undamaged)["undamaged"]
    assert found["results"] == scores.metrics_of(undamaged)
    lost = {row["a"]: row for row in found["losses"] if row["metric"] == "threshold_loss_10"}
    for name, shift in shifts.items():
        assert lost[name]["difference"] == pytest.approx(shift)
        assert lost[name]["interval"] == pytest.approx((shift, shift))
    (share,) = found["shares"]
    assert (share["run"], share["other"]) == ("half", "all")
    assert share["share"] == pytest.approx(0.5)
    assert share["interval"] == pytest.approx((0.5, 0.5))
    # A share of nothing is no number.
    unhurt = findings.find(damaged, ["half", "none"], [], {}, damaged)["undamaged"]
    assert unhurt["shares"] == []


def test_scores_survive_a_file_and_a_damaged_one_is_none(tmp_path):
    of = _scores(20, **{"a / b": {}, "c": {}})
    of.sums["c"]["saturations"] = np.array([0.0, 1.0])
    path = tmp_path / "deep" / "scores.npz"
    scores.save(of, path)
    back = scores.load(path)
    assert back.names == of.names
    assert scores.metrics_of(back) == scores.metrics_of(of)
    np.testing.assert_array_equal(back.sums["c"]["saturations"], [0, 1])
    path.write_bytes(path.read_bytes()[:-100])
    assert scores.load(path) is None
    assert scores.load(tmp_path / "none.npz") is None


def test_scores_of_the_same_images_merge_in_the_order_that_is_asked_for():
    of, other = _scores(20, a={}, b={}), _scores(20, c={})
    merged = of.merged(other).chosen(["c", "b"])
    assert merged.names == ["c", "b"]
    assert merged.num_images == 20
