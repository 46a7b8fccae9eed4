"""Tiny training runs: the files they write, what they refuse, what they start from."""

import itertools
import json
import math
import re
from typing import NamedTuple

import chex
import jax
import numpy as np
import pytest
import support
from PIL import Image

from colorjax.data import pipeline
from colorjax.evaluation import scores
from colorjax.report import report
from colorjax.runs.trained_model import load_run
from colorjax.runs.weights import export_weights, open_model
from colorjax.terminal.errors import InputError
from colorjax.training.inflight import NonFiniteError
from colorjax.training.setup import build_plan, initial_state
from colorjax.training.train import train_and_evaluate

CONSTANT = ["grey", "mean colour", "mean colour for each lightness"]
REGRESSION = "gan before its adversarial phase"
MODELS = {
    "cnn": ["encoder_decoder", "encoder_decoder, scaled"],
    "resnet": ["resnet", "resnet, scaled"],
    "small_gan": ["gan", REGRESSION, f"{REGRESSION}, scaled"],
    "gan": ["gan", REGRESSION, f"{REGRESSION}, scaled"],
}
METRICS = set(scores.METRICS)
ACCURACIES = {"accuracy_real", "accuracy_fake"}


class Steps(NamedTuple):
    """The steps of checkpoints, train rows and validation rows, and of the adversarial phase."""

    checkpoints: list[int]
    lines: list[int]
    evaluations: list[int]
    adversarial_from: int | None


# Each checkpoint has a row of metrics, and so has every third step.
STEPS = {
    "cnn": Steps([2, 4, 6], [2, 3, 4, 6], [3, 6], None),
    "small_gan": Steps([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], [3, 6], 3),
    "resnet": Steps([2], [2], [2], None),
    "gan": Steps([1, 2], [1, 2], [1, 2], 1),
}
RUNS = ["cnn", "small_gan", pytest.param("resnet", marks=pytest.mark.slow)]
RUNS += [pytest.param("gan", marks=pytest.mark.slow)]


@pytest.mark.parametrize("name", RUNS)
def test_a_run_leaves_its_config_metrics_checkpoints_samples_and_report(name):
    workdir = support.trained(name)
    regression = ["regression.safetensors"] if STEPS[name].adversarial_from else []
    assert [file for file in support.files(workdir) if "checkpoints/" not in file] == [
        "checkpoints",
        "config.json",
        "lock",
        "metrics.jsonl",
        *regression,
        "report",
        # The others are of models with a distribution or with hints.
        *sorted(f"report/{file}" for file in {*report.FILES} - {"answers.png", "hints.png"}),
        "samples",
        *(f"samples/{step:07}.png" for step in STEPS[name].evaluations),
    ]
    assert support.checkpoint_steps(workdir) == STEPS[name].checkpoints
    config = json.loads((workdir / "config.json").read_text())
    assert config["num_steps"] == STEPS[name].checkpoints[-1]
    assert config["dataset"]["name"] == "image_folder"
    assert config["data"].startswith("image_folder/")
    for png in workdir.glob("*/*.png"):
        with Image.open(png) as image:
            image.load()


@pytest.mark.parametrize("name", RUNS)
def test_metrics_are_finite_and_each_step_of_a_split_stands_once(name):
    rows = support.rows(support.trained(name))
    at = {split: [row["step"] for row in rows if row["split"] == split] for split in _splits(rows)}
    _, lines, evaluations, adversarial_from = STEPS[name]
    assert at == {"train": lines, "validation": evaluations}
    for row in rows:
        metrics = {key: value for key, value in row.items() if key not in ("step", "split")}
        assert all(math.isfinite(value) for value in metrics.values())
        adversarial = adversarial_from and row["step"] > adversarial_from
        if row["split"] == "train":
            assert {"loss", "grad_norm", "images_per_second"} <= metrics.keys()
            losses = {"adversarial_loss", "discriminator_loss", *ACCURACIES}
            assert losses & metrics.keys() == (losses if adversarial else set())
        else:
            assert metrics.keys() == METRICS | (ACCURACIES if adversarial else set())
        assert all(0 <= metrics[key] <= 1 for key in ACCURACIES & metrics.keys())


def _splits(rows):
    return {row["split"] for row in rows}


