"""The folder of a run: one run and one process at a time, and each step once in its metrics."""

import json
import resource
import subprocess
import sys
import time

import pytest

from colorjax.runs.workdir import MetricsWriter, best_step, claimed
from colorjax.terminal.errors import InputError

CONFIG = {
    "seed": 0,
    "num_steps": 100,
    "dataset": {"name": "image_folder", "path": "a", "validation_path": ""},
    "model": {"name": "resnet", "width": 1.0},
}


def _changed(key, value):
    group, _, name = key.rpartition(".")
    if not group:
        return {**CONFIG, name: value}
    return {**CONFIG, group: {**CONFIG[group], name: value}}


def _claim(workdir, config=CONFIG, data_key="faces/1"):
    with claimed(workdir, config, data_key):
        pass


def _config(workdir):
    return json.loads((workdir / "config.json").read_text())


def test_a_run_writes_its_config_and_data_and_may_be_resumed(tmp_path):
    workdir = tmp_path / "a" / "b"
    for _ in range(2):
        _claim(workdir)
        assert _config(workdir) == {**CONFIG, "data": "faces/1"}
        assert sorted(file.name for file in workdir.iterdir()) == ["config.json", "lock"]


@pytest.mark.parametrize(
    ("key", "value"), [("num_steps", 200), ("dataset.path", "elsewhere"), ("command", "again")]
)
def test_a_key_that_may_change_is_written_again(tmp_path, key, value):
    _claim(tmp_path)
    _claim(tmp_path, _changed(key, value))
    assert _config(tmp_path) == {**_changed(key, value), "data": "faces/1"}


def test_a_run_older_than_a_key_may_be_resumed_with_what_it_did(tmp_path):
    _claim(tmp_path)
    _claim(tmp_path, {**CONFIG, "model": {**CONFIG.get("model", {}), "output_stride": 1}})
    with pytest.raises(InputError, match=r"model\.output_stride \(1 there, 4 now\)"):
        _claim(tmp_path, {**CONFIG, "model": {**CONFIG.get("model", {}), "output_stride": 4}})


def test_another_run_is_refused_with_every_key_that_differs(tmp_path):
    _claim(tmp_path)
    before = (tmp_path / "config.json").read_bytes()
    other = {**_changed("model.name", "cnn"), "seed": 7, "num_steps": 9, "gan": {"loss": "hinge"}}
    with pytest.raises(InputError) as error:
        _claim(tmp_path, other, "faces/2")
    assert str(error.value) == (
        f"{tmp_path} holds another run: data (faces/1 there, faces/2 now), gan.loss (None there, "
        "hinge now), model.name (resnet there, cnn now), seed (0 there, 7 now); choose another "
        "--workdir"
    )
    assert (tmp_path / "config.json").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b'{"seed": 0, "mod', b"\xff\xfe\x00\x80", b"[]", b"null"])
def test_a_corrupt_config_is_refused_and_left_alone(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(InputError, match=r"config\.json is corrupt.*--workdir"):
        _claim(tmp_path)
    assert (tmp_path / "config.json").read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 1


def test_a_workdir_that_is_a_file_or_in_a_file_is_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    for workdir in (file, file / "below"):
        with pytest.raises(InputError, match=r"cannot write to .*--workdir"):
            _claim(workdir)
    assert file.read_text() == "mine"


def test_a_second_process_is_refused_until_the_first_is_gone_even_if_it_is_killed(tmp_path):
    code = """
import sys, pathlib
from colorjax.runs.workdir import claimed
with claimed(pathlib.Path(sys.argv[1]), {}, "faces/1"):
    print("claimed", flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"claimed\n"
        for _ in range(2):
            with pytest.raises(InputError) as error:
                _claim(tmp_path, {})
            assert str(error.value).startswith(f"process {holder.pid} on ")
            assert f"is training in {tmp_path}; wait until it ends" in str(error.value)
        holder.kill()
    for _ in range(2):
        _claim(tmp_path, {})


def _lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_lines_that_a_full_disk_refuses_are_written_later(tmp_path):
    notes = []
    writer = MetricsWriter(tmp_path, 0, tensorboard=False, note=notes.append)
    writer.write(1, "train", {"loss": 1.0})
    size = (tmp_path / "metrics.jsonl").stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5, limits[1]))
    try:
        writer.write(2, "train", {"loss": 2.0})
        writer.write(3, "train", {"loss": 3.0})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(notes) == 2
    assert all("metrics.jsonl" in note for note in notes)
    writer.write(4, "train", {"loss": 4.0})
    assert [line["step"] for line in _lines(tmp_path)] == [1, 2, 3, 4]


def test_the_best_step_has_the_lowest_validation_metric(tmp_path):
    writer = MetricsWriter(tmp_path, 0, tensorboard=False)
    for step, mse in ((1, 3.0), (2, 1.0), (3, 2.0)):
        writer.write(step, "train", {"mse": 0.0})
        writer.write(step, "validation", {"mse": mse, "delta_cf": -mse})
    assert best_step(writer.rows, [1, 2, 3, 4], "mse") == 2
    assert best_step(writer.rows, [1, 3], "mse") == 3
    assert best_step(writer.rows, [1, 2, 3], "delta_cf") == 1
    assert best_step(writer.rows, [4], "mse") is best_step(writer.rows, [1], "") is None


def test_each_step_of_a_split_is_written_once(tmp_path):
    writer = MetricsWriter(tmp_path, 0, tensorboard=False)
    writer.write(1, "train", {"loss": 2.0})
    writer.write(1, "validation", {"mse": 7.0})
    writer.write(1, "train", {"loss": 3.0})
    writer.write(2, "train", {"loss": 1.0})
    expected = [
        {"step": 1, "split": "train", "loss": 2.0},
        {"step": 1, "split": "validation", "mse": 7.0},
        {"step": 2, "split": "train", "loss": 1.0},
    ]
    assert _lines(tmp_path) == writer.rows == expected


@pytest.mark.parametrize("step", [0, 2, 3])
def test_lines_past_the_restored_step_and_incomplete_lines_are_dropped(tmp_path, step):
    writer = MetricsWriter(tmp_path, 0, tensorboard=False)
    for number in (1, 2, 3):
        writer.write(number, "train", {"loss": float(number)})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "split": "validation", "ms')
    writer = MetricsWriter(tmp_path, step, tensorboard=False)
    expected = [{"step": n, "split": "train", "loss": float(n)} for n in range(1, step + 1)]
    assert _lines(tmp_path) == writer.rows == expected


def test_metrics_are_written_for_tensorboard_too(tmp_path):
    pytest.importorskip("tensorboardX")
    MetricsWriter(tmp_path, 0, tensorboard=True).write(1, "train", {"loss": 1.0})
    (events,) = (tmp_path / "tensorboard").iterdir()
    end = time.monotonic() + 60  # a thread writes them
    while b"train/loss" not in events.read_bytes():
        assert time.monotonic() < end
        time.sleep(0.1)
