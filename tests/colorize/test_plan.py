"""Which files are coloured, where the results go, and what is remembered of them."""

import json
import os

import pytest

from colorjax.colorize.plan import OWN, plan
from colorjax.colorize.record import NAME, Record
from colorjax.terminal.errors import InputError

SETTINGS = {"model": "m", "saturation": 1.0}


def colour(inputs, output=None, settings=SETTINGS, **options):
    """Plans, and writes what is planned. Returns the plan."""
    record = Record(settings)
    planned = plan([str(path) for path in inputs], output, record, **options)
    for job in planned.jobs:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        for path in job.outputs:
            path.write_bytes(b"coloured " + job.source.read_bytes())
            record.add(path, job.source, job.stamp)
    return planned


def names(jobs, folder):
    return [str(job.target.relative_to(folder)) for job in jobs]


def test_files_folders_and_globs_are_found(album, tmp_path):
    output = tmp_path / "out"
    jobs = plan([str(album / "a.jpg"), str(album / "1950")], output).jobs
    assert names(jobs, output) == ["a.jpg", "a.JPG", "c.tif", "summer/d.webp"]
    jobs = plan([str(album / "**" / "*.jpg")], output).jobs
    assert [job[:2] for job in jobs] == [(album / "a.jpg", output / "a.jpg")]
    assert len(plan([str(album / "**")], None).jobs) == 6  # each once; and notes.txt, as named


def test_without_output_results_stand_beside_their_sources_and_are_never_inputs(album):
    first = colour([album, album / "1950" / "a.JPG"])
    assert len(first.jobs) == 5
    assert all(job.target.parent == job.source.parent for job in first.jobs)
    assert (album / "1950" / "a_coloured.JPG").exists()
    again = colour([album])
    assert (again.jobs, again.current, again.failures) == ([], 5, [])
    globbed = colour([album / "*.*g"])
    assert (globbed.jobs, globbed.current, globbed.left_out) == ([], 2, {OWN: 2})
    with pytest.raises(InputError, match=r"a_coloured\.jpg: written by colorjax"):
        colour([album / "a_coloured.jpg"])


def test_other_settings_and_changed_sources_are_coloured_again(album, tmp_path):
    output = tmp_path / "out"
    colour([album], output)
    (album / "a.jpg").write_bytes(b"another photograph, later")
    assert names(colour([album], output).jobs, output) == ["a.jpg"]
    assert len(colour([album], output, {**SETTINGS, "saturation": 1.2}).jobs) == 5
    assert len(colour([album], output, compare=True).jobs) == 5
    assert colour([album], output, compare=True).current == 5
    assert len(colour([album], output, overwrite=True).jobs) == 5
    (output / "a.jpg").unlink()
    assert names(colour([album], output).jobs, output) == ["a.jpg"]


