import errno
import os
import shutil

import numpy as np
import pytest
from albums import ALBUM, is_reddish, names
from PIL import Image
from skimage import color, data

from colorjax import cli
from colorjax.colorize import files
from colorjax.colorize.colorizer import Colorizer
from colorjax.images.write_photo import write_photo


def test_a_folder_is_coloured_with_its_structure(command, album, tmp_path, capsys):
    (album / "1950" / "back").symlink_to(album)  # a circle
    inputs = [album, album / "a.jpg"]  # one of them twice
    assert command(*inputs, "--output", tmp_path / "out") == 0
    assert names(tmp_path / "out") == ALBUM
    assert all(is_reddish(tmp_path / "out" / name) for name in ALBUM)
    assert "5 coloured into" in capsys.readouterr().out


def test_command_and_python_give_the_same_with_the_default_model(tmp_path):
    portrait = data.astronaut()[25:205, 135:315]
    source, output = tmp_path / "grey.png", tmp_path / "out"
    Image.fromarray(portrait).convert("L").save(source)
    assert cli.main(["colorize", str(source), "--output", str(output), "--saturation", "0.9"]) == 0
    with Image.open(source) as grey, Image.open(output / "grey.png") as image:
        coloured = np.asarray(image)
        np.testing.assert_array_equal(coloured, Colorizer.load()(grey.convert("RGB"), 0.9))
    # 5.8 for grey.
    assert abs(color.rgb2lab(portrait) - color.rgb2lab(coloured)).mean() < 4


def test_an_interrupted_command_resumes(command, album, tmp_path, monkeypatch, capsys):
    output, written = tmp_path / "out", []

    def write(path, photo):
        if len(written) == 2:
            raise KeyboardInterrupt
        write_photo(path, photo)
        written.append((path, path.stat().st_mtime_ns))

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_photo", write)
        assert command(album, "--output", output, "--batch_size", 1) == 130
    assert len(names(output)) == 2
    assert command(album, "--output", output) == 0
    assert names(output) == ALBUM
    assert all(path.stat().st_mtime_ns == time for path, time in written)
    out = capsys.readouterr().out
    assert "3 coloured" in out
    assert "2 skipped, coloured already" in out
    assert command(album, "--output", output, "--overwrite") == 0
    assert "5 coloured" in capsys.readouterr().out


def test_files_that_fail_are_listed_and_do_not_stop_the_others(command, album, tmp_path, capsys):
    (album / "broken.jpg").write_bytes((album / "a.jpg").read_bytes()[:200])
    (album / "empty.png").write_bytes(b"")
    (album / "pickle.tif").write_bytes(b"\x80\x04K\x01.")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(
        album / "moving.webp", save_all=True, append_images=[Image.new("L", (4, 4), 255)]
    )
    assert command(album, "--output", tmp_path / "out", "--batch_size", 2) == 1
    assert names(tmp_path / "out") == ALBUM
    error = capsys.readouterr().err
    assert error.endswith("colorjax: 4 of 9 could not be coloured (see above)\n")
    for name in ("broken.jpg", "empty.png", "pickle.tif", "moving.webp"):
        assert f"{album / name}: " in error


def test_suffix_format_and_compare(command, album, tmp_path):
    output = tmp_path / "out"
    assert command(album / "b.png", "--output", output, "--suffix", "_c", "--format", "tiff") == 0
    assert names(output) == ["b_c.tif"]
    assert command(album / "b.png", "--output", output, "--compare") == 0
    with Image.open(output / "b.png_compare.jpg") as pair:
        both = np.asarray(pair)
    assert both.shape == (40, 96, 3)
    grey, coloured = color.rgb2lab(both[:, :48]), color.rgb2lab(both[:, 48:])
    assert abs(grey[..., 1:]).max() < 3
    assert coloured[..., 1].mean() > 15


def test_results_in_the_input_folder_are_not_inputs(command, album):
    for _ in range(2):
        assert command(album, "--output", album / "coloured", "--overwrite") == 0
        assert names(album / "coloured") == ALBUM
    for _ in range(2):
        options = ["--suffix", "_c", "--compare", "--overwrite"]
        assert command(album / "1950", "--output", album / "1950", *options) == 0
        assert len(names(album / "1950")) == 3 * 3


def test_names_without_a_known_extension_or_valid_utf_8(command, album, tmp_path, capsys):
    for name in (kept := ["a.jfif", "scan", os.fsdecode(b"gr\xfcn.png")]):
        shutil.copy(album / "b.png", album / name)
    empty = album / os.fsdecode(b"r\xf6t.png")
    empty.write_bytes(b"")
    inputs = [album / name for name in kept]
    assert command(*inputs, empty, "--output", tmp_path / "out") == 1
    assert names(tmp_path / "out") == sorted(kept)
    assert all(is_reddish(tmp_path / "out" / name) for name in kept)
    assert "r\\xf6t.png: " in capsys.readouterr().err


