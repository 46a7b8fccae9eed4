"""`benchmark train`: its tables, wrong input, and the processes it starts."""

import importlib.util
import json
import os

import pytest
from support import ROOT, environment, faces

from colorjax.benchmark import __main__ as benchmark
from colorjax.benchmark.remote import Remote
from colorjax.terminal.errors import EndedError, InputError

SMALL = ["--width", "0.0625", "--batch-size", "8", "--image-size", "32"]
ONCE = ["--steps", "2", "--rounds", "2"]


@pytest.fixture
def quick_processes(monkeypatch):
    """Processes compile without expensive optimizations."""
    monkeypatch.chdir(ROOT)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)


def test_training_is_measured_as_tables_and_as_json(tmp_path, quick_processes, capsys):
    output = tmp_path / "train.json"
    options = ["--model", "encoder_decoder", "--four-phases", "--output", str(output)]
    benchmark.run(["train", *options, *SMALL, *ONCE, "--path", str(faces())])
    written = json.loads(output.read_text())
    training, phases, other, _ = written["results"]
    assert phases["by"] == "colorjax, four phases, float32"
    assert training["images/s"] == pytest.approx(8e3 / training["ms per step"])
    assert training["least"] <= training["ms per step"] <= training["most"]
    assert training["CPU ms"] > 0
    rate = training["GFLOP per step"] * 1e3 / training["ms per step"]
    assert training["GFLOP/s"] == pytest.approx(rate)
    assert 0 < training["of peak"] < 1
    # Imports alone take longer, and need more memory.
    assert training["first step, s"] > 0.1
    assert training["MiB"] > 50
    assert other["share"] == pytest.approx(other["from files"] / training["images/s"])
    out = capsys.readouterr().out
    assert "| encoder_decoder | colorjax, float32 | " in out
    assert "image_size: [32]" in out


@pytest.mark.slow
def test_pytorch_is_measured_in_turns_with_as_many_parameters(tmp_path, quick_processes):
    pytest.importorskip("torch")
    output = tmp_path / "train.json"
    # Compiling the GAN's takes PyTorch four minutes.
    options = ["--model", "encoder_decoder", "--against", "pytorch", "--dtype", "bfloat16"]
    benchmark.run(
        ["train", *options, "--output", str(output), *SMALL, *ONCE, "--path", str(faces())]
    )
    ours, theirs, compiled, *_ = json.loads(output.read_text())["results"]
    assert theirs["by"] == "PyTorch, bfloat16"
    assert ours["parameters"] == theirs["parameters"] > 0
    assert compiled["by"].startswith("PyTorch, torch.compile")


@pytest.mark.slow
def test_dtypes_and_strides_are_measured_in_turns_without_a_compiler(
    tmp_path, quick_processes, monkeypatch
):
    pytest.importorskip("torch")
    monkeypatch.setattr("shutil.which", lambda name: None)
    output = tmp_path / "train.json"
    options = ["--model", "encoder_decoder", "--against", "pytorch", "--output-stride", "1", "4"]
    benchmark.run(
        ["train", *options, "--output", str(output), *SMALL, *ONCE, "--path", str(faces())]
    )
    written = json.loads(output.read_text())
    assert written["about"]["torch.compile"].startswith("not measured: there is no C++ compiler")
    names = [row["by"] for row in written["results"] if "CPU ms" in row]
    assert names == [
        f"{by}, {dtype}{stride}"
        for dtype in ("float32", "bfloat16")
        for stride in ("", ", output_stride 4")
        for by in ("colorjax", "PyTorch")
    ]


def test_wrong_input_is_refused(monkeypatch, quick_processes):
    with pytest.raises(InputError, match="argument --steps: 0 is less than 1"):
        benchmark.run(["train", "--steps", "0"])
    with pytest.raises(InputError, match="set it to a multiple of 8"):
        benchmark.run(["train", "--model", "encoder_decoder", "--batch-size", "3"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs PyTorch"):
        benchmark.run(["train", "--against", "pytorch"])


class Counter:
    """Counts in its process."""

    def __init__(self, start: int):
        if start < 0:
            raise InputError("a count starts at 0")
        self.count = start

    def add(self, number: int) -> int:
        self.count += number
        return self.count

    def fail(self) -> None:
        raise RuntimeError("out of memory\nin two lines")

    def vanish(self) -> None:
        os._exit(7)


def test_an_object_in_another_process_keeps_its_state():
    with Remote(Counter, 3) as counter:
        assert counter.call("add", 2) == 5
        assert counter.call("add", 2) == 7
        assert counter.seconds > 0


def test_errors_in_another_process_are_one_line():
    with pytest.raises(InputError, match="a count starts at 0"):
        Remote(Counter, -1)
    with Remote(Counter, 0) as counter, pytest.raises(EndedError, match="RuntimeError: out of m"):
        counter.call("fail")
    with Remote(Counter, 0) as counter, pytest.raises(EndedError, match="a process died"):
        counter.call("vanish")