@pytest.mark.parametrize("name", RUNS)
def test_the_report_has_finite_metrics_of_the_model_and_of_every_baseline(name):
    workdir = support.trained(name)
    report = json.loads((workdir / "report" / "results.json").read_text())
    assert list(report["results"]) == MODELS[name] + CONSTANT
    for metrics in report["results"].values():
        assert metrics.keys() == METRICS
        assert all(math.isfinite(value) for value in metrics.values())
    assert f"{MODELS[name][0]} (step {STEPS[name].checkpoints[-1]})" in report["about"]["runs"]
    assert report["about"]["images"] == 4
    text = (workdir / "report" / "results.md").read_text()
    assert all(f"| {row} |" in text for row in MODELS[name] + CONSTANT)
    newest = support.rows(workdir)[-1]
    assert newest.items() >= report["results"][MODELS[name][0]].items()


def test_training_changes_all_parameters():
    config = support.tiny_config("cnn")
    with support.quick_compilation():
        start = initial_state(config)
    end, resume_point = support.restored(config, support.trained("cnn"))
    assert int(end.step) == support.NUM_STEPS
    for a, b in zip(
        jax.tree.leaves(start.generator.params), jax.tree.leaves(end.generator.params), strict=True
    ):
        assert not np.array_equal(a, b)
    json.dumps(resume_point)


def test_a_non_finite_step_stops_the_run_and_the_state_before_it_is_saved(tmp_path):
    """A learning rate that makes the first update so large that the second step overflows."""
    config = support.tiny_config("cnn", log_every=100, **{"optimizer.learning_rate": 1e30})
    with pytest.raises(NonFiniteError) as error:
        support.train(config, tmp_path / "run")
    bad = error.value.step
    assert re.match(
        rf"training stopped at step {bad}: \w+ is (nan|inf) \(grad_norm \S+, loss \S+\)\. ",
        str(error.value),
    )
    assert f"the state of step {bad - 1}" in str(error.value)
    state, resume_point = support.restored(config, tmp_path / "run")
    assert int(state.step) == bad - 1 == resume_point["batches"]["next_index"] > 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
    with pytest.raises(NonFiniteError) as again, support.quick_compilation():
        train_and_evaluate(config, tmp_path / "run")
    assert str(again.value) == str(error.value)
    chex.assert_trees_all_equal(support.restored(config, tmp_path / "run")[0], state)
    with np.load(tmp_path / "run" / "nonfinite" / f"step-{bad:07d}-process-0.npz") as batch:
        assert batch["image"].shape == (8, 32, 32, 3)
        assert batch["image"].dtype == np.uint8
        np.testing.assert_array_equal(batch["image"], _batch(config, bad)["image"])
    assert not (tmp_path / "run" / "report").exists()
    assert all(math.isfinite(row.get("loss", 0)) for row in support.rows(tmp_path / "run"))


def _batch(config, step):
    """The batch of a step, counted from 1."""
    train_source = pipeline.load_sources("image_folder", path=config.dataset.path).train
    batches = pipeline.train_iterator(
        train_source, batch_size=config.batch_size, image_size=config.image_size, seed=config.seed
    )
    return next(itertools.islice(batches, step - 1, None))


def test_a_gan_starts_from_the_averaged_generator_of_a_regression(tmp_path):
    regression = support.trained("cnn")
    config = support.small_gan(init_from=str(regression))
    with support.quick_compilation():
        run, state = build_plan(config), initial_state(config)
    source, _ = support.restored(support.tiny_config("cnn"), regression)
    chex.assert_trees_all_equal(state.ema, source.ema)
    chex.assert_trees_all_equal(state.generator.params, source.ema["params"])
    chex.assert_trees_all_equal(state.generator.batch_stats, source.ema["batch_stats"])
    assert int(state.step) == 0
    # The same from a file of weights.
    path = tmp_path / "cnn.safetensors"
    export_weights(load_run(regression, "cnn"), path, "", "float32")
    with support.quick_compilation():
        from_file = initial_state(support.small_gan(init_from=str(path)))
    chex.assert_trees_all_equal(from_file.ema, source.ema)
    # It is adversarial from the start.
    assert run.adversarial_from == 0
    assert run.step_at(0) is run.adversarial_step


