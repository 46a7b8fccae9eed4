"""digiface1m: from miniature zips on a loopback server to training data; what is refused."""

import io
import itertools
import os
import stat
import struct
import zipfile

import cv2
import numpy as np
import pytest
from image_files import zipped
from loopback import serving

from colorjax import cli
from colorjax.data import pipeline
from colorjax.data.digiface import builder
from colorjax.images import folders
from colorjax.terminal.errors import InputError

PART = "subjects_0-1999_72_imgs.zip"
NO_SERVER = "http://127.0.0.1:9/"


def face(subject, index, size=112):
    rgb = np.full((size, size, 3), (subject % 251, index, 100), np.uint8)
    return cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()


def members(subjects, images=3, above=""):
    return {
        f"{above}{subject}/{index}.png": face(subject, index)
        for subject, index in itertools.product(subjects, range(images))
    }


# Forty subjects in each of two of the zips; one has a folder above them.
ZIPS = {
    PART: zipped(members(range(40))),
    "subjects_2000-3999_72_imgs.zip": zipped(members(range(2000, 2040), above="faces/aligned/")),
    "subjects_100000-133332_5_imgs.zip": zipped(members(range(100_000, 100_020), images=5)),
}


@pytest.fixture
def server():
    with serving(ZIPS) as server:
        yield server


def prepare(tmp_path, mirror, *arguments, accept=True):
    """The command, in this process."""
    command = ["prepare", "digiface1m", "--data_dir", str(tmp_path / "data")]
    command += ["--mirror", mirror, *arguments]
    cli.run(command + ["--accept_license"] * accept)


def prepare_part(tmp_path, mirror):
    prepare(tmp_path, mirror, "--parts", "0-1999")


def prepare_own(tmp_path, contents):
    """From a zip of the user's."""
    (tmp_path / PART).write_bytes(contents)
    prepare(tmp_path, NO_SERVER, "--parts", "0-1999", "--manual_dir", str(tmp_path))


def load(tmp_path, **options):
    return pipeline.load_sources("digiface1m", cache_dir=tmp_path / "data", **options)


def records(sources):
    return [s[i] for s in (sources.train, sources.validation) for i in range(len(s))]


def prepared(tmp_path):
    return [path.parts[-3] for path in (tmp_path / "data").rglob("dataset_info.json")]


def test_prepare_downloads_what_is_asked_for_and_training_reads_it(server, tmp_path, capsys):
    prepare_part(tmp_path, server.url)
    assert [name for name, *_ in server.requests] == [PART]
    out = capsys.readouterr().out
    assert "digiface1m is ready in" in out
    assert "108 images for train" in out
    sources = load(tmp_path)
    assert sources.key == "digiface1m/72_0-1999/1.0.0"
    assert (len(sources.train), len(sources.validation)) == (108, 6)
    for record in records(sources):
        assert record["image"] == face(int(record["subject"]), int(record["index"]))
    batches = pipeline.train_iterator(sources.train, batch_size=4, image_size=32, seed=0)
    assert next(batches)["image"].shape == (4, 32, 32, 3)
    batches.close()
    prepare_part(tmp_path, server.url)  # nothing is downloaded again
    assert len(server.requests) == 1


def test_several_zips_of_which_the_user_has_one(server, tmp_path):
    manual = tmp_path / "mine"
    manual.mkdir()
    (manual / PART).write_bytes(ZIPS[PART])
    prepare(tmp_path, server.url, "--parts", "0-1999,2000-3999", "--manual_dir", str(manual))
    assert [name for name, *_ in server.requests] == ["subjects_2000-3999_72_imgs.zip"]
    assert os.listdir(manual) == [PART]
    subjects = {int(record["subject"]) for record in records(load(tmp_path))}
    assert len(subjects) == 80 - 4  # two blocks of twenty in each: four subjects are for test
    assert subjects <= {*range(40), *range(2000, 2040)}


def test_max_subjects_takes_the_first_and_only_the_zips_that_are_needed(server, tmp_path):
    prepare(tmp_path, server.url, "--max_subjects", "30")
    assert [name for name, *_ in server.requests] == [PART]
    sources = load(tmp_path)
    assert sources.key == "digiface1m/72_0-1999_first_30/1.0.0"
    assert max(int(record["subject"]) for record in records(sources)) < 30


def test_nothing_is_downloaded_without_the_licence_or_a_writable_folder(server, tmp_path):
    with pytest.raises(InputError, match=r"non-commercial research only.* --accept_license"):
        prepare(tmp_path, server.url, accept=False)
    assert not (tmp_path / "data").exists()
    (tmp_path / "data").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot write to .*; give another --data_dir"):
        prepare(tmp_path, server.url)
    assert not server.requests


def test_a_corrupt_zip_is_never_accepted_and_its_member_is_named(server, tmp_path):
    data = bytearray(ZIPS[PART])
    data[data.rindex(b"IDAT") + 6] ^= 1
    server.files[PART] = bytes(data)
    with pytest.raises(InputError, match=r"arrived corrupt .*39/2\.png"):
        prepare_part(tmp_path, server.url)
    with pytest.raises(InputError, match=rf"{PART} is corrupt at \d+/\d\.png .*39/2\.png"):
        prepare_own(tmp_path, data)
    assert not prepared(tmp_path)
    prepare_own(tmp_path, ZIPS[PART])
    assert len(load(tmp_path).train) == 108


