"""Paths and zips that image_folder refuses, each with one line that names the fault."""

import stat
import struct
import zipfile

import numpy as np
import pytest
from image_files import encoded, load, noise, people, times_prepared, write_files, write_zip

from colorjax.data import pipeline
from colorjax.images import folders
from colorjax.terminal.errors import InputError


def refused(tmp_path, message, *paths, **kwargs):
    with pytest.raises(InputError, match=message) as error:
        load(tmp_path, *paths, **kwargs)
    assert "\n" not in str(error.value)
    assert times_prepared(tmp_path) == 0


def test_missing_and_empty_paths(tmp_path):
    good, empty = write_files(tmp_path / "in", people(2)), tmp_path / "empty"
    empty.mkdir()
    refused(tmp_path, r"set config\.dataset\.path")
    refused(tmp_path, "nowhere does not exist", good, tmp_path / "nowhere")
    refused(tmp_path, "nowhere does not exist", good, validation=[tmp_path / "nowhere"])
    refused(tmp_path, "empty holds no image", empty)
    refused(tmp_path, r"empty\.zip holds no image", write_zip(tmp_path / "empty.zip", {}))
    refused(tmp_path, "holds no image", write_zip(tmp_path / "a.zip", {"readme.txt": b"text"}))


def test_paths_without_a_readable_or_coloured_image(tmp_path):
    good = write_files(tmp_path / "in", people(2))
    corrupt = write_files(tmp_path / "corrupt", {"a/0.png": b"no", "b/0.jpg": b"no"})
    message = "no image in .*corrupt can be read"
    refused(tmp_path, message, corrupt)
    refused(tmp_path, message, good, validation=[corrupt])
    refused(tmp_path, message, corrupt, validation=[good])
    grey = {f"{i}/0.png": encoded(np.full((8, 8, 3), 40 * i, np.uint8)) for i in range(3)}
    folder = write_files(tmp_path / "grey", grey)
    refused(tmp_path, "no image in .*grey has colours to learn from", folder, min_chroma=5.0)


def test_one_person_cannot_be_split(tmp_path):
    refused(tmp_path, "one person, 'person 0'", write_files(tmp_path / "in", people(1, images=3)))
    # The second person has no readable image.
    files = people(1) | {"person 1/0.png": b"no"}
    refused(tmp_path, "one person", write_files(tmp_path / "two", files))


def test_a_cache_that_cannot_be_written(tmp_path):
    folder = write_files(tmp_path / "in", people(2))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot write prepared data") as error:
        pipeline.load_sources("image_folder", path=str(folder), cache_dir=tmp_path / "file")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["text.txt", "face.png"])
def test_a_file_that_is_not_a_zip(tmp_path, name):
    (tmp_path / name).write_bytes(noise(0))
    refused(tmp_path, "neither a folder nor a zip", tmp_path / name)


def test_a_corrupt_zip(tmp_path):
    path = write_zip(tmp_path / "in.zip", people(4))
    data = path.read_bytes()
    for corrupt in (data[: len(data) // 2], data[-200:], b"", data[:-40] + b"\0" * 40):
        path.write_bytes(corrupt)
        refused(tmp_path, r"in\.zip is a corrupt zip", path)
    unnamed = tmp_path / "in"
    unnamed.write_bytes(data[: len(data) // 2])
    refused(tmp_path, "in is a corrupt zip", unnamed)


@pytest.mark.parametrize(
    "name", ["../climbs.png", "a/../../climbs.png", "/absolute.png", "..\\climbs.png", "C:\\a.png"]
)
def test_a_member_whose_name_points_outside_the_zip(tmp_path, name):
    path = write_zip(tmp_path / "in.zip", people(2) | {name: noise(0)})
    with pytest.raises(InputError, match="points outside the zip") as error:
        load(tmp_path, path)
    assert repr(name) in str(error.value)


def test_a_link_in_a_zip(tmp_path):
    path = write_zip(tmp_path / "in.zip", people(2))
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("person 0/link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    refused(tmp_path, r"in\.zip holds a link, 'person 0/link\.png'", path)


@pytest.mark.parametrize("name", ["bomb/0.png", "bomb.txt"])
def test_a_decompression_bomb(tmp_path, monkeypatch, name):
    monkeypatch.setattr(folders, "BOMB_BYTES", 100_000)
    files = people(2) | {name: bytes(200_000)}
    refused(
        tmp_path,
        rf"in\.zip holds a decompression bomb: '{name}' unpacks from \d+ bytes to 200000",
        write_zip(tmp_path / "in.zip", files, zipfile.ZIP_DEFLATED),
    )
    load(tmp_path, write_zip(tmp_path / "stored.zip", files))  # as large as what it holds


def test_many_members_that_share_few_bytes(tmp_path, monkeypatch):
    """Members that overlap in the zip, each small enough by itself."""
    path = write_zip(tmp_path / "in.zip", {f"{i}/0.png": bytes(90_000) for i in range(40)})
    data = path.read_bytes()
    directory, first_end = data.index(b"PK\1\2"), data.index(b"PK\3\4", 4)
    end = data.rindex(b"PK\5\6")
    # The complete directory, but the contents of the first member only.
    tail = bytearray(data[end:])
    struct.pack_into("<I", tail, 16, first_end)
    path.write_bytes(data[:first_end] + data[directory:end] + tail)
    monkeypatch.setattr(folders, "BOMB_BYTES", 1_000_000)
    monkeypatch.setattr(folders, "BOMB_RATIO", 20)
    refused(tmp_path, "decompression bomb: it unpacks from", path)
