import errno
import os
import shutil
from pathlib import Path

import cv2
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from skimage import color, data

from colorjax import cli
from colorjax.colorize import files
from colorjax.colorize.colorizer import Colorizer
from colorjax.colorize.files import Job, plan


def reddish(variables, l):
    return jnp.concatenate([20 + 0 * l, 10 + 0 * l], axis=-1)


@pytest.fixture(scope="module")
def colorizer():
    return Colorizer(reddish, {}, image_size=32)


@pytest.fixture
def command(colorizer, monkeypatch):
    """`colorjax colorize` with a model that needs no training: returns the exit status."""
    monkeypatch.setattr(Colorizer, "load", lambda *_: colorizer)

    def run(*arguments):
        try:
            return cli.main(["colorize", *map(str, arguments)])
        except SystemExit as stop:
            if isinstance(stop.code, str):
                print(stop.code)
                return 1
            return stop.code

    return run


@pytest.fixture
def album(tmp_path):
    """Five grey pictures in a tree, of four formats."""
    grey = cv2.resize(data.astronaut()[..., 1], (48, 40), interpolation=cv2.INTER_AREA)
    folder = tmp_path / "album"
    for name in ("a.jpg", "b.png", "1950/c.tif", "1950/summer/d.webp", "1950/a.JPG"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grey).save(folder / name)
    (folder / "notes.txt").write_text("not an image")
    return folder


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


EVERY = ["1950/a.JPG", "1950/c.tif", "1950/summer/d.webp", "a.jpg", "b.png"]


def is_coloured(path):
    with Image.open(path) as image:
        lab = color.rgb2lab(np.asarray(image.convert("RGB")))
    return abs(lab[..., 1].mean() - 20) < 4


def test_a_folder_is_coloured_with_its_structure(command, album, tmp_path, capsys):
    assert command(album, "--output", tmp_path / "out") == 0
    assert names(tmp_path / "out") == EVERY
    assert all(is_coloured(tmp_path / "out" / name) for name in EVERY)
    assert "5 coloured into" in capsys.readouterr().out


def test_command_and_python_give_the_same(command, album, colorizer, tmp_path):
    command(album / "b.png", "--output", tmp_path / "out", "--saturation", 0.7)
    with Image.open(album / "b.png") as image, Image.open(tmp_path / "out" / "b.png") as written:
        np.testing.assert_array_equal(np.asarray(colorizer(image.convert("RGB"), 0.7)), written)


def test_no_model_need_be_named(tmp_path):
    portrait = data.astronaut()[25:205, 135:315]
    Image.fromarray(portrait).convert("L").save(tmp_path / "grey.png")
    assert (
        cli.main(["colorize", str(tmp_path / "grey.png"), "--output", str(tmp_path / "out")]) == 0
    )
    with Image.open(tmp_path / "out" / "grey.png") as image:
        error = color.rgb2lab(portrait) - color.rgb2lab(np.asarray(image))
    # Of grey it is 5.8.
    assert abs(error).mean() < 4


def test_files_folders_and_globs_are_taken(album, tmp_path):
    output = tmp_path / "out"
    jobs = plan([str(album / "a.jpg"), str(album / "1950")], output)
    assert [str(job.target.relative_to(output)) for job in jobs] == [
        "a.jpg",
        "a.JPG",
        "c.tif",
        "summer/d.webp",
    ]
    jobs = plan([str(album / "**" / "*.jpg")], output)
    assert jobs == [Job(album / "a.jpg", output / "a.jpg")]


