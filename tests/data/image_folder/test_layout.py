"""Folders that wrap others, and folders that are splits."""

import struct
import zipfile
from functools import partial

import faulty
import numpy as np
import pytest
from image_files import load, noise, people, write_files, write_zip

from colorjax import cli
from colorjax.data.image_folder import layout, manifest
from colorjax.images.folders import Folder


def subjects(source):
    return {source[i]["subject"].decode() for i in range(len(source))}


def examples(source):
    return {tuple(source[i].items()) for i in range(len(source))}


def below(prefix, files):
    return {f"{prefix}{name}": data for name, data in files.items()}


@pytest.mark.parametrize("prefix", ["lfw/", "archive/lfw-deepfunneled/lfw-deepfunneled/", "test/"])
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_folder_that_wraps_all_people_is_looked_through(tmp_path, prefix, kind):
    files = below(prefix, people(10)) | {"__MACOSX/lfw/._a.png": b"", f"{prefix}readme.txt": b""}
    write = {"folder": write_files, "zip": write_zip}[kind]
    sources = load(tmp_path, write(tmp_path / "in", files))
    plain = load(tmp_path, write_files(tmp_path / "plain", people(10)))
    for split in ("train", "validation"):
        found, expected = getattr(sources, split), getattr(plain, split)
        assert examples(found) == examples(expected)


def test_a_folder_with_more_images_than_there_are_of_anybody_is_looked_through(
    tmp_path, monkeypatch
):
    files = {f"img_align_celeba/{i:06}.png": noise(i) for i in range(20)}
    path = write_zip(tmp_path / "celeba.zip", files)
    with pytest.raises(ValueError, match="of one person, 'img_align_celeba'"):
        load(tmp_path, path)
    monkeypatch.setattr(layout, "MAX_OF_PERSON", 19)
    sources = load(tmp_path, path)
    assert (len(sources.train), len(sources.validation)) == (18, 2)


def test_one_person_below_a_wrapping_folder_cannot_be_split(tmp_path):
    folder = write_files(tmp_path / "in", below("faces/", people(1, images=3)))
    with pytest.raises(ValueError, match="one person, 'person 0'"):
        load(tmp_path, folder)


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("train", "val", "test"), ("in/Training", "in/VALIDATION", "in/TEST"), ("train", "", "test")],
)
def test_folders_of_splits_are_no_people(tmp_path, capfd, train, val, test):
    # The people of the training split are wrapped once more.
    files = below(f"{train}/{'faces/' if val else ''}", people(4))
    files |= below(f"{val}/", people(2, start=50)) if val else {}
    files |= below(f"{test}/", people(1, start=60))
    sources = load(tmp_path, write_zip(tmp_path / "in.zip", files))
    assert subjects(sources.train) == {f"person {i}" for i in range(4)}
    assert subjects(sources.validation) == ({"person 50", "person 51"} if val else {"person 60"})
    said = capfd.readouterr().err
    name = test.split("/")[-1]
    assert f"{name} {'not used' if val else 'for validation'} (2 images)" in said
    assert "larger" not in said


def test_images_directly_in_splits_and_people_beside_them(tmp_path):
    files = {"train/0.png": noise(7), "train/1.png": noise(8), "val/0.png": noise(9)}
    sources = load(tmp_path, write_files(tmp_path / "in", files | people(1)))
    assert subjects(sources.train) == {"0.png", "1.png", "person 0"}
    assert subjects(sources.validation) == {"0.png"}


def test_a_validation_path_takes_precedence(tmp_path, capfd):
    files = below("train/", people(3)) | below("val/", people(1, start=50))
    folder = write_files(tmp_path / "in", files)
    other = write_files(tmp_path / "other", people(1, start=70))
    sources = load(tmp_path, folder, validation=[other])
    assert subjects(sources.train) == {f"person {i}" for i in range(3)}
    assert subjects(sources.validation) == {"person 70"}
    assert "val not used (2 images)" in capfd.readouterr().err
    assert subjects(load(tmp_path, other, validation=[folder]).validation) == {"person 50"}
    # As `colorjax evaluate --dataset` opens it: all images.
    assert len(load(tmp_path, folder, validation=[folder]).validation) == 8


def test_a_larger_validation_split_is_said(tmp_path, capfd):
    files = below("train/", people(1)) | below("val/", people(2, start=50))
    load(tmp_path, write_files(tmp_path / "in", files))
    assert "validation split (4 images) is larger than the training split (2)" in (
        capfd.readouterr().err
    )


def test_splits_without_images_to_train_on(tmp_path):
    files = below("val/", people(1)) | below("test/", people(1, start=50))
    with pytest.raises(ValueError, match="in/val is for validation, and no image is for training"):
        load(tmp_path, write_files(tmp_path / "in", files))


def test_an_encrypted_zip_says_so(tmp_path, capsys):
    path = write_zip(tmp_path / "in.zip", people(2))
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = data.index(signature) + flags
        struct.pack_into("<H", data, at, struct.unpack_from("<H", data, at)[0] | 1)
    path.write_bytes(data)
    with zipfile.ZipFile(path) as archive, pytest.raises(RuntimeError, match="encrypted"):
        archive.read(archive.infolist()[0])
    argv = ["prepare", "image_folder", "--path", str(path), "--data_dir", str(tmp_path / "cache")]
    assert cli.main(argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"colorjax: {path} is encrypted; unpack it")


FAULTS = (b"memory", b"recursion", b"not a kind that is expected", b"crash", b"endless")


def test_whatever_a_file_does_it_is_counted_as_unreadable(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(manifest, "check", faulty.check)
    monkeypatch.setattr(manifest, "Workers", partial(manifest.Workers, time_limit=15.0))
    files = people(3) | {f"person 0/bad{i}.png": fault for i, fault in enumerate(FAULTS)}
    load(tmp_path, write_files(tmp_path / "in", files))
    bad = ", ".join(f"person 0/bad{i}.png" for i in range(3))
    assert f"Of 11 images, 6 used, 5 unreadable ({bad}, …)." in capfd.readouterr().err


def test_random_trees(tmp_path):
    """Every used image is in one split; names below a wrapping folder give the same people."""
    rng = np.random.default_rng(0)
    for trial in range(20):
        names = {
            "/".join(rng.choice(["a", "b", "train", "Val", "test"], rng.integers(0, 4)))
            + f"/{i}.png"
            for i in range(rng.integers(2, 12))
        } | {"a/0.png"}
        tree = write_files(tmp_path / str(trial), {name.lstrip("/"): b"" for name in names})
        wrapped = write_files(
            tmp_path / f"w{trial}", {f"w/{name.lstrip('/')}": b"" for name in names}
        )
        found = []
        for folder in (tree, wrapped):
            places = layout.Layout([Folder(folder)], 1)
            sides = [dict(places.files(0, training)) for training in (True, False)]
            assert not sides[0].keys() & sides[1].keys()
            assert [len(side) for side in sides] == [places.count(True), places.count(False)]
            found.append([{k.removeprefix("w/"): v for k, v in side.items()} for side in sides])
        assert found[0] == found[1]
