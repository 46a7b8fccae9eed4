"""`colorjax evaluate` on tiny runs: what it compares, and what it refuses."""

import json
import re
import shutil

import chex
import numpy as np
import pytest
import support
from PIL import Image

from colorjax import cli
from colorjax.data import pipeline
from colorjax.report import compare, report
from colorjax.runs import trained_model
from colorjax.runs.checkpoint import saved_steps
from colorjax.runs.trained_model import load_run
from colorjax.runs.weights import export_weights
from colorjax.terminal.errors import InputError


@pytest.fixture(autouse=True, scope="module")
def _quick():
    with support.quick_compilation(), support.blank_plots():
        yield


def _evaluate(*arguments):
    return cli.main(["evaluate", *map(str, arguments)])


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A report of the CNN and of the GAN on the images that both were validated on."""
    output = tmp_path_factory.mktemp("evaluate") / "output"
    assert _evaluate(support.trained("cnn"), support.trained("small_gan"), "--output", output) == 0
    return output


def _results(output):
    return json.loads((output / "results.json").read_text())


def test_runs_are_compared_with_each_other_and_with_the_baselines(compared):
    assert sorted(support.files(compared)) == sorted(report.FILES)
    found = _results(compared)
    assert list(found["results"]) == [
        "cnn",
        "small_gan",
        "cnn, scaled",
        *compare.BASELINES,
    ]
    pairs = {(row["a"], row["b"]) for row in found["comparisons"]}
    assert pairs == {("cnn", "small_gan"), ("small_gan", "cnn, scaled")}
    assert found["about"]["images"] == 4
    assert found["about"]["baselines"].startswith("fitted on 20 images of the training split")
    text = (compared / "report.html").read_text()
    assert f"--output {compared}" in text  # the command


def test_a_run_has_the_figures_that_it_had_at_the_end_of_its_training(compared):
    found = _results(compared)
    for name in ("cnn", "small_gan"):
        trained = json.loads((support.trained(name) / "report" / "results.json").read_text())
        (expected, *_) = trained["results"].values()
        assert found["results"][name] == pytest.approx(expected, rel=1e-5, abs=1e-5)
    scaled = trained["results"].keys()
    assert "scaled regression" in scaled


def test_a_gan_alone_is_compared_with_the_regression_that_it_was(tmp_path):
    run = support.trained("small_gan")
    found = compare.evaluate_runs([run], tmp_path / "out")
    expected = json.loads((run / "report" / "results.json").read_text())
    assert list(found["results"])[1:] == list(expected["results"])[1:]
    for name, metrics in list(expected["results"].items())[1:]:
        assert found["results"][name] == pytest.approx(metrics, rel=1e-5, abs=1e-5)
    assert [row["curve"] for row in found["verdicts"]] == list(found["saturation_curves"])
    # On other images it cannot be.
    other = compare.evaluate_runs([run], tmp_path / "other", dataset=str(support.faces()))
    assert list(other["results"]) == ["small_gan", *compare.BASELINES]
    assert other["about"]["scaled regression"].startswith("none")


def test_all_images_of_a_path_are_evaluated_and_no_command_is_needed(tmp_path):
    folder = tmp_path / "one person"
    folder.mkdir()
    for index in range(3):
        shutil.copy(support.faces() / "person 0" / f"{index}.png", folder)
    found = compare.evaluate_runs(
        [support.trained("cnn")], tmp_path / "out", dataset=str(folder), limit=2
    )
    assert found["about"]["images"] == 2
    assert found["about"]["data"].endswith("all images")
    assert compare.evaluate_runs(
        [support.trained("cnn")], tmp_path / "out", dataset=str(folder), overwrite=True
    )["about"]["images"] == 3  # fmt: skip


def test_without_the_training_data_baselines_are_fitted_on_what_is_evaluated(tmp_path, monkeypatch):
    shutil.copytree(support.trained("cnn"), run := tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config |= {"data": "image_folder/gone/1.0.0"}
    config["dataset"]["path"] = str(tmp_path / "gone")
    (run / "config.json").write_text(json.dumps(config))
    found = compare.evaluate_runs([run], tmp_path / "out", dataset=str(support.faces()))
    assert "flatters the baselines" in found["about"]["baselines"]
    with pytest.raises(InputError, match=r"the data of run are not here: .*--dataset PATH"):
        compare.evaluate_runs([run], tmp_path / "other")


def test_data_in_a_folder_of_their_own_are_found_there(tmp_path):
    """And other images than those of the training are never taken for them."""
    shutil.copytree(support.trained("cnn"), run := tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    shutil.move(
        shutil.copytree(pipeline.default_cache_dir() / config["data"], tmp_path / "copy"),
        tmp_path / "data" / config["data"],
    )
    config["dataset"] |= {"cache_dir": str(tmp_path / "data"), "path": str(tmp_path / "gone")}
    (run / "config.json").write_text(json.dumps(config))
    found = compare.evaluate_runs([run], tmp_path / "out")
    assert found["about"]["data"] == f"{config['data']}, validation split"
    config["dataset"] |= {"path": str(support.faces()), "min_chroma": 7.5}
    config["data"] = "image_folder/gone/1.0.0"
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="are not those that it was trained on"):
        compare.evaluate_runs([run], tmp_path / "other")


def test_a_file_of_weights_has_the_figures_of_its_run(tmp_path):
    run = support.trained("cnn")
    export_weights(load_run(run, "cnn"), tmp_path / "cnn.safetensors", "", "float32")
    ours = compare.evaluate_runs([tmp_path / "cnn.safetensors"], tmp_path / "out")
    expected = json.loads((run / "report" / "results.json").read_text())["results"]
    assert ours["results"]["cnn.safetensors"] == pytest.approx(
        expected["encoder_decoder"], rel=1e-5, abs=1e-5
    )


@pytest.mark.slow
def test_runs_of_two_sizes_see_their_own_and_are_compared_on_the_same_pixels(tmp_path):
    support.train(support.tiny_config("cnn", num_steps=2, image_size=64), tmp_path / "large")
    found = compare.evaluate_runs([support.trained("cnn"), tmp_path / "large"], tmp_path / "out")
    assert found["about"]["image size"] == 64
    assert "cnn at 32" in found["about"]["seen in other sizes"]
    alone = compare.evaluate_runs([tmp_path / "large"], tmp_path / "alone")
    assert found["results"]["large"] == pytest.approx(alone["results"]["large"], rel=1e-5, abs=1e-5)
    assert found["results"]["grey"] == pytest.approx(alone["results"]["grey"], rel=1e-5, abs=1e-5)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """The same with damaged inputs."""
    output = tmp_path_factory.mktemp("evaluate") / "damaged"
    runs = support.trained("cnn"), support.trained("small_gan")
    assert _evaluate(*runs, "--output", output, "--damage", "1") == 0
    return output


def test_on_damaged_inputs_the_report_is_the_same_and_says_what_damage_costs(compared, damaged):
    assert support.files(damaged) == support.files(compared)
    before, found = _results(compared), _results(damaged)
    assert list(found["results"]) == list(before["results"])
    for name, metrics in before["results"].items():
        assert found["undamaged"]["results"][name] == pytest.approx(metrics, rel=1e-5, abs=1e-5)
    losses = {(row["a"], row["metric"]): row["difference"] for row in found["undamaged"]["losses"]}
    for (name, metric), loss in losses.items():
        expected = found["results"][name][metric] - before["results"][name][metric]
        assert loss == pytest.approx(expected, rel=1e-4, abs=1e-4)
        if name in ("grey", "mean colour"):  # they do not look at L
            assert loss == pytest.approx(0, abs=1e-6)
    assert abs(losses["mean colour for each lightness", "mse"]) > 0.1
    assert abs(losses["cnn", "mse"]) > 1e-3
    assert "strength up to 1," in found["about"]["inputs"]
    assert "What damage costs" in (damaged / "report.html").read_text()
    assert "What damage costs" in (damaged / "results.md").read_text()
    assert "undamaged" not in before
    assert "What damage costs" not in (compared / "report.html").read_text()


def test_the_grid_shows_what_the_runs_saw_and_the_truth_as_it_is(compared, damaged):
    before, after = (_pictures(output) for output in (compared, damaged))
    assert before["order"] == ["grey", "cnn", "small_gan", "truth"]
    assert after["order"] == ["damaged", "cnn", "small_gan", "truth"]
    assert sorted(after["columns"]["truth"]) == sorted(before["columns"]["truth"])
    assert not set(after["columns"]["damaged"]) & set(before["columns"]["grey"])


def _pictures(output):
    text = (output / "report.html").read_text()
    return json.loads(re.search(r'id="pictures">(.*?)</script>', text, re.DOTALL)[1])


def test_damage_of_strength_zero_changes_nothing(compared, tmp_path):
    runs = [support.trained("cnn"), support.trained("small_gan")]
    found = compare.evaluate_runs(runs, tmp_path / "out", damage_strength=0.0)
    before = _results(compared)
    for results in (found["results"], found["undamaged"]["results"]):
        for name, metrics in before["results"].items():
            assert results[name] == pytest.approx(metrics, rel=1e-5, abs=1e-5)
    assert not any(row["real"] for row in found["undamaged"]["losses"])


def test_a_gan_alone_is_not_compared_with_what_saw_no_damage(tmp_path):
    found = compare.evaluate_runs(
        [support.trained("small_gan")], tmp_path / "out", damage_strength=0.5
    )
    assert list(found["results"]) == ["small_gan", *compare.BASELINES]


def test_a_report_is_kept_unless_it_may_be_replaced(compared, capsys):
    before = {file: file.read_bytes() for file in compared.iterdir()}
    assert _evaluate(support.trained("cnn"), "--output", compared) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "holds a report" in line
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
    assert found["about"]["images without colour"] == "2, evaluated as they are"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "the folder does not exist"),
        (lambda path: path.mkdir(), "no config.json"),
        (lambda path: support.copy_until(support.trained("cnn"), 0, path), "no checkpoint yet"),
        (lambda path: _with_config(path, "{"), "is corrupt"),
        (lambda path: _with_config(path, "[]"), "is corrupt"),
        (lambda path: _with_config(path, "{}"), "does not describe a model"),
        (lambda path: _with_config(path, '{"model": {"name": "vgg"}, "image_size": 32}'), "'vgg'"),
        (lambda path: _wider(path), "has shape"),
    ],
)
def test_what_is_no_run_is_refused_in_one_line_and_nothing_is_written(
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
        (["--damage", "1.5"], "'1.5' is no strength in [0, 1]"),
        (["--damage", "nan"], "'nan' is no strength in [0, 1]"),
        (["--damage", "runs/gan"], "'runs/gan' is no strength in [0, 1]"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(tmp_path, capsys, arguments, message):
    output = ["--output", tmp_path / "out"] if arguments else []
    assert _evaluate(support.trained("cnn"), *output, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_run_is_loaded_though_keys_came_and_went(tmp_path):
    shutil.copytree(support.trained("cnn"), path := tmp_path / "run")
    config = json.loads((path / "config.json").read_text())
    del config["model"]["skip_connections"], config["ema_decay"]
    config["model"]["unheard_of"] = 1
    (path / "config.json").write_text(json.dumps(config))
    run = trained_model.load_run(path, "old")
    assert (run.name, run.step, run.is_regression) == ("old", support.NUM_STEPS, True)
    assert run.rows == support.rows(support.trained("cnn"))


def test_a_checkpoint_is_opened_by_its_step_or_as_the_best(tmp_path):
    workdir = shutil.copytree(support.trained("cnn"), tmp_path / "cnn")
    first, *_, last = saved_steps(workdir / "checkpoints")
    with (workdir / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": first, "split": "validation", "mse": 0.0}) + "\n")
    newest, early, best = (
        trained_model.load_run(path, "cnn")
        for path in (workdir, workdir / f"checkpoints/{first}", workdir / "checkpoints/best")
    )
    assert (newest.step, early.step, best.step) == (last, first, first)
    assert newest.path == early.path == best.path == workdir
    chex.assert_trees_all_equal(early.variables, best.variables)
    with pytest.raises(AssertionError):
        chex.assert_trees_all_equal(early.variables, newest.variables)


def test_a_checkpoint_that_is_not_there_is_refused(tmp_path):
    workdir = shutil.copytree(support.trained("cnn"), tmp_path / "cnn")
    with pytest.raises(InputError, match="no checkpoint of step 7; it has"):
        trained_model.load_run(workdir / "checkpoints" / "7", "cnn")
    (workdir / "metrics.jsonl").unlink()
    with pytest.raises(InputError, match="validation metric 'mse'"):
        trained_model.load_run(workdir / "checkpoints" / "best", "cnn")


def test_names_are_those_of_the_folders_unless_they_are_not_enough(tmp_path):
    for run in ("gan-procedural_faces", "b/cnn-image_folder", "gan-image_folder"):
        (tmp_path / run).mkdir(parents=True)
        config = {"dataset": {"name": run.rpartition("-")[2]}}
        (tmp_path / run / "config.json").write_text(json.dumps(config))

    def names(*folders):
        return trained_model.run_names([tmp_path / folder for folder in folders], ["truth"])

    assert names("gan-procedural_faces", "b/cnn-image_folder") == ["gan", "cnn"]
    assert names("gan-procedural_faces", "gan") == ["gan-procedural_faces", "gan"]
    assert names("a/run", "b/run") == [f"{tmp_path}/a/run", f"{tmp_path}/b/run"]
    assert names("gan-image_folder", "gan-image_folder/checkpoints/400") == ["gan", "gan 400"]
    assert names("checkpoints/gan", "checkpoints/²") == ["gan", "²"]
    assert names("truth") == [f"{tmp_path}/truth"]
    with pytest.raises(InputError, match="given twice"):
        trained_model.run_names([tmp_path, tmp_path / "a" / ".."], [])


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit) as error:
        cli.main(["evaluate", "--help"])
    assert error.value.code == 0
    assert "colorjax evaluate runs/" in capsys.readouterr().out
