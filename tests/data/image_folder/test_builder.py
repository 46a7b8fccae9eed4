"""Folders and zips of images: the split, what is skipped, and what is prepared again."""

import os
import struct
import subprocess
import sys
import time
import zipfile
import zlib

import numpy as np
import pytest
from image_files import (
    encoded,
    load,
    noise,
    people,
    times_prepared,
    write_files,
    write_zip,
)

from colorjax import cli
from colorjax.data import pipeline
from colorjax.data.image_folder import builder, manifest
from colorjax.terminal.errors import InputError
from configs.common import get


def images(*sources):
    return {source[i]["image"] for source in sources for i in range(len(source))}


def subjects(*sources):
    return {source[i]["subject"].decode() for source in sources for i in range(len(source))}


def both(sources):
    return sources.train, sources.validation


def test_people_stay_together_and_a_tenth_of_them_is_held_out(tmp_path):
    files = people(20, images=3)
    train, validation = both(load(tmp_path, write_files(tmp_path / "in", files)))
    assert (len(train), len(validation)) == (54, 6)
    assert subjects(train, validation) == {f"person {i}" for i in range(20)}
    assert not subjects(train) & subjects(validation)
    assert images(train, validation) == set(files.values())  # the files themselves


def test_the_split_depends_on_names_and_contents_and_not_on_the_place(tmp_path):
    files = people(12)
    a = load(tmp_path / "a", write_files(tmp_path / "in a", files))
    b = load(tmp_path / "b", write_files(tmp_path / "in b", files))
    assert a.key == b.key
    assert images(a.validation) == images(b.validation)


def test_a_zip_and_the_same_folder_give_the_same_images(tmp_path):
    files = people(6)
    folder = load(tmp_path, write_files(tmp_path / "in", files))
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        packed = load(tmp_path, write_zip(tmp_path / f"{compression}.zip", files, compression))
        for a, b in zip(both(folder), both(packed), strict=True):
            assert [a[i]["image"] for i in range(len(a))] == [b[i]["image"] for i in range(len(b))]


def test_names_in_zips_are_normalised(tmp_path):
    files = {"./a/0.png": noise(0), "a\\1.png": noise(1), "b/./0.png": noise(2)}
    sources = load(tmp_path, write_zip(tmp_path / "in.zip", files))
    assert subjects(*both(sources)) == {"a", "b"}
    assert images(*both(sources)) == set(files.values())


def test_a_person_in_two_zips_is_one_person(tmp_path):
    paths = [
        write_zip(tmp_path / f"{end}.zip", {k: v for k, v in people(10).items() if end in k})
        for end in ("0.jpg", "1.PNG")
    ]
    train, validation = both(load(tmp_path, *paths))
    assert (len(train), len(validation)) == (18, 2)
    assert not subjects(train) & subjects(validation)


def test_in_a_flat_folder_each_image_is_a_person(tmp_path):
    sources = load(
        tmp_path, write_files(tmp_path / "in", {f"{i}.png": noise(i) for i in range(10)})
    )
    assert (len(sources.train), len(sources.validation)) == (9, 1)


def test_deeper_folders_belong_to_the_first_level(tmp_path):
    files = {f"{p}/{i}/{i}.png": noise(10 * p + i) for p in range(2) for i in range(4)}
    sources = load(tmp_path, write_files(tmp_path / "in", files))
    assert len(subjects(sources.train)) == len(subjects(sources.validation)) == 1
    assert {int(sources.train[i]["index"]) for i in range(4)} == set(range(4))


def test_with_a_validation_path_nobody_is_held_out_and_duplicates_stay_in_validation(
    tmp_path, capfd
):
    train, validation = people(3), people(1, start=50)
    twice = {
        "person 0/again.png": train["person 0/1.PNG"],
        "x/y.png": validation["person 50/1.PNG"],
    }
    folder = write_files(tmp_path / "in", train | twice)
    sources = load(tmp_path, folder, validation=[write_zip(tmp_path / "v.zip", validation)])
    assert images(sources.train) == set(train.values())
    assert len(sources.train) == 6
    assert images(sources.validation) == set(validation.values())
    assert "Of 10 images, 8 used, 2 duplicate." in capfd.readouterr().err