@pytest.mark.slow
def test_a_gan_that_starts_from_a_regression_is_compared_with_that_regression(tmp_path):
    regression = support.trained("cnn")
    results = support.train(support.small_gan(init_from=str(regression)), tmp_path / "run")
    expected = json.loads((regression / "report" / "results.json").read_text())["results"]
    for suffix in ("", ", scaled"):
        found = results[f"{REGRESSION}{suffix}"]
        assert found == pytest.approx(expected[f"encoder_decoder{suffix}"], rel=1e-4)


def test_the_regression_of_a_gan_is_kept_as_weights_that_can_be_opened(tmp_path):
    workdir = support.trained("small_gan")
    model = open_model(str(workdir / "regression.safetensors"))
    assert model.is_regression
    begins = STEPS["small_gan"].adversarial_from
    assert model.step == begins
    saved = load_run(workdir / "checkpoints" / str(begins), "gan")
    chex.assert_trees_all_equal(model.variables, saved.variables)


def test_init_from_another_width_is_refused_naming_the_first_parameter():
    config = support.small_gan(init_from=str(support.trained("cnn")), model__width=1 / 8)
    with support.quick_compilation():
        like = initial_state(support.small_gan(model__width=1 / 8)).ema
        saved, _ = support.restored(support.tiny_config("cnn"), support.trained("cnn"))
        ours, theirs = (
            {jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape for path, leaf in x}
            for x in map(jax.tree_util.tree_leaves_with_path, (like["params"], saved.ema["params"]))
        )
        first = next(name for name in ours if ours[name] != theirs[name])
        with pytest.raises(InputError) as error:
            initial_state(config)
    assert f"{first} has shape {theirs[first]}, this model needs {ours[first]}" in str(error.value)


@pytest.mark.parametrize("kind", ["nothing", "folder", "file", "no checkpoint yet"])
def test_init_from_a_path_without_a_model_is_refused(tmp_path, kind):
    path = tmp_path / "start"
    if kind == "file":
        path.write_text("")
    elif kind != "nothing":
        path.mkdir()
    if kind == "no checkpoint yet":
        (path / "checkpoints").mkdir()
    before = support.files(tmp_path)
    messages = {"no checkpoint yet": "no checkpoint yet", "file": "not a safetensors file"}
    message = messages.get(kind, "is not a run")
    with support.quick_compilation(), pytest.raises(InputError, match=message):
        train_and_evaluate(support.small_gan(init_from=str(path)), tmp_path / "run")
    assert support.files(tmp_path) == before


def test_encoder_weights_are_for_a_resnet_of_full_width(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "resnet50.safetensors"
    rng = np.random.default_rng(0)
    weights = {
        "conv1.weight": rng.normal(size=(64, 3, 7, 7)),
        "bn1.weight": rng.normal(size=64),
        "bn1.bias": rng.normal(size=64),
    }
    safetensors.save_file({k: v.astype(np.float32) for k, v in weights.items()}, path)
    with support.quick_compilation():
        with pytest.raises(InputError, match=r"1\.\w+ is \(64,.*width"):
            initial_state(support.tiny_config("resnet", model__encoder_weights=str(path)))
        with pytest.raises(
            InputError, match=r"model\.name='resnet' or 'efficientnet_lite', not 'encoder_decoder'"
        ):
            initial_state(support.tiny_config("cnn", model__encoder_weights=str(path)))


def test_a_run_in_bfloat16_gives_a_model_in_float32(tmp_path, monkeypatch):
    monkeypatch.setattr("colorjax.training.check_config.fastest_dtype", lambda name: "bfloat16")
    config = support.tiny_config("cnn", model__dtype="auto", num_steps=2)
    train_and_evaluate(config, tmp_path / "run")
    written = json.loads((tmp_path / "run" / "config.json").read_text())
    assert written["model"]["dtype"] == "bfloat16"
    run = open_model(str(tmp_path / "run"))
    export_weights(run, tmp_path / "model.safetensors", "")
    exported = open_model(str(tmp_path / "model.safetensors"))
    assert exported.config["model"]["dtype"] == "float32"
    l = np.zeros((1, 32, 32, 1), np.float32)
    for model in (run, exported):
        assert "bf16" not in str(jax.make_jaxpr(model.predict)(model.variables, l))
        assert {x.dtype for x in jax.tree.leaves(model.variables)} == {np.dtype("float32")}
