"""Opening runs and their checkpoints, and the names of runs."""

import json
import shutil

import chex
import pytest
import support

from colorjax.runs import trained_model
from colorjax.runs.checkpoint import saved_steps
from colorjax.terminal.errors import InputError


def test_a_run_is_loaded_by_its_model_and_image_size_alone(tmp_path):
    shutil.copytree(support.trained("cnn"), path := tmp_path / "run")
    config = json.loads((path / "config.json").read_text())
    del config["ema_decay"]
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
