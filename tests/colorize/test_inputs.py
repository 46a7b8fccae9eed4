"""The files that inputs name, and what is left out of them."""

import os
import shutil

import pytest

from colorjax.colorize import inputs
from colorjax.colorize.inputs import find
from colorjax.colorize.plan import plan
from colorjax.terminal.errors import InputError


def sources(planned):
    return sorted(job.source.name for job in planned.jobs)


def test_names_like_those_of_results_count_only_where_results_are_written(album, tmp_path):
    """And what they leave out is counted."""
    for name in ("a_2.jpg", "c_2.jpg"):
        shutil.copy(album / "a.jpg", album / name)
    elsewhere = plan([str(album)], tmp_path / "out", suffix="_2")
    assert {"a_2.jpg", "c_2.jpg"} <= set(sources(elsewhere))
    assert not elsewhere.left_out
    for output in (None, album):
        planned = plan([str(album)], output, suffix="_2")
        assert "c_2.jpg" in sources(planned)
        assert "a_2.jpg" not in sources(planned)
        ((reason, number),) = planned.left_out.items()
        assert (reason[:26], number) == ("because of names ending in", 1)
        ((source, reason),) = planned.failures
        assert source.name == "a.jpg"
        assert "exists and is not from colorjax" in reason
    named = plan([str(album), str(album / "a_2.jpg")], None, suffix="_2")
    assert "a_2.jpg" in sources(named)
    assert not named.left_out


def test_a_folder_in_that_of_the_results_is_searched(album, monkeypatch):
    assert len(plan([str(album / "1950")], album).jobs) == 3
    monkeypatch.chdir(album / "1950")
    assert len(plan(["."], "..").jobs) == 3
    inside = plan([str(album)], album / "1950")
    assert sources(inside) == ["a.jpg", "b.png"]
    assert inside.left_out == {"because they are in the output folder": 3}


def test_each_file_is_coloured_once_however_it_is_named(album, tmp_path, monkeypatch):
    """But a link of another name is another picture, which is expected in the output."""
    (tmp_path / "link").symlink_to(album)
    (album / "also.jpg").symlink_to(album / "a.jpg")
    monkeypatch.chdir(album)
    planned = plan([str(album), "../link", "a.jpg", "./1950/../a.jpg"], tmp_path / "out")
    assert len(planned.jobs) == 6
    assert len(plan(["../link", str(album)], None).jobs) == 6
    assert len(plan(["a.jpg", str(album / "a.jpg")], None).jobs) == 1


def test_globs_through_links_find_what_they_name(album, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "summer").symlink_to(album / "1950" / "summer")
    found = find(str(tmp_path / "here" / "summer" / ".." / "*.tif"), None, "")
    assert [one.path.resolve() for one in found] == [album / "1950" / "c.tif"]


def test_what_may_not_be_read_is_not_called_missing(album, monkeypatch):
    def stat(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(inputs.os, "stat", stat)
    with pytest.raises(InputError, match=r"nothing\.jpg cannot be read \(Permission denied\)"):
        list(find(str(album / "nothing.jpg"), None, ""))


def test_a_folder_that_cannot_be_read_is_named_or_listed(album, monkeypatch):
    scandir = os.scandir

    def refused(path):
        if os.path.basename(path) == "1950":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    planned = plan([str(album)], None)
    assert planned.failures == [(album / "1950", "Permission denied")]
    with pytest.raises(InputError, match=r"1950 cannot be read \(Permission denied\)"):
        plan([str(album / "1950")], None)
