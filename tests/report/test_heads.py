"""The report of a tiny model with a distribution that takes hints, and of one without."""

import html
import json

import numpy as np
import pytest
import support

from colorjax.evaluation import evaluate, hints, scores
from colorjax.evaluation.distribution import COUNTS, TEMPERATURES
from colorjax.evaluation.evaluate import Candidate
from colorjax.models.variables import model_predictor
from colorjax.report import compare, heads, report
from colorjax.runs.trained_model import describe_model
from colorjax.runs.weights import export_weights, open_path


@pytest.fixture(autouse=True, scope="module")
def _quick():
    with support.quick_compilation(), support.blank_plots():
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("heads") / "run"
    config = support.tiny_config("cnn", distribution=0.05, hints=0.5, num_steps=2)
    support.train(config, workdir)
    return workdir


@pytest.fixture(scope="module")
def results(run):
    return json.loads((run / "report" / "results.json").read_text())


def test_the_report_of_a_training_has_all_sections(run, results):
    assert set(support.files(run / "report")) == set(report.FILES)
    text = (run / "report" / "results.md").read_text()
    page = html.unescape((run / "report" / "report.html").read_text())
    for part in heads.results_markdown(results):
        assert part in text
    for of in heads.tables_by_plot(results).values():
        for title, (_, rows) in of:
            assert title in page
            assert all(cell in page for row in rows for cell in row)


def test_the_sections_agree_with_the_metrics(results):
    (name, scaled, *_) = results["results"]
    metrics = results["results"][name]
    for key in ("delta_e", "psnr"):
        without = results["hints"]["of"][name][key][0]
        assert without == pytest.approx(metrics[key], rel=1e-4)
        grey = results["hints"]["of"][hints.BASELINE][key][0]
        assert grey == pytest.approx(results["results"]["grey"][key], rel=1e-4)
    answers = results["answers"][name]
    assert answers["images"] == results["about"]["images"] == 4
    best = answers["best_of"]
    assert len(best["candidates"]) == len(best["jitter"]) == len(COUNTS)
    # The baseline's first answer is not moved.
    of = name if best["jitter_factor"] == 1 else scaled
    assert best["jitter"][0] == pytest.approx(results["results"][of]["delta_e"], rel=1e-4)
    assert answers["calibration"]["coverage"] == sorted(answers["calibration"]["coverage"])


def test_annealed_means_are_those_of_models_with_these_temperatures(run, results):
    model = open_path(run, "model")
    generator = describe_model(model.config)[0]
    chosen = (0, 3)
    candidates = [
        Candidate(f"{i}", model_predictor(generator, TEMPERATURES[i]), model.variables, 32)
        for i in chosen
    ]
    source, *_ = compare._images(None, model)
    found = evaluate.score(
        candidates,
        lambda size: compare.pipeline.eval_batches(source, batch_size=8, image_size=size),
    )
    values = scores.statistics(found, np.ones((1, found.num_images)))
    (points,) = results["annealed"].values()
    assert [point["temperature"] for point in points] == list(TEMPERATURES)
    for i in chosen:
        for key in ("threshold_loss_10", "bias_cf"):
            expected = values[f"{i}"][key][0]
            assert points[i][key] == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_a_temperature_is_below_the_curve_where_its_loss_is_lower(results):
    curve = next(iter(results["saturation_curves"].values()))
    (points,) = results["annealed"].values()
    for point in points:
        order = np.argsort(curve["bias_cf"])
        x, y = (np.array(curve[key])[order] for key in ("bias_cf", "threshold_loss_10"))
        if not x[0] <= point["bias_cf"] <= x[-1]:
            assert not point["verdicts"]
            continue
        (verdict,) = point["verdicts"].values()
        expected = np.interp(point["bias_cf"], x, y)
        assert verdict["curve_loss"] == pytest.approx(expected, abs=1e-6)
        assert verdict["margin"] == pytest.approx(expected - point["threshold_loss_10"], abs=1e-6)


def test_evaluation_says_what_training_said(run, results, tmp_path):
    found = compare.evaluate_runs([run], tmp_path / "out")
    (expected,) = results["answers"].values()
    for key in ("candidates", "jitter"):
        best = found["answers"]["run"]["best_of"][key]
        assert best == pytest.approx(expected["best_of"][key], rel=1e-3)


def test_models_without_distribution_and_hints_have_no_sections():
    folder = support.trained("cnn") / "report"
    results = json.loads((folder / "results.json").read_text())
    assert not {"annealed", "answers", "hints"} & set(results)
    assert not {"answers.png", "hints.png"} & set(support.files(folder))
    assert heads.results_markdown(results) == []
    for file in ("report.html", "results.md"):
        text = (folder / file).read_text().lower()
        assert "annealed" not in text
        assert "guided filter" not in text
        assert "first n answers" not in text


def test_what_is_scaled_is_the_regression_of_a_model_with_a_temperature(run, results, tmp_path):
    weights = tmp_path / "annealed.safetensors"
    model = open_path(run, "annealed")
    changed = {**model.config, "temperature": 0.4}
    export_weights(model._replace(config=changed), weights, "", "float32")
    source, _, fitting, _ = compare._images(None, model)
    found, _ = compare.compare(
        [open_path(weights, "annealed")], source, fitting, data="", fitted_on="", batch_size=8
    )
    (name, *_) = results["results"]
    for ours, theirs in (("regression", name), ("scaled", f"{name}, scaled")):
        expected = results["results"][theirs]
        assert found["results"][f"annealed, {ours}"] == pytest.approx(expected, rel=1e-3, abs=1e-3)
    point = next(p for p in found["annealed"]["annealed"] if p["temperature"] == 0.38)
    answer = found["results"]["annealed"]["threshold_loss_10"]
    assert answer == pytest.approx(point["threshold_loss_10"], abs=0.02)
    best, expected = (
        of["best_of"] for of in (found["answers"]["annealed"], results["answers"][name])
    )
    assert best["jitter"] == pytest.approx(expected["jitter"], rel=1e-3)
    assert best["candidates"][0] == pytest.approx(found["results"]["annealed"]["delta_e"], rel=1e-3)