@pytest.mark.parametrize("end", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_a_full_disk_and_ctrl_c_end_the_command_after_what_was_found(
    command, album, tmp_path, monkeypatch, capsys, end
):
    (album / "0.jpg").write_bytes(b"no image")
    coloured = []

    def write(path, photo):
        if coloured:
            raise end
        write_photo(path, photo)
        coloured.append(path)

    monkeypatch.setattr(files, "write_photo", write)
    status = command(album, "--output", tmp_path / "out", "--batch_size", 1)
    out, error = capsys.readouterr()
    *_, failed, last = error.splitlines()
    assert failed.startswith(f"{album / '0.jpg'}: is not an image")
    if isinstance(end, OSError):
        assert status == 1
        assert last.startswith(f"colorjax: the disk of {tmp_path / 'out'}")
    else:
        assert (status, last) == (130, "colorjax: stopped")
    assert "1 coloured into" in out
    assert all(is_reddish(tmp_path / "out" / name) for name in names(tmp_path / "out"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.jpg"], "nowhere.jpg does not exist"),
        (["nowhere/*.jpg"], "does not exist"),
        (["{empty}"], "no images in"),
        (
            ["{album}", "--format", "gif"],
            "'gif' cannot be written; choose jpg, png, webp, tif or bmp",
        ),
        (["{album}", "--format", "HEIC"], "'HEIC' cannot be written"),
        (["{album}", "--saturation", "much"], "'much' is not a number"),
        (["{album}", "--batch_size", "0"], "0 is less than 1"),
        (["{album}/b.png", "{copy}/b.png", "--format", "png"], "would both be written to"),
        (["{album}", "--model", "nowhere"], "'nowhere'"),
        (["{album}", "--device", "tpu"], "there is no device 'tpu'; JAX finds cpu"),
        (
            ["{album}", "--output", "{album}/notes.txt"],
            "notes.txt is a file; choose another --output",
        ),
        (["{album}", "--output", "{album}", "--overwrite"], "replaced by its coloured version"),
        ([], "the following arguments are required: IN"),
    ],
)
def test_wrong_input_gives_one_line_and_status_two(album, tmp_path, capsys, arguments, words):
    (tmp_path / "empty").mkdir()
    shutil.copytree(album, tmp_path / "copy")
    places = {"album": album, "empty": tmp_path / "empty", "copy": tmp_path / "copy"}
    before = {name: (album / name).read_bytes() for name in names(album)}
    arguments = [argument.format(**places) for argument in arguments]
    assert cli.main(["colorize", "--output", str(tmp_path / "out"), *arguments]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert words in error
    assert not (tmp_path / "out").exists()
    assert {name: (album / name).read_bytes() for name in names(album)} == before


def test_each_file_is_remembered_when_it_is_complete(command, album, monkeypatch):
    """So a comparison whose picture could not be written is replaced by the next command."""

    def write(path, photo):
        if path.name == "b_coloured.png":
            raise OSError(errno.EIO, "Input/output error")
        write_photo(path, photo)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_photo", write)
        assert command(album / "b.png", "--compare") == 1
    assert (album / "b_coloured.png_compare.jpg").exists()
    assert command(album / "b.png", "--compare") == 0


def test_what_appears_at_a_target_while_it_is_coloured_is_kept(command, album, monkeypatch, capsys):
    color = files._color

    def slow(*arguments):
        (album / "b_coloured.png").write_bytes(b"mine")
        return color(*arguments)

    monkeypatch.setattr(files, "_color", slow)
    assert command(album / "a.jpg", album / "b.png") == 1
    assert (album / "b_coloured.png").read_bytes() == b"mine"
    reason = "b_coloured.png exists and is not from colorjax; --overwrite replaces it"
    assert f"{album / 'b.png'}: {album}/{reason}\n" in capsys.readouterr().err


def test_a_file_in_place_of_a_folder_is_a_fault_of_its_pictures(command, album, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1950").write_bytes(b"a file")
    assert command(album, "--output", tmp_path / "out") == 1
    assert names(tmp_path / "out") == ["1950", "a.jpg", "b.png"]
    error = capsys.readouterr().err
    assert f"{tmp_path / 'out' / '1950' / 'c.tif'}: cannot be written (" in error
    assert error.endswith("3 of 5 could not be coloured (see above)\n")
