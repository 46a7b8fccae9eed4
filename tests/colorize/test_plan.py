"""Which files are coloured, where the results go, and what is remembered of them."""

import json
import os

import pytest
from PIL import Image

from colorjax.colorize.plan import Job, compared, plan
from colorjax.colorize.record import NAME, Record
from colorjax.terminal.errors import InputError

ALBUM = ["1950/a.JPG", "1950/c.tif", "1950/summer/d.webp", "a.jpg", "b.png"]
SETTINGS = {"model": "m", "saturation": 1.0}


@pytest.fixture
def album(tmp_path):
    """Five grey pictures of four formats in nested folders."""
    folder = tmp_path / "album"
    for name in ALBUM:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (48, 40), 99).save(folder / name)
    (folder / "notes.txt").write_text("not an image")
    return folder


def colour(inputs, output=None, settings=SETTINGS, **options):
    """Plans, and writes what is planned. Returns the plan."""
    record = Record(settings)
    planned = plan([str(path) for path in inputs], output, record, **options)
    for job in planned.jobs:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        targets = [job.target, compared(job.target)] if options.get("compare") else [job.target]
        for target in targets:
            target.write_bytes(b"coloured " + job.source.read_bytes())
            record.add(target, job.source)
    return planned


def names(jobs, folder):
    return [str(job.target.relative_to(folder)) for job in jobs]


def test_files_folders_and_globs_are_found(album, tmp_path):
    output = tmp_path / "out"
    jobs = plan([str(album / "a.jpg"), str(album / "1950")], output).jobs
    assert names(jobs, output) == ["a.jpg", "a.JPG", "c.tif", "summer/d.webp"]
    jobs = plan([str(album / "**" / "*.jpg")], output).jobs
    assert jobs == [Job(album / "a.jpg", output / "a.jpg")]
    assert len(plan([str(album / "**")], None).jobs) == 6  # each once; and notes.txt, as named


def test_without_output_results_stand_beside_their_sources_and_are_never_inputs(album):
    first = colour([album, album / "1950" / "a.JPG"])
    assert len(first.jobs) == 5
    assert all(job.target.parent == job.source.parent for job in first.jobs)
    assert (album / "1950" / "a_coloured.JPG").exists()
    again = colour([album])
    assert (again.jobs, again.current, again.failures) == ([], 5, [])
    globbed = colour([album / "*.*g"])
    assert (globbed.jobs, globbed.current, globbed.own) == ([], 2, 2)
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
    record.add(album / "a.jpg", album / "b.png")
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
    assert len({compared(job.target) for job in planned.jobs}) == 7
    for stem in ("x" * 251, "ü" * 125 + "x"):
        (album / f"{stem}.jpg").write_bytes(b"long")
        (job,) = colour([album / f"{stem}.jpg"], compare=True).jobs
        for path in (job.target, compared(job.target)):
            assert len(os.fsencode(path.name)) <= 255
            assert path.suffix == ".jpg"
    assert colour([album], compare=True).current == 9


def test_one_file_as_output(album, tmp_path):
    target = tmp_path / "new.PNG"
    assert colour([album / "a.jpg"], target).jobs == [Job(album / "a.jpg", target)]
    assert len(colour([album / "b.png"], target).jobs) == 1  # colorjax wrote it
    target.write_bytes(b"mine")
    assert not colour([album / "b.png"], target).jobs
    (tmp_path / "folder.jpg").mkdir()
    assert names(plan([str(album / "b.png")], tmp_path / "folder.jpg").jobs, tmp_path) == [
        "folder.jpg/b.png"
    ]
    assert plan([str(album / "b.png")], f"{tmp_path}/other.jpg/").jobs[0].target.name == "b.png"


@pytest.mark.parametrize(
    ("inputs", "output", "options", "words"),
    [
        (["{album}"], "{out}/a.jpg", {}, "is one file; give a folder"),
        (["{album}/a.jpg", "{album}/b.png"], "a.jpg", {}, "is one file; give a folder"),
        (["{album}/*.*g"], "a.jpg", {}, "is one file; give a folder"),
        (["{album}/a.jpg"], "a.gif", {}, r"\.gif is not written"),
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