def test_files_that_are_not_faces_are_skipped_and_counted(tmp_path, capfd):
    huge = face(0, 0)[:16] + struct.pack(">II", 50_000, 50_000) + face(0, 0)[24:]
    bad = {"7/0.png": huge, "7/1.png": b"text", "7/2.png": face(7, 2, size=64), "7/a.txt": b"text"}
    prepare_own(tmp_path, zipped(members(range(40)) | bad))
    assert len(load(tmp_path).train) == 105
    err = capfd.readouterr().err
    assert "Skipped 3 of 108 files that are not PNGs of 112×112: 7/0.png, 7/1.png" in err


LINK = zipfile.ZipInfo("1/7.png")
LINK.external_attr = (stat.S_IFLNK | 0o777) << 16


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("../0/0.png", r"points outside the zip, '\.\./0/0\.png'"),
        (LINK, r"a link, '1/7\.png'"),
        ("5000/0.png", r"'5000/0\.png', which is not of the subjects 0-1999"),
        ("bomb.bin", r"decompression bomb: 'bomb\.bin' unpacks from"),
    ],
)
def test_a_zip_with_a_member_that_does_not_belong_there_is_refused(
    tmp_path, monkeypatch, member, message
):
    monkeypatch.setattr(folders, "BOMB_BYTES", 1_000_000)
    data = io.BytesIO(ZIPS[PART])
    with zipfile.ZipFile(data, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, bytes(2_000_000) if member == "bomb.bin" else face(0, 0))
    with pytest.raises(InputError, match=message):
        prepare_own(tmp_path, data.getvalue())
    assert not prepared(tmp_path)


@pytest.mark.parametrize("contents", [b"", b"text", zipped({"readme.txt": b"text"})])
def test_another_file_with_the_right_name_is_refused(tmp_path, contents):
    with pytest.raises(InputError, match=PART):
        prepare_own(tmp_path, contents)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--config", "73"), "no config '73'; choose one of 72, 5, all"),
        (("--parts", "0-2000"), "no part '0-2000'; choose from 0-1999, 2000-3999"),
        (("--max_subjects", "19"), "must be 0 .* at least 20, not 19"),
        (("--max_subjects", "-1"), "-1 is less than 1"),
        (("--manual_dir", "nowhere"), "nowhere is not a folder"),
    ],
)
def test_choices_that_do_not_exist_are_refused(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        prepare(tmp_path, NO_SERVER, *arguments)


def test_training_without_the_prepared_data_says_what_to_do(server, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="prepare it with: colorjax prepare digiface1m --data_dir"):
        load(tmp_path)
    with pytest.raises(InputError, match=r"the path faces\.zip is set"):
        load(tmp_path, path="faces.zip")
    prepare_part(tmp_path, server.url)
    prepare(tmp_path, server.url, "--config", "5", "--parts", "100000-133332")
    with pytest.raises(InputError, match=r"several .*5_100000-133332, 72_0-1999; set config"):
        load(tmp_path)
    assert load(tmp_path, variant="5_100000-133332").key.startswith("digiface1m/5_100000")
    with pytest.raises(InputError, match=r"no digiface1m all .*, only 5_100000-133332 of version"):
        load(tmp_path, variant="all")
    monkeypatch.setattr(builder.Digiface1m, "VERSION", "2.0.0")
    with pytest.raises(InputError, match=r"of version 2\.0\.0, only .*72_0-1999 of version 1\.0\."):
        load(tmp_path)


def test_the_split_is_by_subject_and_exact_in_every_twenty():
    splits = [builder.split_of(subject) for subject in range(10_000)]
    for start in range(0, 10_000, 20):
        block = splits[start : start + 20]
        assert (block.count("train"), block.count("validation"), block.count("test")) == (18, 1, 1)
    # Not always the same place in a block.
    places = {subject % 20 for subject, split in enumerate(splits) if split == "validation"}
    assert places == set(range(20))


@pytest.mark.parametrize(
    ("name", "parts", "most", "count"),
    [
        ("72", (), 0, 5),
        ("5", (), 0, 3),
        ("all", (), 0, 8),
        ("all", ("2000-3999", "100000-133332"), 0, 2),
        ("72", (), 2500, 2),
        ("5", ("133333-166665",), 50, 1),
        ("72", (), 10**6, 5),
    ],
)
def test_the_name_of_a_config_identifies_it(name, parts, most, count):
    config = builder.make_config(name, parts, most)
    again = builder.parse_config(config.name)
    assert again.__dict__ == config.__dict__
    assert len(config.parts) == count


def test_the_zips_are_those_of_the_release():
    parts = builder.PARTS["all"]
    assert [part.file for part in parts] == [
        *(f"subjects_{k}-{k + 1999}_72_imgs.zip" for k in range(0, 10_000, 2000)),
        "subjects_100000-133332_5_imgs.zip",
        "subjects_133333-166665_5_imgs.zip",
        "subjects_166666-199998_5_imgs.zip",
    ]
    assert sum(part.subjects * part.images for part in parts) == 720_000 + 499_995
