"""`colorjax colorize`: pipes, what is said of a batch, and what is remembered."""

import io
import os
import subprocess
import sys
import types

import pytest
import support
from albums import is_reddish
from PIL import Image

from colorjax.colorize import files
from colorjax.colorize.record import NAME


@pytest.fixture
def grey(tmp_path):
    path = tmp_path / "grey.jpg"
    Image.new("L", (48, 40), 99).save(path)
    return path


@pytest.fixture
def piped(command, monkeypatch):
    """The command between pipes: returns the exit status and what it wrote to its output."""

    def run(data, *arguments, terminal=False):
        out = io.BytesIO()
        pipe = io.TextIOWrapper(out, write_through=True)
        pipe.isatty = lambda: terminal
        monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(data)))
        monkeypatch.setattr("sys.stdout", pipe)
        return command(*arguments), out.getvalue()

    return run


def is_red(data):
    return is_reddish(io.BytesIO(data))


def test_standard_input_and_output(piped, grey, tmp_path, capsys):
    data = grey.read_bytes()
    for arguments, format in (
        (["-"], "JPEG"),
        (["-", "--output", "-", "--format", "tif"], "TIFF"),
        ([grey, "-o", "-"], "JPEG"),
    ):
        status, out = piped(data, *arguments)
        assert status == 0
        assert is_red(out)
        assert Image.open(io.BytesIO(out)).format == format
    for _ in range(2):
        assert piped(data, "-", "--output", tmp_path / "new.png")[0] == 0
    assert is_red((tmp_path / "new.png").read_bytes())
    assert sorted(os.listdir(tmp_path)) == [NAME, "grey.jpg", "new.png"]
    capsys.readouterr()
    assert piped(b"no image", "-") == (1, b"")
    *_, reason, last = capsys.readouterr().err.splitlines()  # after the progress
    assert reason.startswith("standard input: is not an image")
    assert last == "colorjax: 1 of 1 could not be coloured (see above)"


@pytest.mark.parametrize(
    ("arguments", "terminal", "words"),
    [
        (["-"], True, "standard output is a terminal; add > coloured.jpg"),
        (["{grey}", "-o", "-"], True, "standard output is a terminal"),
        (["-", "{grey}"], False, "- is for one picture"),
        (["{grey}", "{grey}", "-o", "-"], False, "- is for one picture"),
        (["{folder}", "-o", "-"], False, "- is for one picture"),
        (["{folder}/*.*g", "-o", "-"], False, "- is for one picture"),
        (["-", "--compare"], False, "--compare writes a second file"),
        (["-", "-o", "{folder}"], False, "standard input has no name"),
        (["nowhere.jpg", "-o", "-"], False, "does not exist"),
    ],
)
def test_pipes_that_cannot_be_used(piped, grey, tmp_path, capsys, arguments, terminal, words):
    (tmp_path / "b.png").write_bytes(grey.read_bytes())
    arguments = [text.format(grey=grey, folder=tmp_path) for text in arguments]
    assert piped(grey.read_bytes(), *arguments, terminal=terminal) == (2, b"")
    (error,) = capsys.readouterr().err.splitlines()
    assert words in error
    assert sorted(os.listdir(tmp_path)) == ["b.png", "grey.jpg"]


def test_standard_input_without_a_name_is_refused_before_it_is_read(
    command, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("sys.stdin", None)
    assert command("-", "-o", tmp_path) == 2
    assert "standard input is closed" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=None))  # fails if it is read
    assert command("-", "-o", tmp_path) == 2
    assert "standard input has no name" in capsys.readouterr().err


def test_a_file_may_be_called_standard_input(command, grey, capsys):
    named = grey.rename(grey.with_name("standard input.jpg"))
    assert command(named) == 0
    assert f"Coloured: {grey.parent}/standard input_coloured.jpg\n" in capsys.readouterr().out
    named.write_bytes(b"no image")
    assert command(named) == 1
    assert f"{named}: is not an image" in capsys.readouterr().err


