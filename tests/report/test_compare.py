"""`colorjax evaluate` on tiny runs: what it compares and what it refuses."""

import json
import re
import shutil

import numpy as np
import pytest
import support
from PIL import Image

from colorjax import cli
from colorjax.data import pipeline
from colorjax.evaluation.baselines import BASELINES
from colorjax.report import compare, report
from colorjax.terminal.errors import InputError


@pytest.fixture(autouse=True, scope="module")
def _quick():
    with support.quick_compilation(), support.blank_plots():
        yield


def _evaluate(*arguments):
    return cli.main(["evaluate", *map(str, arguments)])


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A report of the CNN and of the GAN on the validation images of both."""
    output = tmp_path_factory.mktemp("evaluate") / "output"
    assert _evaluate(support.trained("cnn"), support.trained("small_gan"), "--output", output) == 0
    return output


def _results(output):
    return json.loads((output / "results.json").read_text())


def _equal(metrics, expected):
    return metrics == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_runs_are_compared_with_each_other_and_with_the_baselines(compared):
    assert set(support.files(compared)) == set(report.FILES) - {"answers.png", "hints.png"}
    found = _results(compared)
    assert list(found["results"]) == ["cnn", "small_gan", "cnn, scaled", *BASELINES]
    pairs = {(row["a"], row["b"]) for row in found["comparisons"]}
    assert pairs == {("cnn", "small_gan"), ("small_gan", "cnn, scaled")}
    assert found["about"]["images"] == 4
    assert found["about"]["baselines"].startswith("fitted on 20 images of the training split")
    assert "images without colour" not in found["about"]
    assert f"--output {compared}" in (compared / "report.html").read_text()  # the command


def test_a_run_has_the_metrics_of_the_report_of_its_training(compared):
    found = _results(compared)["results"]
    for name in ("cnn", "small_gan"):
        (expected, *_) = _results(support.trained(name) / "report")["results"].values()
        assert _equal(found[name], expected)


def test_a_gan_alone_is_compared_with_the_regression_in_its_folder(tmp_path):
    run = support.trained("small_gan")
    found = compare.evaluate_runs([run], tmp_path / "out")
    expected = _results(run / "report")["results"]
    before = "small_gan before its adversarial phase"
    assert list(found["results"]) == ["small_gan", before, f"{before}, scaled", *BASELINES]
    for metrics, others in zip(found["results"].values(), expected.values(), strict=True):
        assert _equal(metrics, others)
    assert list(found["saturation_curves"]) == [before]
    # Without it there is no scaled regression.
    shutil.copytree(run, copy := tmp_path / "gan")
    (copy / compare.REGRESSION_FILE).unlink()
    alone = compare.evaluate_runs([copy], tmp_path / "alone", limit=2)
    assert list(alone["results"]) == ["gan", *BASELINES]
    assert alone["about"]["scaled regression"].startswith("none")


def test_all_images_of_a_path_are_evaluated_up_to_a_limit(tmp_path):
    folder = tmp_path / "one person"
    folder.mkdir()
    for index in range(3):
        shutil.copy(support.faces() / "person 0" / f"{index}.png", folder)
    for limit, count in ((2, 2), (None, 3)):
        found = compare.evaluate_runs(
            [support.trained("cnn")],
            tmp_path / "out",
            dataset=str(folder),
            limit=limit,
            overwrite=True,
        )
        assert found["about"]["images"] == count
        assert found["about"]["data"].endswith("all images")


def test_without_the_training_data_baselines_are_fitted_on_the_evaluated_images(tmp_path):
    shutil.copytree(support.trained("cnn"), run := tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config |= {"data": "image_folder/gone/1.0.0"}
    config["dataset"]["path"] = str(tmp_path / "gone")
    (run / "config.json").write_text(json.dumps(config))
    found = compare.evaluate_runs([run], tmp_path / "out", dataset=str(support.faces()), limit=2)
    assert "favours the baselines" in found["about"]["baselines"]
    with pytest.raises(InputError, match=r"the data of run were not found .*--dataset PATH"):
        compare.evaluate_runs([run], tmp_path / "other")


def test_prepared_data_are_found_without_their_source_and_other_data_are_refused(tmp_path):
    shutil.copytree(support.trained("cnn"), run := tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    shutil.copytree(
        pipeline.default_cache_dir() / config["data"], tmp_path / "data" / config["data"]
    )
    config["dataset"] |= {"cache_dir": str(tmp_path / "data"), "path": str(tmp_path / "gone")}
    (run / "config.json").write_text(json.dumps(config))
    found = compare.evaluate_runs([run], tmp_path / "out", limit=2)
    assert found["about"]["data"] == f"{config['data']}, validation split"
    config["dataset"] |= {"path": str(support.faces()), "min_chroma": 7.5}
    config["data"] = "image_folder/gone/1.0.0"
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="have changed since it was trained"):
        compare.evaluate_runs([run], tmp_path / "other")


@pytest.mark.slow
def test_runs_of_two_sizes_see_their_own_and_are_compared_on_the_same_pixels(tmp_path):
    support.train(support.tiny_config("cnn", num_steps=2, image_size=64), tmp_path / "large")
    found = compare.evaluate_runs([support.trained("cnn"), tmp_path / "large"], tmp_path / "out")
    assert found["about"]["image size"] == 64
    assert "cnn at 32" in found["about"]["seen in other sizes"]
    alone = compare.evaluate_runs([tmp_path / "large"], tmp_path / "alone")
    for name in ("large", "grey"):
        assert _equal(found["results"][name], alone["results"][name])


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """The same report on damaged inputs."""
    output = tmp_path_factory.mktemp("evaluate") / "damaged"
    runs = support.trained("cnn"), support.trained("small_gan")
    assert _evaluate(*runs, "--output", output, "--damage", "1") == 0
    return output


def test_on_damaged_inputs_the_report_also_says_what_damage_costs(compared, damaged):
    assert support.files(damaged) == support.files(compared)
    before, found = _results(compared), _results(damaged)
    assert list(found["results"]) == list(before["results"])
    assert list(found["saturation_curves"]) == list(before["saturation_curves"])
    for name, metrics in before["results"].items():
        assert _equal(found["undamaged"]["results"][name], metrics)
    losses = {(row["a"], row["metric"]): row["difference"] for row in found["undamaged"]["losses"]}
    for (name, metric), loss in losses.items():
        expected = found["results"][name][metric] - before["results"][name][metric]
        assert loss == pytest.approx(expected, rel=1e-4, abs=1e-4)
        if name in ("grey", "mean colour"):  # which do not depend on L
            assert loss == pytest.approx(0, abs=1e-6)
    assert abs(losses["mean colour for each lightness", "mse"]) > 0.1
    assert abs(losses["cnn", "mse"]) > 1e-3
    assert "strength up to 1;" in found["about"]["inputs"]
    assert "undamaged" not in before
    for file in ("report.html", "results.md"):
        assert "What damage costs" in (damaged / file).read_text()
        assert "What damage costs" not in (compared / file).read_text()


def test_the_slider_shows_the_inputs_of_the_runs_and_the_undamaged_truth(compared, damaged):
    before, after = (_pictures(output) for output in (compared, damaged))
    assert before["order"] == ["grey", "cnn", "small_gan", "truth"]
    assert after["order"] == ["damaged", "cnn", "small_gan", "truth"]
    assert sorted(after["columns"]["truth"]) == sorted(before["columns"]["truth"])
    assert not set(after["columns"]["damaged"]) & set(before["columns"]["grey"])


def _pictures(output):
    text = (output / "report.html").read_text()
    return json.loads(re.search(r'id="pictures">(.*?)</script>', text, re.DOTALL)[1])


def test_a_report_is_not_replaced_without_overwrite(compared, capsys):
    before = {file: file.read_bytes() for file in compared.iterdir()}
    assert _evaluate(support.trained("cnn"), "--output", compared) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "already holds a report" in line
    assert "--overwrite" in line
    assert {file: file.read_bytes() for file in compared.iterdir()} == before


def _images(folder, color):
    for person in range(2):
        (folder / str(person)).mkdir(parents=True)
        pixels = np.random.default_rng(person).integers(0, 256, (40, 40, 1)).astype(np.uint8)
        image = np.repeat(pixels, 3, axis=-1)
        if color:
            image[..., 0] //= 2
        Image.fromarray(image).save(folder / str(person) / "a.png")
    return folder


def test_images_without_any_colour_are_refused_and_some_are_counted(tmp_path):
    grey = _images(tmp_path / "grey", color=False)
    output = tmp_path / "out"
    with pytest.raises(InputError, match="no image with colour"):
        compare.evaluate_runs([support.trained("cnn")], output, dataset=str(grey))
    assert not output.exists()
    colored = _images(tmp_path / "coloured", color=True)
    found = compare.evaluate_runs([support.trained("cnn")], output, dataset=f"{grey},{colored}")
    assert found["about"]["images without colour"] == "2, evaluated like the others"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "is neither a run nor a weights file"),
        (lambda path: path.mkdir(), "no config.json"),
        (lambda path: support.copy_until(support.trained("cnn"), 0, path), "no checkpoint yet"),
        (lambda path: _with_config(path, "{"), "is corrupt"),
        (lambda path: _with_config(path, "[]"), "is corrupt"),
        (lambda path: _with_config(path, "{}"), "does not describe a model"),
        (lambda path: _with_config(path, '{"model": {"name": "vgg"}, "image_size": 32}'), "'vgg'"),
        (lambda path: _wider(path), "has shape"),
    ],
)
def test_what_is_not_a_run_is_refused_in_one_line_and_nothing_is_written(
    tmp_path, capsys, make, message
):
    make(tmp_path / "run")
    assert _evaluate(tmp_path / "run", "--output", tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("colorjax: ")
    assert message in line
    assert not (tmp_path / "out").exists()


def _with_config(path, text):
    path.mkdir()
    (path / "config.json").write_text(text)


def _wider(path):
    shutil.copytree(support.trained("cnn"), path)
    config = json.loads((path / "config.json").read_text())
    config["model"]["width"] = 1 / 8
    (path / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "arguments are required"),
        (["--dataset", "nowhere/at/all"], "neither a path nor a data set"),
        (["--limit", "0"], "0 is less than 1"),
        (["--damage", "1.5"], "in [0, 1]"),
        (["--damage", "nan"], "in [0, 1]"),
        (["--damage", "runs/gan"], "in [0, 1]"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(tmp_path, capsys, arguments, message):
    output = ["--output", tmp_path / "out"] if arguments else []
    assert _evaluate(support.trained("cnn"), *output, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
