"""`colorjax export` to ONNX and StableHLO: what is written, and what is refused."""

import json
import os
import subprocess
import sys

import jax.export
import numpy as np
import pytest
import support
from random_models import config, lightness, random_run

from colorjax import __version__, cli
from colorjax.export import parity
from colorjax.runs.model_paths import read_metadata
from colorjax.runs.weights import export_weights

onnx = pytest.importorskip("onnx", reason="the extra `onnx` is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
SIZES = "h and w must be multiples of 32"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    export_weights(random_run(), path, "# random: a card\n", "float32")
    return path


@pytest.fixture
def export(weights, tmp_path):
    """Exports to a folder of its own. Returns the exit status."""
    with support.quick_compilation():
        yield lambda name, *flags: cli.main(
            ["export", str(weights), "--output", str(tmp_path / "out" / name), *flags]
        )


def check_metadata(metadata):
    assert metadata["card"] == "# random: a card\n"
    assert json.loads(metadata["config"])["model"]["name"] == "encoder_decoder"
    assert "/home/ann" not in json.dumps(metadata)
    assert metadata["version"] == f"colorjax {__version__}"
    assert metadata["step"] == "7"
    assert SIZES in metadata["use"]


def test_an_onnx_file_has_the_card_and_is_compared_before_it_is_written(export, tmp_path, capsys):
    assert export("model.onnx") == 0
    said = capsys.readouterr().out
    assert "model.onnx: 0.1 MiB, step 7 of " in said
    assert float(said.partition("at most ")[2].split()[0]) < 1e-3
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx")
    check_metadata(session.get_modelmeta().custom_metadata_map)
    assert session.run(None, {"l": lightness(1, 1, 32, 64)})[0].shape == (1, 2, 32, 64)


def test_a_stablehlo_file_has_its_card_beside_it(export, tmp_path, capsys):
    assert export("model", "--format", "stablehlo") == 0
    assert float(capsys.readouterr().out.partition("at most ")[2].split()[0]) < 1e-3
    exported = jax.export.deserialize(bytearray((tmp_path / "out" / "model").read_bytes()))
    assert [str(aval) for aval in exported.in_avals] == ["float32[n,1,32*h,32*w]"]
    metadata = json.loads((tmp_path / "out" / "model.json").read_text())
    check_metadata(metadata)
    assert metadata["jax"] == jax.__version__
    assert "six months newer" in metadata["compatibility"]


@pytest.mark.parametrize("name", ["model.onnx", "model.stablehlo"])
def test_a_model_that_differs_is_refused_and_not_written(
    export, name, tmp_path, capsys, monkeypatch
):
    expected = parity.reference

    def wrong(run):
        return lambda l: expected(run)(l) + np.float32(0.01)

    monkeypatch.setattr(parity, "reference", wrong)
    assert export(name) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "differs from JAX by 0.01 in a*b*, more than 0.001, and is not written" in line
    assert not (tmp_path / "out").exists()
    assert export(name, "--dtype", "float16") == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["model.pt"], "must end in .safetensors, .onnx, .stablehlo; for another name give --form"),
        (["model.onnx", "--format", "stablehlo"], "ends in .onnx, which --format stablehlo contr"),
        (["model", "--format", "pickle"], "invalid choice: 'pickle'"),
    ],
)
def test_a_kind_that_is_not_clear_is_refused(export, arguments, words, tmp_path, capsys):
    assert export(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["model", "model.json"])
def test_a_folder_is_no_output_and_nothing_is_written(export, name, tmp_path, capsys):
    folder = tmp_path / "out" / name
    folder.mkdir(parents=True)
    assert export("model", "--format", "stablehlo") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{folder} is a folder; give --output a file" in line
    assert list((tmp_path / "out").rglob("*")) == [folder]


@pytest.mark.parametrize("fails", ["model", "model.json"])
def test_a_card_never_stands_alone(export, fails, tmp_path, capsys, monkeypatch):
    replace = os.replace

    def rename(source, target):
        if os.path.basename(target) == fails:
            raise OSError("disk broken")
        replace(source, target)

    monkeypatch.setattr("os.replace", rename)
    assert export("model", "--format", "stablehlo") == 2
    assert "cannot write" in capsys.readouterr().err
    found = {file.name for file in (tmp_path / "out").iterdir()}
    assert found == ({"model"} if fails == "model.json" else set())


def test_a_run_is_not_mistaken_for_a_packaged_model_of_its_name(tmp_path, monkeypatch, capsys):
    export_weights(random_run(), tmp_path / "faces", "# mine\n", "float32")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", "./faces", "--output", "mine.safetensors"]) == 0
    assert "step 7 of faces" in capsys.readouterr().out
    assert read_metadata(tmp_path / "mine.safetensors")["card"] == "# mine\n"
    flags = ["--interpolate", "./faces", "--share", "0.5"]
    assert cli.main(["export", "./faces", "--output", "between.safetensors", *flags]) == 0
    assert read_metadata(tmp_path / "between.safetensors")["step"] == "7"


@pytest.mark.parametrize("data", [b"caf\xe9", None])
def test_a_card_that_is_no_text_is_refused_before_anything_is_downloaded(tmp_path, capsys, data):
    card = tmp_path / "card.md"
    if data is not None:
        card.write_bytes(data)
    output = ["--output", str(tmp_path / "out" / "model.safetensors")]
    assert cli.main(["export", "hf:me/faces", *output, "--card", str(card)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--card {card} " in line
    assert not (tmp_path / "out").exists()


def test_a_missing_extra_is_named_before_jax_is_imported(tmp_path):
    code = (
        "import sys\n"
        "sys.modules['onnxruntime'] = None\n"
        "from colorjax import cli\n"
        "status = cli.main(['export', 'faces', '--output', 'faces.onnx'])\n"
        "assert 'jax' not in sys.modules\n"
        "sys.exit(status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=support.environment(),
    )
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert "ONNX needs the extra `onnx`: pip install" in line
    assert not list(tmp_path.iterdir())


def test_a_run_that_never_saved_is_refused(tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text(json.dumps(config()))
    assert cli.main(["export", str(run), "--output", str(tmp_path / "out" / "model.onnx")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "has no checkpoints/ folder" in line
    assert not (tmp_path / "out").exists()
