"""The benchmark's command: tables, JSON, and wrong input."""

import json
import os
import subprocess
import sys

import hinted
import pytest
from random_models import random_run
from support import environment, faces, trained

from colorjax.benchmark import __main__ as benchmark
from colorjax.runs.weights import export_weights
from colorjax.terminal.errors import InputError

SMALL = ["--images", "8", "--rounds", "1", "--batch_size", "8", "--image_size", "16"]


def test_data_are_measured_as_a_table_and_as_json(tmp_path, capsys):
    output = tmp_path / "data.json"
    options = ["--path", str(faces()), "--output", str(output), "--size", "50"]
    benchmark.run(["data", *options, *SMALL])
    written = json.loads(output.read_text())
    plain, ours = written["results"]
    assert plain["of plain decoding"] == 1
    assert ours["images/s"] > 0
    assert ours["of plain decoding"] == pytest.approx(ours["images/s"] / plain["images/s"])
    assert written["about"]["images in the data set"] == 50
    out = capsys.readouterr().out
    assert "| colorjax, to the device | " in out
    assert "cores: " in out


@pytest.mark.slow
def test_colouring_is_measured_part_by_part(capsys):
    options = ["--images", "2", "--side", "64", "--rounds", "1"]
    benchmark.run(["colorize", "--model", str(trained("cnn")), *options])
    out = capsys.readouterr().out
    for part in ("Pillow: decode and encode", "find faces", "write", "the entire folder"):
        assert f"| {part} | " in out
    assert "photographs: 2 JPEGs of 64×64" in out
    assert "one photograph in a new process, seconds: " in out


@pytest.mark.slow
def test_exported_models_are_measured_in_turns(tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnx", reason="the extra `onnx` is not installed")
    pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    for name, value in environment().items():  # of the processes
        monkeypatch.setenv(name, value)
    weights, output = tmp_path / "random.safetensors", tmp_path / "export.json"
    export_weights(random_run(), weights, "# A card\n", "float32")
    sizes = ["--sides", "32", "64", "--rounds", "2", "--calls", "2"]
    benchmark.run(["export", "--model", str(weights), *sizes, "--output", str(output)])
    rows = json.loads(output.read_text())["results"]
    files = {row["file"]: row for row in rows if "file" in row}
    for kind in ("onnx", "stablehlo"):
        assert files[f"{kind}, float16"]["MiB"] < files[f"{kind}, float32"]["MiB"]
        assert files[f"{kind}, float32"]["from JAX, at most"] <= 1e-3
    assert 10 < files["onnx, float32"]["nodes"] <= 60
    times = [row for row in rows if "runtime" in row]
    assert {row["runtime"] for row in times} == {"onnxruntime", "colorjax", "JAX, from StableHLO"}
    assert len(times) == 6 * min(2, len(os.sched_getaffinity(0)))
    assert all(0 < row["least"] <= row["ms"] <= row["most"] for row in times)
    assert "| onnxruntime | 1 | 64×64 | " in capsys.readouterr().out


@pytest.mark.slow
def test_hints_on_the_page_are_measured(tmp_path):
    output = tmp_path / "serve.json"
    options = ["--model", str(hinted.exported(tmp_path)), "--hints", "3", "--output", str(output)]
    command = [sys.executable, "-m", "colorjax.benchmark", "serve", *options]
    out = subprocess.run(command, env=environment(), check=True, stdout=subprocess.PIPE).stdout
    portrait, group = json.loads(output.read_text())["results"]
    assert (portrait["picture"], group["picture"]) == ("portrait, 512×512", "group, 1536×1536")
    for row in (portrait, group):
        assert 0 < row["least"] <= row["with a new hint, ms"] <= row["most"]
        assert row["first preview, ms"] > 0
    assert b"| picture | first preview, ms | with a new hint, ms |" in out
    plain = str(hinted.exported(tmp_path, hints=0.0))
    with pytest.raises(InputError, match="takes no hints; give another --model"):
        benchmark.run(["serve", "--model", plain])


def test_wrong_input_is_refused(tmp_path):
    with pytest.raises(InputError, match="argument --images: 0 is less than 1"):
        benchmark.run(["data", "--images", "0"])
    with pytest.raises(InputError, match="WHAT"):
        benchmark.run([])
    with pytest.raises(InputError, match="does not exist"):
        benchmark.run(["data", "--path", str(tmp_path / "nowhere")])


def test_a_table_rounds_numbers():
    rows = [{"": "a", "x": 1234.5, "y": 0.12345}, {"": "b", "x": 7.0, "y": 3}]
    assert benchmark.table(rows).splitlines() == [
        "|  | x | y |",
        "|---|---:|---:|",
        "| a | 1234 | 0.123 |",
        "| b | 7 | 3 |",
    ]