def test_a_file_as_output_that_failed_is_not_counted(command, grey, tmp_path, capsys):
    grey.write_bytes(b"no image")
    assert command(grey, "-o", tmp_path / "out.jpg") == 1
    assert "coloured into" not in capsys.readouterr().out


def test_the_model_is_never_an_empty_name(command, grey, capsys):
    assert command(grey, "--model", "") == 2
    assert "'' is neither a run nor" in capsys.readouterr().err


def test_what_killed_processes_left_is_deleted_after_a_day(command, grey):
    old, new = (grey.with_name(f".colorjax-{number}.part") for number in (1, 2))
    for part in (old, new):
        part.touch()
    os.utime(old, (0, 0))
    assert command(grey) == 0
    assert new.exists()
    assert not old.exists()


def test_a_photograph_is_coloured_beside_itself_once(command, grey, capsys):
    assert command(grey) == command(grey) == 0
    target = grey.with_name("grey_coloured.jpg")
    assert is_red(target.read_bytes())
    assert f"Coloured: {target}\n" in (out := capsys.readouterr().out)
    assert "1 skipped, coloured already" in out
    assert command(grey.parent, "--saturation", 0) == 0
    assert not is_red(target.read_bytes())
    assert command(target) == 2
    assert "written by colorjax" in capsys.readouterr().err
    target.write_bytes(b"mine")
    assert command(grey) == 1
    assert target.read_bytes() == b"mine"
    assert "is not from colorjax; --overwrite" in capsys.readouterr().err


def test_other_weights_colour_again(command, grey, monkeypatch, capsys):
    run = grey.parent / "run"
    sums = run / "checkpoints" / "7" / "sha256.json"
    sums.parent.mkdir(parents=True)
    (run / "config.json").write_text("{}")
    counts = []
    for text in ("a", "a", "b"):
        sums.write_text(text)
        assert command(grey, "--model", run) == 0
        counts.append("1 skipped" in capsys.readouterr().out)
    assert counts == [False, True, False]
    assert command(grey, "--model", run / "checkpoints" / "7") == 0
    assert b"model run" in grey.with_name("grey_coloured.jpg").read_bytes()  # not "model 7"


def test_notes_are_grouped_and_failures_named(command, grey, monkeypatch, capsys):
    sources = [grey.with_name(f"{i}.jpg") for i in range(5)]
    for source in sources:
        source.write_bytes(grey.read_bytes())
    marks = []

    def colour(jobs, colorizer, results, *, mark, **_):
        marks.append(mark)
        results.coloured = 4
        results.failures.append((jobs[4].source, "is truncated"))
        notes = [(job.source, "its profile is corrupt; written in sRGB") for job in jobs[:4]]
        results.notes += [*notes, (sources[0], "no face")]

    monkeypatch.setattr(files, "colorize_files", colour)
    assert command(*sources) == command(*sources, "--no-mark") == 1
    out, error = capsys.readouterr()
    shown = f"its profile is corrupt; written in sRGB: {sources[0]}, {sources[1]} and 2 more"
    assert out.splitlines()[:3] == [
        "4 coloured beside the inputs.",
        shown,
        f"no face: {sources[0]}",
    ]
    assert error.splitlines()[-2:] == [
        f"{sources[4]}: is truncated",
        "colorjax: 1 of 5 could not be coloured (see above)",
    ]
    assert marks == ["faces", None]


def test_a_record_that_cannot_be_written_is_said_in_one_line(command, grey, capsys):
    (grey.parent / NAME).mkdir()
    assert command(grey) == 0
    assert "what was coloured is not remembered there" in capsys.readouterr().out


def test_the_output_of_a_pipe_is_the_picture_alone(grey):
    command = [sys.executable, "-m", "colorjax.cli", "colorize", "-"]
    found = subprocess.run(
        command, input=grey.read_bytes(), capture_output=True, env=support.environment()
    )
    assert found.returncode == 0, found.stderr
    with Image.open(io.BytesIO(found.stdout)) as image:
        assert (image.format, image.size) == ("JPEG", (48, 40))