def test_only_what_colorjax_wrote_is_replaced(album, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    (output / "b.png").write_bytes(b"mine")
    colour([album], output)
    (output / "a.jpg").write_bytes(b"retouched")
    more = {**SETTINGS, "saturation": 2.0}
    planned = colour([album], output, more)
    assert len(planned.jobs) == 3
    assert [source.name for source, _ in planned.failures] == ["a.jpg", "b.png"]
    assert all("is not from colorjax; --overwrite" in reason for _, reason in planned.failures)
    assert (output / "b.png").read_bytes() == b"mine"
    # The same name in another folder is another photograph.
    other = tmp_path / "other"
    other.mkdir()
    (other / "c.tif").write_bytes(b"other")
    colour([album / "1950" / "c.tif"], output)
    (_, reason), *_ = colour([other / "c.tif"], output).failures
    assert "another photograph" in reason
    assert len(colour([album], output, more, overwrite=True).jobs) == 5


@pytest.mark.parametrize("text", [b"", b"\xff\xfe\n[]\n{\n", b'{"name": "a_col', b"[" * 100000])
def test_a_corrupt_record_counts_as_empty_and_is_continued(album, text):
    (album / NAME).write_bytes(text)
    assert len(colour([album]).jobs) == 5
    assert colour([album]).current == 5
    (album / NAME).unlink()
    (album / NAME).mkdir()  # cannot be written
    record = Record()
    record.add(album / "a.jpg", album / "b.png", ())
    assert record.error.endswith(f"{NAME}: Is a directory")
    # Known by its name even so.
    assert "a_coloured.jpg" not in [job.source.name for job in plan([str(album)], None).jobs]


def test_an_album_that_moves_keeps_its_record_which_names_no_folders(album, tmp_path):
    colour([album])
    moved = album.rename(tmp_path / "moved")
    (moved / "a.jpg").write_bytes(b"changed, after the album was moved")
    planned = colour([moved])
    assert ([job.source.name for job in planned.jobs], planned.current) == (["a.jpg"], 4)
    lines = [json.loads(line) for line in (moved / NAME).read_text().splitlines()]
    assert all(line["settings"] == SETTINGS for line in lines)
    assert str(tmp_path.name) not in (moved / NAME).read_text()


def test_dangling_links_are_listed_or_refused_by_name(album, tmp_path):
    link = album / "1950" / "gone.jpg"
    link.symlink_to(tmp_path / "nothing.jpg")
    for given in (album, album / "1950" / "*.jpg"):
        planned = plan([str(given)], tmp_path / "out")
        assert planned.failures == [(link, "is a link to a file that does not exist")]
    with pytest.raises(InputError, match="is a link to a file that does not exist"):
        plan([str(link)], tmp_path / "out")


def test_brackets_in_names_of_folders(album, tmp_path):
    folder = album.rename(tmp_path / "scans [1950]")
    assert len(plan([str(folder)], None).jobs) == 5
    assert len(plan([str(folder / "[ab].*")], None).jobs) == 2
    assert len(plan([str(tmp_path / "scans*" / "*.jpg")], None).jobs) == 1


def test_compared_names_do_not_collide_and_long_names_fit(album):
    (album / "1950.01.jpg").write_bytes(b"a")
    (album / "1950_01.jpg").write_bytes(b"b")
    planned = colour([album], compare=True)
    assert len({job.compared for job in planned.jobs}) == 7
    for stem in ("x" * 251, "ü" * 125 + "x"):
        (album / f"{stem}.jpg").write_bytes(b"long")
        (job,) = colour([album / f"{stem}.jpg"], compare=True).jobs
        for path in job.outputs:
            assert len(os.fsencode(path.name)) <= 255
            assert path.suffix == ".jpg"
    assert colour([album], compare=True).current == 9


def test_one_file_as_output(album, tmp_path):
    target = tmp_path / "new.PNG"
    assert colour([album / "a.jpg"], target).jobs[0][:2] == (album / "a.jpg", target)
    assert len(colour([album / "b.png"], target).jobs) == 1  # colorjax wrote it
    target.write_bytes(b"mine")
    assert not colour([album / "b.png"], target).jobs
    (tmp_path / "folder.jpg").mkdir()
    assert names(plan([str(album / "b.png")], tmp_path / "folder.jpg").jobs, tmp_path) == [
        "folder.jpg/b.png"
    ]
    assert plan([str(album / "b.png")], f"{tmp_path}/other.jpg/").jobs[0].target.name == "b.png"


def test_of_files_with_one_name_those_that_change_their_suffix_keep_it(album, tmp_path):
    for name in ("a.HEIC", "a.avif", "c.heic"):
        (album / name).write_bytes(b"x")
    found = names(plan([str(album / "a.*"), str(album / "c.*")], None).jobs, album)
    assert found[:2] == ["a.HEIC_coloured.jpg", "a.avif_coloured.jpg"]
    assert found[2:] == ["a_coloured.jpg", "c_coloured.jpg"]
    (album / "a.png").write_bytes(b"x")
    found = names(plan([str(album / "a.*g")], tmp_path, format="jpeg").jobs, tmp_path)
    assert found == ["a.jpg", "a.png.jpg"]


@pytest.mark.parametrize("name", ["b_coloured.png", "b_coloured.png_compare.jpg"])
def test_an_output_that_is_another_input_is_listed(album, name):
    (album / name).write_bytes(b"mine")
    inputs = [str(album / "b.png"), str(album / name)]
    planned = plan(inputs, None, compare=True, overwrite=True)
    assert [job.source.name for job in planned.jobs] == [name]
    ((source, reason),) = planned.failures
    assert source == album / "b.png"
    assert reason.startswith(f"{album / name} is an input too")


def test_a_source_that_changes_while_it_is_coloured_is_not_current(album):
    planned = plan([str(album / "a.jpg")], None, record := Record(SETTINGS))
    (job,) = planned.jobs
    job.source.write_bytes(b"another photograph")
    job.target.write_bytes(b"coloured")
    record.add(job.target, job.source, job.stamp)
    assert len(colour([album / "a.jpg"]).jobs) == 1
    assert colour([album / "a.jpg"]).current == 1


def test_what_appears_after_planning_is_not_replaced_unless_colorjax_wrote_it(album):
    """Another process may write the same result, and then it is ours."""
    inputs = [str(album / name) for name in ("a.jpg", "b.png")]
    record = Record(SETTINGS)
    assert not plan([str(album)], None, record).failures  # reads the records
    planned = plan(inputs, None, record)
    mine, result = planned.jobs
    mine.target.write_bytes(b"mine")
    colour([album / "b.png"])
    assert "exists and is not from colorjax" in planned.obstacle(mine)
    assert planned.obstacle(result) == ""
    assert plan(inputs, None, overwrite=True).obstacle(mine) == ""


def test_an_output_that_cannot_be_created_is_refused_when_planning(album, monkeypatch):
    for output in (album / "a.jpg" / "x", album / "a.jpg" / "x.png"):
        with pytest.raises(InputError, match=r"a\.jpg is a file; choose another --output"):
            plan([str(album / "b.png")], output)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match=r"cannot write to .*album"):
        plan([str(album / "b.png")], album / "new" / "folder")


