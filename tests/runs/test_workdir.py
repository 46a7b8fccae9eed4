"""The folder of a run: whose it is, and that its metrics have each step once."""

import json
import resource
import subprocess
import sys

import pytest

from colorjax.runs.workdir import MetricsWriter, best_step, claim, claimed
from colorjax.terminal.errors import InputError

CONFIG = {
    "seed": 0,
    "num_steps": 100,
    "generator_pretrain_steps": 10,
    "log_every": 10,
    "eval_every": 20,
    "checkpoint_every": 20,
    "checkpoints_to_keep": 3,
    "tensorboard": False,
    "dataset": {"name": "image_folder", "path": "a", "validation_path": "", "cache_dir": ""},
    "model": {"name": "resnet", "width": 1.0},
}


def _changed(key, value):
    group, _, name = key.rpartition(".")
    if not group:
        return {**CONFIG, name: value}
    return {**CONFIG, group: {**CONFIG[group], name: value}}


def test_a_run_writes_its_config_and_data_once_and_may_go_on(tmp_path):
    claim(tmp_path / "a" / "b", CONFIG, "faces/1")
    written = json.loads((tmp_path / "a" / "b" / "config.json").read_text())
    assert written == {**CONFIG, "data": "faces/1"}
    claim(tmp_path / "a" / "b", CONFIG, "faces/1")
    assert [file.name for file in (tmp_path / "a" / "b").iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_steps", 200),
        ("generator_pretrain_steps", 0),
        ("log_every", 1),
        ("eval_every", 1),
        ("checkpoint_every", 1),
        ("checkpoints_to_keep", 1),
        ("tensorboard", True),
        ("dataset.path", "elsewhere"),
        ("dataset.validation_path", "elsewhere"),
        ("dataset.cache_dir", "elsewhere"),
    ],
)
def test_lengths_cadences_and_places_may_differ_and_are_written_anew(tmp_path, key, value):
    claim(tmp_path, CONFIG, "faces/1")
    claim(tmp_path, _changed(key, value), "faces/1")
    written = json.loads((tmp_path / "config.json").read_text())
    assert written == {**_changed(key, value), "data": "faces/1"}


@pytest.mark.parametrize(
    ("key", "value"),
    [("seed", 1), ("model.name", "encoder_decoder"), ("model.width", 0.5)],
)
def test_another_run_is_refused_by_the_name_of_the_key(tmp_path, key, value):
    claim(tmp_path, CONFIG, "faces/1")
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(InputError, match="holds another run") as error:
        claim(tmp_path, _changed(key, value), "faces/1")
    assert f"another run: {key} (" in str(error.value)
    assert f"{value} now)" in str(error.value)
    assert (tmp_path / "config.json").read_bytes() == before


def test_a_run_from_before_the_key_existed_goes_on_as_what_it_was(tmp_path):
    claim(tmp_path, CONFIG, "faces/1")
    claim(tmp_path, CONFIG | {"half_size_steps": 0}, "faces/1")
    claim(tmp_path, CONFIG, "faces/1")
    with pytest.raises(InputError, match=r"half_size_steps \(0 there, 1 now\)"):
        claim(tmp_path, CONFIG | {"half_size_steps": 1}, "faces/1")


def test_all_keys_that_differ_are_named_the_data_among_them(tmp_path):
    claim(tmp_path, CONFIG, "faces/1")
    with pytest.raises(InputError, match=r"data \(.*model\.name \(.*seed \(") as error:
        claim(tmp_path, _changed("model.name", "encoder_decoder") | {"seed": 7}, "faces/2")
    assert "faces/1 there, faces/2 now" in str(error.value)
    assert "num_steps" not in str(error.value)


def test_a_key_that_only_one_of_the_two_runs_has_makes_them_differ(tmp_path):
    claim(tmp_path, CONFIG, "faces/1")
    with pytest.raises(InputError, match=r"gan\.loss \(None there, hinge now\)"):
        claim(tmp_path, {**CONFIG, "gan": {"loss": "hinge"}}, "faces/1")


