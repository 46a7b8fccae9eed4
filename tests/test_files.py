"""Files that are whole or not there."""

import pytest

from colorjax import files


@pytest.mark.parametrize("exists", [False, True])
def test_text_that_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch, exists):
    path = tmp_path / "new" / "a.json"
    if exists:
        files.write_text(path, "old")

    def fail(source, target):
        assert path.exists() == exists  # nothing half written stands in its place
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_text(path, "new")
    assert path.exists() == exists
    assert not exists or path.read_text() == "old"


def test_text_is_replaced_and_nothing_lies_beside(tmp_path):
    for text in ("old and longer", "new"):
        files.write_text(tmp_path / "deep" / "a.md", text)
    assert (tmp_path / "deep" / "a.md").read_text() == "new"
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["a.md"]