def test_own_files_do_not_count_for_one_file_as_output(album, tmp_path):
    colour([album / "a.jpg"])
    planned = plan([str(album / "a*.jpg")], tmp_path / "x.jpg")
    assert [job.source.name for job in planned.jobs] == ["a.jpg"]


@pytest.mark.parametrize(
    ("inputs", "output", "options", "words"),
    [
        (["{album}"], "{out}/a.jpg", {}, "is one file; give a folder"),
        (["{album}/a.jpg", "{album}/b.png"], "a.jpg", {}, "is one file; give a folder"),
        (["{album}/*.*g"], "a.jpg", {}, "is one file; give a folder"),
        (["{album}/a.jpg"], "a.gif", {}, r"\.gif cannot be written"),
        (["{album}/a.jpg"], "a.jpg", {"format": "png"}, "is not png; leave out --format"),
        (["{album}/a.jpg"], "a.jpg", {"suffix": "_c"}, "--suffix is for folders"),
        (["{album}/a.jpg"], "{album}/a.jpg", {}, "replaced by its coloured version"),
        (["{album}/a.jpg"], "{album}/notes.txt", {}, "is a file; choose another --output"),
        (["{album}/a.jpg"], "", {}, "--output is empty"),
        ([""], None, {}, "an input is empty"),
        (["{album}"], None, {"suffix": "/x"}, "must not contain a slash"),
        (["{album}"], None, {"suffix": ""}, "replaced by its coloured version"),
        (["{album}/a.jpg", "{album}/b.png"], "{album}", {"suffix": ""}, "replaced by its"),
        (["/dev/null"], None, {}, "is not a file; - reads"),
        (["{album}/" + 300 * "x"], None, {}, "does not exist"),
        (["~nobody-of-that-name/a.jpg"], None, {}, "does not exist"),
    ],
)
def test_wrong_input_is_named(album, tmp_path, inputs, output, options, words):
    places = {"album": album, "out": tmp_path / "out"}
    inputs = [text.format(**places) for text in inputs]
    output = output and output.format(**places)
    with pytest.raises(InputError, match=words) as caught:
        plan(inputs, output, **options)
    assert "\n" not in str(caught.value)