def test_the_same_path_twice_counts_once_unless_it_is_for_validation(tmp_path):
    path = write_files(tmp_path / "in, or out", people(2))
    sources = pipeline.load_sources("image_folder", path=str(path), cache_dir=tmp_path)  # a comma
    path = path.rename(tmp_path / "in")
    again = load(tmp_path, path, path)
    assert len(sources.train) == len(again.train) == 2
    assert [len(split) for split in both(load(tmp_path, path, validation=[path]))] == [4, 4]


def test_hidden_files_and_those_of_other_kinds_are_ignored(tmp_path, capfd):
    junk = {
        "__MACOSX/person 0/._0.jpg": b"junk",
        "person 0/._0.jpg": b"junk",
        ".hidden/0.jpg": b"junk",
        "person 0/readme.txt": b"text",
        "Thumbs.db": b"junk",
    }
    files = people(4) | junk
    for path in write_files(tmp_path / "in", files), write_zip(tmp_path / "in.zip", files):
        assert len(images(*both(load(tmp_path, path)))) == 8
    assert "Of 8 images, 8 used." in capfd.readouterr().err


def _png_header(width, height):
    """A PNG that claims a size and holds nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), (b"IEND", b"")):
        png += struct.pack(">I", len(data)) + kind + data
        png += struct.pack(">I", zlib.crc32(kind + data))
    return png


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_unreadable_files_are_skipped_and_counted(tmp_path, capfd, kind):
    jpeg, png = noise(1, "jpeg", (64, 64)), noise(1, "png", (64, 64))
    unreadable = {
        "empty.jpg": b"",
        "text.jpg": b"not an image",
        "cut.jpg": jpeg[: len(jpeg) // 2],
        "cut.png": png[: len(png) // 2],
        "gif.png": noise(1, "gif"),
        "huge.png": _png_header(50_000, 50_000),
        "large.png": _png_header(10_001, 10_000),
    }
    files = people(4) | {f"person 1/{name}": data for name, data in unreadable.items()}
    files["person 5/png.JPEG"] = noise(2, "png")  # the suffix does not matter
    path = tmp_path / "in"
    write_files(path, files) if kind == "folder" else write_zip(path, files)
    assert len(images(*both(load(tmp_path, path)))) == 9
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("Of ")]
    assert lines == [
        "Of 16 images, 9 used, 7 unreadable (person 1/cut.jpg, person 1/cut.png, "
        "person 1/empty.jpg, …)."
    ]


def test_links_and_names_that_are_not_utf8_are_read_once(tmp_path):
    folder = write_files(tmp_path / "in", people(3))
    (folder / "person 0" / "back").symlink_to(folder)
    elsewhere = write_files(tmp_path / "elsewhere", {"0.png": noise(77)})
    (folder / "linked").symlink_to(elsewhere)
    write_files(folder, {os.fsdecode(b"J\xf6rg/\xe4.png"): noise(5)})
    assert sum(map(len, both(load(tmp_path, folder)))) == 8


def test_unchanged_contents_are_reused_and_changed_ones_are_prepared_again(tmp_path, monkeypatch):
    folder = write_files(tmp_path / "in", people(4))
    key = load(tmp_path, folder).key
    file = folder / "person 0" / "1.PNG"
    os.utime(file, (0, 0))
    with monkeypatch.context() as patch:
        patch.delattr(manifest, "check")  # nothing is decoded
        assert load(tmp_path, folder).key == key

    data = bytearray(file.read_bytes())
    data[-1] ^= 1  # in the checksum at the end
    file.write_bytes(data)
    changed = load(tmp_path, folder).key
    assert changed != key
    file.rename(file.with_name("2.png"))
    assert load(tmp_path, folder).key not in (key, changed)
    assert times_prepared(tmp_path) == 3


@pytest.mark.parametrize("fault", ["cut", "delete", "no info"])
def test_incomplete_prepared_data_are_prepared_again(tmp_path, fault):
    folder = write_files(tmp_path / "in", people(4))
    prepared = tmp_path / "cache" / load(tmp_path, folder).key
    (file,) = prepared.glob("*train*")
    if fault == "cut":
        file.write_bytes(file.read_bytes()[:-70_000])
    elif fault == "delete":
        file.unlink()
    else:
        (prepared / "dataset_info.json").unlink()
    assert len(images(load(tmp_path, folder).train)) == 6


PREPARE = """
import sys
from colorjax.data import pipeline
sources = pipeline.load_sources("image_folder", path=sys.argv[1], cache_dir=sys.argv[2])
print(len(sources.train), len(sources.validation))
"""


def test_a_killed_preparation_leaves_nothing_that_is_reused(tmp_path):
    folder, cache = write_files(tmp_path / "in", people(200, images=3)), tmp_path / "cache"
    command = [sys.executable, "-c", PREPARE, str(folder), str(cache)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(cache.glob("*/*/*incomplete*")):
            time.sleep(0.002)
        process.kill()
    assert list(cache.rglob("*incomplete*"))
    assert times_prepared(tmp_path) == 0
    assert sum(map(len, both(load(tmp_path, folder)))) == 600
    assert not list(cache.rglob("*incomplete*"))


def test_two_processes_prepare_once(tmp_path):
    folder, cache = write_files(tmp_path / "in", people(30)), tmp_path / "cache"
    command = [sys.executable, "-c", PREPARE, str(folder), str(cache)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [out for out, _ in outputs] == ["54 6\n", "54 6\n"]
    assert sum("Checking images" in err for _, err in outputs) == 1


def test_grey_pictures_are_left_out_and_counted_unless_they_are_wanted(tmp_path, capfd):
    grey = np.random.default_rng(5).integers(0, 256, (16, 16, 1), dtype=np.uint8).repeat(3, 2)
    tinted = np.clip(grey * 0.99 + [1, 0, 2], 0, 255).astype(np.uint8)
    spot = grey.copy()
    spot[:, :2] = (200, 30, 30)  # an eighth of the picture is in colour
    pictures = {"grey": grey, "near grey": tinted, "a spot of colour": spot}
    files = people(4) | {f"{name}/0.png": encoded(rgb) for name, rgb in pictures.items()}
    folder = write_files(tmp_path / "in", files)
    sources = load(tmp_path, folder, min_chroma=5.0)
    assert sum(map(len, both(sources))) == 9
    assert {"grey", "near grey"}.isdisjoint(subjects(*both(sources)))
    assert "Of 11 images, 9 used, 2 grey and left out" in capfd.readouterr().err
    kept = load(tmp_path, folder, min_chroma=0.0)
    assert sum(map(len, both(kept))) == 11
    assert kept.key != sources.key


def test_an_unchanged_folder_is_not_read_again_once_it_is_old(tmp_path, monkeypatch):
    """A second change within the resolution of the file system's clock shows in no time stamp."""
    folder = write_files(tmp_path / "in", people(4))
    monkeypatch.setattr(builder, "SETTLED_SECONDS", 1e6)  # as if it were new, however long it takes
    load(tmp_path, folder)
    assert not list(tmp_path.rglob("known/*"))
    monkeypatch.setattr(builder, "SETTLED_SECONDS", -1)  # as if it were old
    key = load(tmp_path, folder).key
    with monkeypatch.context() as patch:
        patch.delattr(builder.Folder, "digest")
        assert load(tmp_path, folder).key == key
    (folder / "person 0" / "1.PNG").write_bytes(noise(999))
    assert load(tmp_path, folder).key != key


@pytest.mark.parametrize("contents", [None, noise(99)])
def test_a_file_that_changes_while_it_is_prepared_is_named(tmp_path, monkeypatch, contents):
    folder = write_files(tmp_path / "in", people(4))
    account = manifest.Manifest.account

    def change(manifest):
        file = folder / "person 0" / "1.PNG"
        file.write_bytes(contents) if contents else file.unlink(missing_ok=True)
        return account(manifest)

    monkeypatch.setattr(manifest.Manifest, "account", change)
    with pytest.raises(InputError, match=r"person 0/1\.PNG in .*in has changed while it was"):
        load(tmp_path, folder)
    assert times_prepared(tmp_path) == 0


def test_the_command_prepares_what_training_will_read(tmp_path, capsys):
    folder, data_dir = write_files(tmp_path / "in", people(10)), tmp_path / "cache"
    cli.run(["prepare", "image_folder", "--path", str(folder), "--data_dir", str(data_dir)])
    assert "image_folder is ready in" in capsys.readouterr().out
    assert times_prepared(tmp_path) == 1
    load(tmp_path, folder, min_chroma=get("image_folder").dataset.min_chroma)
    assert times_prepared(tmp_path) == 1
