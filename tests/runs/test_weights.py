"""Weights files: what is exported is loaded, and anything else is refused."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import chex
import jax
import numpy as np
import pytest
import support
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from colorjax import cli
from colorjax.runs.cards import model_card
from colorjax.runs.model_paths import DEFAULT_MODEL, packaged, read_metadata
from colorjax.runs.trained_model import load_run
from colorjax.runs.weights import (
    export_weights,
    interpolate,
    load_weights,
    open_model,
)
from colorjax.terminal.errors import InputError


@pytest.fixture(scope="module")
def run():
    return load_run(support.trained("cnn"), "cnn")


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "cnn.safetensors"
    export_weights(run, path, "# A card")
    return path


def test_float32_weights_are_those_of_the_run(run, tmp_path):
    export_weights(run, tmp_path / "a.safetensors", "", "float32")
    loaded = load_weights(tmp_path / "a.safetensors", "a")
    chex.assert_trees_all_equal(jax.device_get(loaded.variables), jax.device_get(run.variables))
    assert loaded.step == run.step == support.NUM_STEPS


def test_half_precision_predicts_nearly_the_same_from_half_the_bytes(run, exported):
    loaded = load_weights(exported, "half")
    l = np.random.default_rng(0).uniform(0, 100, (2, 32, 32, 1)).astype(np.float32)
    expected, found = (np.asarray(r.predict(r.variables, l)) for r in (run, loaded))
    np.testing.assert_allclose(found, expected, atol=0.02 * abs(expected).max())
    assert (found != expected).any()
    arrays = load_file(exported)
    assert {(key.split("/")[0], array.dtype.name) for key, array in arrays.items()} == {
        ("params", "float16"),
        ("batch_stats", "float32"),
    }


def test_the_file_names_its_model_but_no_paths(exported):
    metadata = read_metadata(exported)
    config = json.loads(metadata["config"])
    assert config["model"]["name"] == "encoder_decoder"
    assert metadata["card"] == "# A card"
    assert str(support.faces()) not in json.dumps(metadata)


def test_neither_the_config_nor_the_card_has_a_command_with_paths(run, tmp_path):
    workdir = support.copy_until(support.trained("cnn"), support.NUM_STEPS, tmp_path / "run")
    (workdir / "report").mkdir()
    command = "```sh\npython -m colorjax.main --path=/home/ann\n```\n"
    results = f"- runs: cnn (step {run.step})\n\n| MSE |\n\n{command}"
    (workdir / "report" / "results.md").write_text(results)
    config = {**run.config, "command": "--path=/home/ann"}
    named = run._replace(path=workdir, config=config)
    export_weights(named, tmp_path / "a.safetensors", model_card(named))
    metadata = read_metadata(tmp_path / "a.safetensors")
    assert "| MSE |" in metadata["card"]
    assert "ann" not in json.dumps(metadata)


def test_the_card_names_the_model_the_data_and_the_metrics_of_its_checkpoint(run):
    card = model_card(run)
    assert card.startswith("# encoder_decoder, width 0.0625: colours grey faces\n")
    assert "6 of 6 steps of 8 images" in card
    assert "MSE" in card
    earlier = model_card(load_run(support.trained("cnn") / "checkpoints" / "2", "cnn"))
    assert "2 of 6 steps of 8 images" in earlier
    assert "MSE" not in earlier


def test_interpolation_averages_parameters_and_statistics(run, tmp_path):
    earlier, output = support.trained("cnn") / "checkpoints" / "2", tmp_path / "between.safetensors"
    command = ["export", str(run.path), "--output", str(output), "--dtype", "float32"]
    assert cli.main([*command, "--interpolate", str(earlier), "--share", "0.25"]) == 0
    between, other = load_weights(output, "between"), load_run(earlier, "cnn")
    expected = jax.tree.map(
        lambda x, y: np.float64(x) / 4 + np.float64(y) * 3 / 4, run.variables, other.variables
    )
    chex.assert_trees_all_close(jax.device_get(between.variables), expected, rtol=1e-5, atol=1e-7)
    for share, end in ((1.0, run), (0.0, other)):
        found = interpolate(run, other, share).variables
        chex.assert_trees_all_equal(jax.device_get(found), jax.device_get(end.variables))
    # The metrics of either network are not those of the interpolated one.
    card = read_metadata(output)["card"]
    assert "0.25 × this network + 0.75 × `cnn`" in card
    assert "MSE" not in card


def test_different_models_are_not_interpolated(run, tmp_path, capsys):
    wider = run._replace(variables=jax.tree.map(lambda x: np.repeat(x, 2, -1), run.variables))
    with pytest.raises(InputError, match=r"bn0/bias has shape \(4,\), this model needs \(2,\)"):
        interpolate(run, wider, 0.5)
    output = tmp_path / "a.safetensors"
    command = ["export", str(run.path), "--output", str(output), "--share"]
    for arguments, said in (
        (["1.5", "--interpolate", str(run.path)], "'1.5' is not in [0, 1]"),
        (["0.5"], "--share needs --interpolate"),
    ):
        assert cli.main([*command, *arguments]) == 2
        assert said in capsys.readouterr().err
    assert not output.exists()


def test_loading_a_file_needs_no_checkpoint_library(exported):
    code = (
        "import sys; from colorjax.colorize.colorizer import Colorizer; import numpy as np;"
        f"Colorizer.load({str(exported)!r})(np.zeros((8, 8), np.uint8));"
        "sys.exit(bool({'orbax', 'tensorstore', 'tensorflow_datasets'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300, env=support.environment())


def test_a_model_is_opened_by_folder_or_file(exported):
    assert open_model(str(support.trained("cnn"))).name == "cnn"
    assert open_model(str(support.trained("cnn") / "checkpoints" / "2")).step == 2
    assert open_model(str(exported)).name == "cnn"
    with pytest.raises(InputError, match="has no checkpoint of step 7; it has"):
        open_model(str(support.trained("cnn") / "checkpoints" / "7"))
    with pytest.raises(InputError, match="'nothing' is neither a run nor a weights file"):
        open_model("nothing")


def test_a_path_is_never_the_name_of_a_packaged_model(run, tmp_path, monkeypatch):
    export_weights(run, tmp_path / DEFAULT_MODEL, "")
    monkeypatch.chdir(tmp_path)
    assert open_model(Path(DEFAULT_MODEL)).step == run.step
    assert open_model(f"./{DEFAULT_MODEL}").step == run.step
    assert open_model(DEFAULT_MODEL).path == packaged()[DEFAULT_MODEL]
    with pytest.raises(InputError, match="'nothing' is neither a run nor a weights file"):
        open_model(Path("nothing"))


class _Evil:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was run",))


def _write(kind, path, exported):
    if kind == "pickle":
        path.write_bytes(pickle.dumps(_Evil()))
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        path.write_bytes(exported.read_bytes()[:-100])
    elif kind == "foreign":
        save_file({"x": np.zeros(3)}, path)
    elif kind in ("parameter missing", "no parameters", "config corrupt", "config of no model"):
        arrays = load_file(exported)
        with safe_open(exported, "numpy") as file:
            metadata = file.metadata()
        if kind.startswith("config"):
            metadata["config"] = "{" if kind == "config corrupt" else "{}"
        elif kind == "no parameters":
            arrays = {}
        else:
            arrays.pop(sorted(arrays)[-1])
        save_file(arrays, path, metadata)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("pickle", "not a safetensors file"),
        ("empty", "not a safetensors file"),
        ("truncated", "not a safetensors file"),
        ("foreign", "not from colorjax"),
        ("parameter missing", "is missing"),
        ("no parameters", "is missing"),
        ("config corrupt", "is corrupt"),
        ("config of no model", "is corrupt"),
        ("not there", "does not exist"),
    ],
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_that_export_did_not_write_is_refused(tmp_path, exported, kind, words, suffix):
    path = tmp_path / f"a{suffix}"
    _write(kind, path, exported)
    if kind == "not there" and suffix == ".pth":
        words = "neither a run nor a weights file"
    with pytest.raises(InputError, match=words) as caught:
        open_model(str(path))
    assert "\n" not in str(caught.value)


def test_a_file_may_have_any_name(run, tmp_path):
    export_weights(run, tmp_path / "weights", "")
    assert open_model(str(tmp_path / "weights")).step == run.step


def test_parameters_that_half_precision_cannot_hold_are_refused(run, tmp_path):
    large = jax.tree.map(lambda x: x + 1e6, run.variables)
    with pytest.raises(InputError, match="--dtype float32"):
        export_weights(run._replace(variables=large), tmp_path / "a.safetensors", "")
    assert not list(tmp_path.iterdir())


def test_the_packaged_model_is_small_listed_and_has_a_card(capsys):
    assert packaged()[DEFAULT_MODEL].stat().st_size <= 12 * 2**20
    assert cli.main(["models"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{DEFAULT_MODEL} (the default): efficientnet_lite")
    assert line.endswith("with distribution, with hints")
    assert cli.main(["models", DEFAULT_MODEL]) == 0
    card = capsys.readouterr().out
    assert card.startswith("# efficientnet_lite")
    for word in ("Trained on", "MSE", "Limits", "non-commercial research"):
        assert word in card