@pytest.mark.parametrize(
    "content", [b"", b'{"seed": 0, "mod', b"\xff\xfe\x00\x80", b"[]", b"3", b"null"]
)
def test_a_damaged_config_is_said_to_be_damaged_and_left_alone(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(InputError, match=r"config\.json is damaged.*--workdir"):
        claim(tmp_path, CONFIG, "faces/1")
    assert (tmp_path / "config.json").read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 1


def test_a_workdir_that_is_a_file_or_in_a_file_is_refused_and_the_file_is_left_alone(tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    for workdir in (file, file / "below"):
        with pytest.raises(InputError, match=r"cannot write to .*--workdir"):
            claim(workdir, CONFIG, "faces/1")
    assert file.read_text() == "mine"


def test_a_workdir_is_one_run_s_at_a_time_and_free_when_its_process_is_gone(tmp_path):
    code = """
import sys, pathlib
from colorjax.workdir import claimed
with claimed(pathlib.Path(sys.argv[1]), {}, "faces/1"):
    print("claimed", flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"claimed\n"
        with (
            pytest.raises(InputError) as error,
            claimed(tmp_path, {}, "faces/1"),
        ):
            pass
        message = f"process {holder.pid} on "
        assert str(error.value).startswith(message)
        assert f"is training in {tmp_path}; wait for its end, or choose another" in str(error.value)
        holder.kill()
    for _ in range(2):
        with claimed(tmp_path, {}, "faces/1"):
            pass


def test_another_run_is_refused_before_a_lock_is_made(tmp_path):
    claim(tmp_path, CONFIG, "faces/1")
    with (
        pytest.raises(InputError, match="holds another run"),
        claimed(tmp_path, _changed("seed", 1), "faces/1"),
    ):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]


def test_lines_that_a_full_disk_does_not_take_are_written_later(tmp_path):
    notes = []
    writer = MetricsWriter(tmp_path, 0, tensorboard=False, note=notes.append)
    writer.write(1, "train", {"loss": 1.0})
    whole = (tmp_path / "metrics.jsonl").read_text()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 5, limits[1]))
    try:
        writer.write(2, "train", {"loss": 2.0})
        writer.write(3, "train", {"loss": 3.0})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(notes) == 2
    assert all("metrics.jsonl" in note for note in notes)
    writer.write(4, "train", {"loss": 4.0})
    assert [line["step"] for line in _lines(tmp_path)] == [1, 2, 3, 4]


def test_the_best_of_some_steps_is_the_lowest_on_validation(tmp_path):
    writer = MetricsWriter(tmp_path, 0, tensorboard=False)
    for step, mse in ((1, 3.0), (2, 1.0), (3, 2.0)):
        writer.write(step, "train", {"mse": 0.0})
        writer.write(step, "validation", {"mse": mse, "delta_cf": -mse})
    assert best_step(writer.rows, [1, 2, 3, 4], "mse") == 2
    assert best_step(writer.rows, [1, 3], "mse") == 3
    assert best_step(writer.rows, [1, 2, 3], "delta_cf") == 1
    assert best_step(writer.rows, [4], "mse") is best_step(writer.rows, [1], "") is None


def _lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_each_step_of_a_split_stands_once(tmp_path):
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


@pytest.mark.parametrize("step", [0, 1, 2, 3])
def test_lines_past_the_restored_step_are_dropped(tmp_path, step):
    writer = MetricsWriter(tmp_path, 0, tensorboard=False)
    for number in (1, 2, 3):
        writer.write(number, "train", {"loss": float(number)})
    writer = MetricsWriter(tmp_path, step, tensorboard=False)
    expected = [{"step": n, "split": "train", "loss": float(n)} for n in range(1, step + 1)]
    assert _lines(tmp_path) == writer.rows == expected
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_last_line_that_a_killed_run_wrote_half_of_is_dropped(tmp_path):
    writer = MetricsWriter(tmp_path, 0, tensorboard=False)
    writer.write(1, "train", {"loss": 1.0})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "split": "train", "lo')
    MetricsWriter(tmp_path, 2, tensorboard=False).write(2, "train", {"loss": 2.0})
    assert [line["loss"] for line in _lines(tmp_path)] == [1.0, 2.0]


def test_figures_go_to_tensorboard_too(tmp_path):
    pytest.importorskip("tensorboardX")
    writer = MetricsWriter(tmp_path, 0, tensorboard=True)
    writer.write(1, "train", {"loss": 1.0})
    writer._tensorboard.close()  # what the end of the process does
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"train/loss" in events.read_bytes()