def test_an_interrupted_command_goes_on(command, album, tmp_path, monkeypatch, capsys):
    write, written = files.write_photo, []

    def interrupt(path, photo):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        write(path, photo)

    monkeypatch.setattr(files, "write_photo", interrupt)
    assert command(album, "--output", tmp_path / "out", "--batch_size", 1) == 130
    assert len(names(tmp_path / "out")) == 2
    written_at = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*")}
    monkeypatch.setattr(files, "write_photo", write)
    assert command(album, "--output", tmp_path / "out") == 0
    assert "3 coloured" in (out := capsys.readouterr().out)
    assert "2 had been there before" in out
    assert names(tmp_path / "out") == EVERY
    for path, time in written_at.items():
        assert path.stat().st_mtime_ns == time
    assert command(album, "--output", tmp_path / "out", "--overwrite") == 0
    assert "5 coloured" in capsys.readouterr().out


def test_what_fails_is_listed_and_does_not_stop_the_rest(command, album, tmp_path, capsys):
    (album / "broken.jpg").write_bytes((album / "a.jpg").read_bytes()[:200])
    (album / "empty.png").write_bytes(b"")
    (album / "pickle.tif").write_bytes(b"\x80\x04K\x01.")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(
        album / "moving.webp", save_all=True, append_images=[Image.new("L", (4, 4), 255)]
    )
    assert command(album, "--output", tmp_path / "out", "--batch_size", 2) == 1
    assert names(tmp_path / "out") == EVERY
    found = capsys.readouterr()
    assert "4 of 9 could not be coloured" in found.out
    for name in ("broken.jpg", "empty.png", "pickle.tif", "moving.webp"):
        assert f"{album / name}: " in found.err


def test_options_people_ask_for(command, album, tmp_path):
    output = tmp_path / "out"
    assert command(album / "b.png", "--output", output, "--suffix", "_c", "--format", "tiff") == 0
    assert names(output) == ["b_c.tif"]
    assert command(album / "b.png", "--output", output, "--compare") == 0
    with Image.open(output / "b_png_compare.jpg") as pair:
        both = np.asarray(pair)
    assert both.shape == (40, 96, 3)
    grey, coloured = color.rgb2lab(both[:, :48]), color.rgb2lab(both[:, 48:])
    assert abs(grey[..., 1:]).max() < 3
    assert coloured[..., 1].mean() > 15


def test_an_output_within_the_input_is_no_input(command, album):
    assert command(album, "--output", album / "coloured") == 0
    assert names(album / "coloured") == EVERY
    assert command(album, "--output", album / "coloured", "--overwrite") == 0
    assert names(album / "coloured") == EVERY


def test_an_output_that_is_the_input_needs_a_suffix(command, album, capsys):
    before = {name: (album / name).read_bytes() for name in names(album)}
    assert command(album, "--output", album, "--overwrite") == 2
    assert "would be replaced by its colours" in capsys.readouterr().err
    assert {name: (album / name).read_bytes() for name in names(album)} == before
    for _ in range(2):  # the second time what the first wrote is no input
        assert command(album, "--output", album, "--suffix", "_c", "--overwrite") == 0
        assert len(names(album)) == 2 * len(EVERY) + 1


def test_a_file_that_is_given_twice_is_coloured_once(command, album, tmp_path, capsys):
    inputs = [album, album / "a.jpg", album / "a.jpg"]
    assert command(*inputs, "--output", tmp_path / "out", "--compare") == 0
    assert "5 coloured" in capsys.readouterr().out
    assert {"a_jpg_compare.jpg", "b_png_compare.jpg"} <= set(names(tmp_path / "out"))


def test_pairs_beside_their_pictures_are_no_input(command, album):
    options = ["--suffix", "_c", "--compare"]
    for _ in range(2):
        assert command(album, "--output", album, *options) == 0
        assert len(names(album)) == 3 * len(EVERY) + 1


def test_an_image_of_another_ending_keeps_it(command, album, tmp_path):
    shutil.copy(album / "a.jpg", album / "a.jfif")
    shutil.copy(album / "b.png", album / "scan")
    assert command(album / "a.jfif", album / "scan", "--output", tmp_path / "out") == 0
    assert is_coloured(tmp_path / "out" / "a.jfif")
    assert is_coloured(tmp_path / "out" / "scan")


