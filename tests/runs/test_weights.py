import json
import pickle
import subprocess
import sys

import chex
import jax
import numpy as np
import pytest
import support
from safetensors.numpy import load_file, save_file

from colorjax import cli
from colorjax.runs import weights
from colorjax.runs.trained_model import load_run
from colorjax.runs.weights import (
    export_weights,
    interpolate,
    load_weights,
    model_card,
    open_model,
    read_metadata,
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
    assert {str(array.dtype) for key, array in arrays.items() if key.startswith("params")} == {
        "float16"
    }
    assert {str(array.dtype) for key, array in arrays.items() if "batch_stats" in key} == {
        "float32"
    }


def test_the_file_says_what_it_is_and_not_where_it_came_from(exported):
    metadata = read_metadata(exported)
    config = json.loads(metadata["config"])
    assert config["model"]["name"] == "encoder_decoder"
    assert metadata["card"] == "# A card"
    assert str(support.faces()) not in json.dumps(metadata)


def test_a_command_with_paths_is_neither_in_the_config_nor_in_the_card(run, tmp_path):
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


def test_the_card_names_model_data_and_figures(run):
    card = model_card(run)
    assert card.startswith("# encoder_decoder, width 0.0625: colours grey faces\n")
    assert "6 of 6 steps of 8 images" in card
    assert "MSE" in card


def test_the_card_of_an_earlier_checkpoint_has_not_the_figures_of_the_last():
    card = model_card(load_run(support.trained("cnn") / "checkpoints" / "2", "cnn"))
    assert "2 of 6 steps of 8 images" in card
    assert "MSE" not in card


def test_between_two_networks_every_parameter_and_statistic_lies_between(run, tmp_path):
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
    # Of neither network are the metrics this one's.
    card = read_metadata(output)["card"]
    assert "0.25 of that network, 0.75 of `cnn`" in card
    assert "MSE" not in card


def test_nothing_lies_between_different_models(run, tmp_path, capsys):
    wider = run._replace(variables=jax.tree.map(lambda x: np.repeat(x, 2, -1), run.variables))
    with pytest.raises(InputError, match=r"bn0/bn/bias has shape \(4,\), this model wants \(2,\)"):
        interpolate(run, wider, 0.5)
    output = tmp_path / "a.safetensors"
    command = ["export", str(run.path), "--output", str(output), "--share"]
    for arguments, said in (
        (["1.5", "--interpolate", str(run.path)], "'1.5' is not in [0, 1]"),
        (["0.5"], "name that with --interpolate"),
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
    with pytest.raises(InputError, match="'nothing' is neither a run nor a file of weights"):
        open_model("nothing")


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
    elif kind == "parameter missing":
        with weights.safe_open(exported, "numpy") as file:
            metadata = file.metadata()
        arrays = load_file(exported)
        arrays.pop(sorted(arrays)[-1])
        save_file(arrays, path, metadata)
    elif kind == "config damaged":
        with weights.safe_open(exported, "numpy") as file:
            metadata = file.metadata()
        save_file(load_file(exported), path, {**metadata, "config": "{"})


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("pickle", "no safetensors file"),
        ("empty", "no safetensors file"),
        ("truncated", "no safetensors file"),
        ("foreign", "of another program"),
        ("parameter missing", "is missing"),
        ("config damaged", "is damaged"),
        ("not there", "does not exist"),
    ],
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_what_are_no_weights_of_ours_is_refused(tmp_path, exported, kind, words, suffix):
    path = tmp_path / f"a{suffix}"
    _write(kind, path, exported)
    if kind == "not there" and suffix == ".pth":
        words = "neither a run nor a file"
    with pytest.raises(InputError, match=words) as caught:
        open_model(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "dtype", "words"),
    [("a.pth", "float16", ".safetensors"), ("a.safetensors", "int8", "float16, float32")],
)
def test_another_ending_or_type_is_refused(run, tmp_path, name, dtype, words):
    with pytest.raises(InputError, match=words):
        export_weights(run, tmp_path / name, "", dtype)
    assert not list(tmp_path.iterdir())


def test_parameters_that_half_precision_cannot_hold_are_refused(run, tmp_path):
    large = jax.tree.map(lambda x: x + 1e6, run.variables)
    with pytest.raises(InputError, match="--dtype float32"):
        export_weights(run._replace(variables=large), tmp_path / "a.safetensors", "")
    assert not list(tmp_path.iterdir())


def test_the_model_that_comes_with_colorjax_is_small_and_has_a_card():
    path = weights.packaged()[weights.DEFAULT_MODEL]
    assert path.stat().st_size <= 12 * 2**20
    card = read_metadata(path)["card"]
    for word in ("Trained on", "MSE", "Limits", "research"):
        assert word in card


def test_the_models_are_listed_and_the_default_among_them(capsys):
    assert cli.main(["models"]) == 0
    assert f"{weights.DEFAULT_MODEL} (the default): encoder_decoder" in capsys.readouterr().out
    assert cli.main(["models", weights.DEFAULT_MODEL]) == 0
    assert capsys.readouterr().out.startswith("# encoder_decoder")
