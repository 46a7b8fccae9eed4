"""`colorjax colorize` with --candidates, --uncertainty, --temperature and --hints."""

import io
import json
import types

import hinted
import numpy as np
import pytest
import support
from albums import ALBUM, names
from PIL import Image

from colorjax import cli
from colorjax.colorize import extras
from colorjax.colorize.colorizer import Colorizer
from colorjax.colorize.plan import plan
from colorjax.images import xmp
from colorjax.runs import model_paths

BROWN = "#c08060"


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with support.quick_compilation():
        yield


@pytest.fixture(scope="module")
def colorizer():
    return hinted.colorizer()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return hinted.exported(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The same without what the flags need."""
    return hinted.exported(tmp_path_factory.mktemp("plain"), distribution=0.0, hints=0.0)


@pytest.fixture
def command(monkeypatch, colorizer, weights):
    """The command with the tiny model, loaded once: returns the exit status."""
    monkeypatch.setattr(Colorizer, "load", lambda *_: colorizer)
    return lambda *given: cli.main(["colorize", *map(str, given), "--model", str(weights)])


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def numbered(name, count):
    stem, _, ending = name.rpartition(".")
    return [f"{stem}_{number}.{ending}" for number in range(1, count + 1)]


def test_candidates_and_uncertainty_are_written_as_planned(command, colorizer, album, tmp_path):
    output = tmp_path / "out"
    planned = plan([str(album)], output, candidates=3, uncertainty=True)
    assert command(album, "--output", output, "--candidates", 3, "--uncertainty") == 0
    expected = [name for source in ALBUM for name in numbered(source, 3)]
    maps = ["1950/a", "1950/c", "1950/summer/d", "a", "b"]
    expected += [f"{name}_uncertainty.png" for name in maps]
    assert names(output) == sorted(expected)
    planned_names = [str(p.relative_to(output)) for job in planned.jobs for p in job.outputs]
    assert sorted(planned_names) == sorted(expected)
    grey = pixels(album / "b.png")
    for number, image in enumerate(colorizer.candidates(grey, 3), start=1):
        np.testing.assert_array_equal(pixels(output / f"b_{number}.png"), image)
    with Image.open(output / "b_uncertainty.png") as image:
        assert (image.mode, image.size) == ("L", (48, 40))
        found = np.asarray(image).astype(int)
    white = np.clip(255 * colorizer.uncertainty(grey) / 50, 0, 255)
    np.testing.assert_allclose(found, white, atol=1)
    assert np.ptp(found) > 30
    assert all(xmp.is_marked(output / name) for name in names(output))


def test_what_is_written_already_is_skipped_and_never_an_input(command, album, capsys):
    arguments = [album / "1950", "--candidates", 3, "--uncertainty"]
    for expected in ("3 coloured beside the inputs", "3 skipped, coloured already"):
        assert command(*arguments) == 0
        assert expected in capsys.readouterr().out
        assert len(names(album / "1950")) == 3 + 3 * 3 + 3
    assert command(album / "1950", "--candidates", 2) == 0
    assert "3 skipped" in capsys.readouterr().out
    (album / "1950" / "a_2.JPG").unlink()
    assert command(*arguments) == 0
    assert "Coloured: " in (out := capsys.readouterr().out)
    assert "1950/a_1.JPG to " in out
    assert "2 skipped" in out
    for name in ("a_1.JPG", "a_uncertainty.png"):
        assert command(album / "1950" / name, "--candidates", 2) == 2
        assert "written by colorjax" in capsys.readouterr().err


def test_a_colouring_with_a_suffix_is_no_candidate(command, album, tmp_path):
    """Though it has the name of one."""
    assert command(album / "b.png", "--output", tmp_path / "out", "--suffix", "_2") == 0
    before = pixels(tmp_path / "out" / "b_2.png")
    assert command(album / "b.png", "--output", tmp_path / "out", "--candidates", 2) == 0
    assert not np.array_equal(pixels(tmp_path / "out" / "b_2.png"), before)
    np.testing.assert_array_equal(pixels(tmp_path / "out" / "b_1.png"), before)


def test_other_files_at_a_candidate_s_place_are_kept(command, album, capsys):
    (album / "b_2.png").write_bytes(b"mine")
    assert command(album / "b.png", "--candidates", 3) == 1
    assert (album / "b_2.png").read_bytes() == b"mine"
    assert not (album / "b_1.png").exists()
    assert "b_2.png exists and is not from colorjax" in capsys.readouterr().err
    assert command(album / "b.png", album / "a.jpg", album / "b_2.png", "--candidates", 2) == 1
    assert "b_2.png is an input too" in capsys.readouterr().err
    assert (album / "b_2.png").read_bytes() == b"mine"
    # A person's IMG_2.jpg is no result, whatever is to be replaced.
    assert command(album / "b.png", "--candidates", 3, "--overwrite") == 1
    assert "choose an --output" in capsys.readouterr().err
    assert (album / "b_2.png").read_bytes() == b"mine"
    (album / "b_2.png").unlink()
    assert command(album / "b.png", "--candidates", 3) == 0
    before = pixels(album / "b_2.png")
    (album / ".colorjax.jsonl").unlink()
    assert command(album / "b.png", "--candidates", 3, "--overwrite", "--saturation", 0) == 0
    assert not np.array_equal(pixels(album / "b_2.png"), before)


def test_a_file_as_output_gives_its_name_to_all(command, album, tmp_path):
    target = tmp_path / "new" / "x.webp"
    assert command(album / "a.jpg", "-o", target, "--candidates", 2, "--uncertainty") == 0
    assert names(target.parent) == ["x_1.webp", "x_2.webp", "x_uncertainty.png"]


def test_maps_of_pictures_with_one_stem_keep_the_endings(album, tmp_path):
    (album / "a.png").write_bytes((album / "b.png").read_bytes())
    planned = plan([str(album / "a.*")], tmp_path, uncertainty=True)
    found = [job.uncertainty.name for job in planned.jobs]
    assert found == ["a.jpg_uncertainty.png", "a.png_uncertainty.png"]
    planned = plan([str(album / "a.*")], None, format="webp", candidates=2, uncertainty=True)
    assert len({path for job in planned.jobs for path in job.outputs}) == 6
    planned = plan([str(album / "a.*")], None, suffix="_c", candidates=2, uncertainty=True)
    assert [path.name for path in planned.jobs[0].outputs] == [
        "a_c_1.jpg", "a_c_2.jpg", "a.jpg_c_uncertainty.png",
    ]  # fmt: skip


def test_all_pages_of_a_tiff_have_candidates(command, colorizer, album, tmp_path):
    grey = Image.fromarray(pixels(album / "b.png"))
    page = grey.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    grey.save(album / "pages.tif", save_all=True, append_images=[page])
    given = [album / "pages.tif", "-o", tmp_path / "out", "--candidates", 2, "--uncertainty"]
    assert command(*given) == 0
    for number in (0, 1):
        with Image.open(tmp_path / "out" / f"pages_{number + 1}.tif") as image:
            for index, picture in enumerate((grey, page)):
                image.seek(index)
                expected = colorizer.candidates(np.asarray(picture), 2)[number]
                np.testing.assert_array_equal(np.asarray(image), expected)


def test_large_pictures_lie_in_files_and_look_the_same(command, album, tmp_path, monkeypatch):
    arguments = [album / "b.png", "--candidates", 2, "--uncertainty", "--output"]
    assert command(*arguments, tmp_path / "small") == 0
    monkeypatch.setattr(extras, "LARGE_BYTES", 0)
    assert command(*arguments, tmp_path / "large") == 0
    assert names(tmp_path / "large") == names(tmp_path / "small")
    for name in names(tmp_path / "large"):
        found, expected = (pixels(tmp_path / folder / name) for folder in ("large", "small"))
        np.testing.assert_array_equal(found, expected)


def test_hints_from_both_kinds_of_file(command, colorizer, album, tmp_path, capsys):
    points = [[3, 4, BROWN], [30, 20, "#2040ff"], [31, 20, "#808080"]]
    rgba = np.zeros((40, 48, 4), np.uint8)
    for x, y, colour in points:
        rgba[y, x] = *bytes.fromhex(colour[1:]), 255
    Image.fromarray(rgba).save(tmp_path / "hints.png")
    (tmp_path / "hints.json").write_text(json.dumps(points))
    expected = colorizer(pixels(album / "b.png"), hints=points)
    assert not np.array_equal(expected, colorizer(pixels(album / "b.png")))
    for name in ("hints.png", "hints.json"):
        given = [album / "b.png", "--hints", tmp_path / name, "-o", tmp_path / "out"]
        for words in ("Coloured: ", "1 skipped"):
            assert command(*given) == 0
            assert words in capsys.readouterr().out
        np.testing.assert_array_equal(pixels(tmp_path / "out" / "b.png"), expected)
    (tmp_path / "hints.json").write_text(json.dumps(points[:1]))
    assert command(*given) == 0
    assert not np.array_equal(pixels(tmp_path / "out" / "b.png"), expected)
    assert command(*given, "--candidates", 2) == 0
    several = colorizer.candidates(pixels(album / "b.png"), 2, hints=points[:1])
    np.testing.assert_array_equal(pixels(tmp_path / "out" / "b_2.png"), several[1])


def test_a_temperature_is_part_of_the_settings(album, weights, tmp_path, capsys):
    seen = []
    for flags in ([], ["--temperature", "0.5"], ["--temperature", "0.5"]):
        given = [str(album / "b.png"), "-o", str(tmp_path), "--model", str(weights), *flags]
        assert cli.main(["colorize", *given]) == 0
        seen.append(("skipped" in capsys.readouterr().out, pixels(tmp_path / "b.png")))
    assert [skipped for skipped, _ in seen] == [False, False, True]
    expected = Colorizer.load(weights, temperature=0.5)(pixels(album / "b.png"))
    np.testing.assert_array_equal(seen[1][1], expected)
    assert not np.array_equal(seen[0][1], expected)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--candidates", "1"], "1 is not in [2, 16]"),
        (["--candidates", "17"], "17 is not in [2, 16]"),
        (["--candidates", "two"], "'two' is not an integer"),
        (["--temperature", "-1"], "is not in [0, 10]"),
        (["--temperature", "nan"], "is not in [0, 10]"),
        (["--temperature", "1e-9"], "is not 0 or in [0.05, 10]"),
        (["--temperature", "warm"], "'warm' is not a number"),
        (["--candidates", "3", "--compare"], "leave out --candidates"),
        (["--hints", "{tmp}/none.json"], "none.json does not exist; check the path"),
        (["--hints", "{tmp}/notes.txt"], "must end in .png or .json"),
        (["--hints", "{tmp}/empty.json"], "has no hints"),
        (["--hints", "{tmp}/broken.json"], "is not JSON"),
        (["--hints", "{tmp}/outside.json"], "the hint #c08060 at (48, 1) is outside"),
        (["--hints", "{tmp}/tall.png"], "40×48 pixels and the upright picture is 48×40"),
        (["{album}/a.jpg", "--hints", "{tmp}/good.json"], "--hints are for one photograph"),
        (["{album}", "--hints", "{tmp}/good.json"], "--hints are for one photograph"),
        (["--model", "{plain}", "--candidates", "3"], "--candidates: the model tiny predicts no"),
        (["--model", "{plain}", "--uncertainty"], "--uncertainty: the model tiny predicts no"),
        (["--model", "{plain}", "--temperature", "1"], "--temperature: the model tiny predicts no"),
        (["--model", "{plain}", "--hints", "{tmp}/good.json"], "--hints: the model tiny takes no"),
    ],
)  # fmt: skip
def test_wrong_choices_give_one_line_and_status_two(
    album, tmp_path, weights, plain, capsys, arguments, words
):
    (tmp_path / "notes.txt").write_text("")
    good = [[1, 1, BROWN]]
    contents = {"empty": "[]", "broken": "[[", "good": json.dumps(good)}
    contents["outside"] = json.dumps([*good, [48, 1, BROWN]])
    for name, text in contents.items():
        (tmp_path / f"{name}.json").write_text(text)
    Image.new("RGBA", (40, 48), "red").save(tmp_path / "tall.png")
    places = {"album": album, "tmp": tmp_path, "plain": plain}
    given = [text.format(**places) for text in arguments]
    before = names(tmp_path)
    output = ["--output", str(tmp_path / "out")]
    model = [] if "--model" in given else ["--model", str(weights)]
    assert cli.main(["colorize", str(album / "b.png"), *given, *output, *model]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert words in error
    assert names(tmp_path) == before


@pytest.mark.parametrize("flag", [["--candidates", "3"], ["--uncertainty"]])
def test_several_files_do_not_go_into_a_pipe(command, album, capsys, monkeypatch, flag, tmp_path):
    data = (album / "b.png").read_bytes()
    for arguments in (["-"], ["-", "-o", "-"], [album / "b.png", "-o", "-"]):
        monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(data)))
        assert command(*arguments, *flag) == 2
        (error,) = capsys.readouterr().err.splitlines()
        place = "a FILE" if "-" in arguments[:1] else "a folder"
        assert f"{flag[0]} writes a second file; give {place} as --output" in error
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(data)))
    assert command("-", "-o", tmp_path / "out" / "x.png", *flag) == 0
    several = flag[0] == "--candidates"
    expected = numbered("x.png", 3) if several else ["x.png", "x_uncertainty.png"]
    assert names(tmp_path / "out") == expected


def test_hints_for_a_picture_that_cannot_be_read_do_not_hide_the_reason(command, album, capsys):
    (album / "b.png").write_bytes(b"no image")
    (album / "hints.json").write_text(f'[[1, 1, "{BROWN}"]]')
    assert command(album / "b.png", "--hints", album / "hints.json") == 1
    assert "is not an image" in capsys.readouterr().err


def test_models_are_listed_with_what_they_can(weights, tmp_path, monkeypatch, capsys):
    assert model_paths.abilities(weights) == ["distribution", "hints"]
    plain = hinted.exported(tmp_path, distribution=0.0, hints=0.0)
    assert model_paths.abilities(plain) == []
    monkeypatch.setattr(model_paths, "packaged", lambda: {"new": weights, "plain": plain})
    assert cli.main(["models"]) == 0
    new, old = capsys.readouterr().out.splitlines()
    assert new.endswith("MiB, with distribution, with hints")
    assert old.endswith("MiB")