def test_a_model_that_is_not_there_leaves_nothing(album, tmp_path, capsys):
    arguments = ["colorize", str(album), "--output", str(tmp_path / "out"), "--model", "nowhere"]
    assert cli.main(arguments) == 2
    assert "'nowhere' is neither a run nor a file of weights" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_links_that_lead_in_a_circle_end(command, album, tmp_path):
    (album / "1950" / "back").symlink_to(album)
    assert command(album, "--output", tmp_path / "out") == 0
    assert names(tmp_path / "out") == EVERY


def test_a_name_that_is_no_utf_8(command, album, tmp_path, capsys):
    name = os.fsdecode(b"gr\xfcn.png")
    shutil.copy(album / "b.png", album / name)
    (album / os.fsdecode(b"r\xf6t.png")).write_bytes(b"")
    assert command(album, "--output", tmp_path / "out") == 1
    assert name in names(tmp_path / "out")
    assert "r\ufffdt.png: is not an image" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_listed(command, album, tmp_path, capsys):
    (album / "a.jpg").chmod(0)
    assert command(album, "--output", tmp_path / "out") == 1
    assert f"{album / 'a.jpg'}: Permission denied" in capsys.readouterr().err


def test_a_full_disk_ends_the_command_with_one_line(command, album, tmp_path, monkeypatch, capsys):
    write = files.write_photo

    def full(path, photo):
        if path.name == "c.tif":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, photo)

    monkeypatch.setattr(files, "write_photo", full)
    assert command(album, "--output", tmp_path / "out", "--batch_size", 1) == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("colorjax: the disk of")
    assert all(is_coloured(tmp_path / "out" / name) for name in names(tmp_path / "out"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.jpg"], "nowhere.jpg does not exist"),
        (["nowhere/*.jpg"], "does not exist"),
        (["{empty}"], "there is no image"),
        (["{album}", "--format", "gif"], "invalid choice: 'gif'"),
        (["{album}", "--saturation", "much"], "--saturation"),
        (["{album}", "--saturation", "-1"], r"not in [0, 10]"),
        (["{album}", "--batch_size", "0"], "--batch_size"),
        (["{album}/a.jpg", "{album}/1950", "--format", "png"], "would both become"),
        ([], "the following arguments are required: IN"),
    ],
)
def test_wrong_input_gives_one_line_and_status_two(
    command, album, tmp_path, capsys, arguments, words
):
    (tmp_path / "empty").mkdir()
    places = {"album": album, "empty": tmp_path / "empty"}
    arguments = [argument.format(**places) for argument in arguments]
    (album / "1950" / "a.jpg").write_bytes((album / "a.jpg").read_bytes())
    assert command(*arguments, "--output", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file_is_refused(command, album, capsys):
    assert command(album / "a.jpg", "--output", album / "notes.txt") == 2
    assert "notes.txt (File exists); choose another --output" in capsys.readouterr().err


def test_pictures_are_taken_in_batches_of_few_pixels(album, monkeypatch):
    jobs = plan([str(album)], Path("out"))
    assert [len(batch) for batch in files._batches(jobs, 2)] == [2, 2, 1]
    monkeypatch.setattr(files, "BATCH_PIXELS", 2 * 48 * 40)
    assert [len(batch) for batch in files._batches(jobs, 8)] == [2, 2, 1]
    monkeypatch.setattr(files, "BATCH_PIXELS", 1)
    assert [len(batch) for batch in files._batches(jobs, 8)] == [1] * 5


def test_progress_counts_each_file_once(album, colorizer, tmp_path):
    (album / "empty.png").write_bytes(b"")
    jobs = plan([str(album)], tmp_path / "out")
    done = []
    failures = files.colorize_files(jobs, colorizer, batch_size=2, advance=lambda: done.append(1))
    assert len(done) == len(jobs) == 6
    assert [failure.source.name for failure in failures] == ["empty.png"]
