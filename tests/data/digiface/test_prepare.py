"""digiface1m: from miniature zips on a loopback server to training data; what is refused."""

import io
import itertools
import os
import stat
import struct
import subprocess
import sys
import time
import zipfile

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds
from loopback import serving
from support import ROOT

from colorjax import cli
from colorjax.data import pipeline
from colorjax.data.digiface import builder, prepare
from colorjax.images import folders
from colorjax.terminal.errors import InputError

PART_72 = "subjects_0-1999_72_imgs.zip"
IMAGES = 3
NO_SERVER = "http://127.0.0.1:9/"


def _face(subject, index, size=112):
    rgb = np.full((size, size, 3), (subject % 251, index, 100), np.uint8)
    return cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()


def _members(subjects, images=IMAGES, above=""):
    return {
        f"{above}{subject}/{index}.png": _face(subject, index)
        for subject, index in itertools.product(subjects, range(images))
    }


def _zip(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def _zips():
    """Forty subjects in each of two of the zips; one has a folder above them."""
    return {
        PART_72: _zip(_members(range(40))),
        "subjects_2000-3999_72_imgs.zip": _zip(_members(range(2000, 2040), above="faces/aligned/")),
        "subjects_100000-133332_5_imgs.zip": _zip(_members(range(100_000, 100_020), images=5)),
    }


@pytest.fixture
def server():
    with serving(_zips()) as server:
        yield server


def _prepare(tmp_path, mirror, *arguments, accept=True):
    """The command line, without its process."""
    command = ["prepare", "digiface1m", "--data_dir", str(tmp_path / "data")]
    command += ["--mirror", mirror, *arguments]
    cli.run(command + ["--accept_license"] * accept)


def _load(tmp_path, **options):
    return pipeline.load_sources("digiface1m", cache_dir=tmp_path / "data", **options)


def _read(source):
    return [source[i] for i in range(len(source))]


def _prepared(tmp_path):
    return [path.parts[-3] for path in (tmp_path / "data").rglob("dataset_info.json")]


def test_prepare_downloads_what_is_asked_for_and_training_reads_it(server, tmp_path, capsys):
    _prepare(tmp_path, server.url, "--parts", "0-1999")
    assert [name for name, *_ in server.requests] == [PART_72]
    out = capsys.readouterr().out
    assert "digiface1m is ready in" in out
    assert "108 images for train" in out
    sources = _load(tmp_path)
    assert sources.key == "digiface1m/72_0-1999/1.0.0"
    assert (len(sources.train), len(sources.validation)) == (108, 6)
    for record in _read(sources.train) + _read(sources.validation):
        assert record["image"] == _face(int(record["subject"]), int(record["index"]))
    (batch,) = itertools.islice(
        pipeline.train_iterator(sources.train, batch_size=4, image_size=32, seed=0), 1
    )
    assert batch["image"].shape == (4, 32, 32, 3)
    # Again: nothing is asked for, nothing prepared.
    _prepare(tmp_path, server.url, "--parts", "0-1999")
    assert len(server.requests) == 1


def test_a_folder_above_the_subjects_and_several_zips(server, tmp_path):
    _prepare(tmp_path, server.url, "--parts", "0-1999,2000-3999")
    sources = _load(tmp_path)
    subjects = {int(r["subject"]) for r in _read(sources.train) + _read(sources.validation)}
    assert len(subjects) == 80 - 4  # two blocks of twenty in each: four subjects are for test
    assert subjects <= {*range(40), *range(2000, 2040)}


def test_max_subjects_takes_the_first_and_only_the_zips_that_are_needed(server, tmp_path):
    _prepare(tmp_path, server.url, "--max_subjects", "30")
    assert [name for name, *_ in server.requests] == [PART_72]
    sources = _load(tmp_path)
    assert sources.key == "digiface1m/72_0-1999_first_30/1.0.0"
    assert max(int(record["subject"]) for record in _read(sources.train)) < 30


def test_no_byte_is_asked_for_before_the_licence_is_accepted(server, tmp_path):
    with pytest.raises(InputError, match=r"non-commercial research only.* --accept_license"):
        _prepare(tmp_path, server.url, accept=False)
    assert not server.requests
    assert not (tmp_path / "data").exists()


def test_a_data_dir_that_cannot_be_written_is_said_before_any_download(server, tmp_path):
    (tmp_path / "data").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot write to .*; give another --data_dir"):
        _prepare(tmp_path, server.url)
    assert not server.requests


def test_zips_that_the_user_has_are_read_where_they_are(server, tmp_path):
    manual = tmp_path / "mine"
    manual.mkdir()
    (manual / PART_72).write_bytes(server.files[PART_72])
    _prepare(tmp_path, server.url, "--parts", "0-1999,2000-3999", "--manual_dir", str(manual))
    assert [name for name, *_ in server.requests] == ["subjects_2000-3999_72_imgs.zip"]
    assert os.listdir(manual) == [PART_72]
    assert len(_load(tmp_path).train) == 216


FAULTS = {
    "cut half way": ([("cut", 20_000)] * 6, None),
    "wrong length": ([("length", -5_000)], "arrived corrupt"),
    "404": ([404], "404 Not Found"),
    "503 that goes away": ([503, 503], None),
    "503 that stays": ([503] * 5, "503"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_after_each_fault_the_same_command_completes(server, tmp_path, monkeypatch, fault):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    server.faults[PART_72], message = FAULTS[fault]
    if message is None:
        _prepare(tmp_path, server.url, "--parts", "0-1999")
    else:
        with pytest.raises(InputError, match=message):
            _prepare(tmp_path, server.url, "--parts", "0-1999")
        assert not _prepared(tmp_path)
        assert not list((tmp_path / "data").rglob("*.zip"))
        _prepare(tmp_path, server.url, "--parts", "0-1999")
    assert len(_load(tmp_path).train) == 108


def test_a_member_that_came_corrupt_is_never_accepted(server, tmp_path):
    good = server.files[PART_72]
    place = good.index(b"IDAT") + 6
    server.files[PART_72] = good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]
    with pytest.raises(InputError, match=r"arrived corrupt .*0/0\.png"):
        _prepare(tmp_path, server.url, "--parts", "0-1999")
    assert not _prepared(tmp_path)
    server.files[PART_72] = good
    _prepare(tmp_path, server.url, "--parts", "0-1999")
    assert len(_load(tmp_path).train) == 108


def test_a_damaged_zip_of_the_users_is_named_and_nothing_is_prepared(tmp_path):
    data = bytearray(_zips()[PART_72])
    data[data.rindex(b"IDAT") + 6] ^= 1
    (tmp_path / PART_72).write_bytes(data)
    arguments = (NO_SERVER, "--parts", "0-1999", "--manual_dir", str(tmp_path))
    with pytest.raises(InputError, match=rf"{PART_72} is damaged at \d+/\d\.png .*39/2\.png"):
        _prepare(tmp_path, *arguments)
    assert not _prepared(tmp_path)
    (tmp_path / PART_72).write_bytes(_zips()[PART_72])
    _prepare(tmp_path, *arguments)
    assert len(_load(tmp_path).train) == 108


def test_a_killed_preparation_goes_on(server, tmp_path):
    """Killed while the server is half through the file."""
    server.faults[PART_72] = [("cut", 20_000), *[503] * 100]
    data = tmp_path / "data"
    command = [sys.executable, "-m", "colorjax.cli", "prepare", "digiface1m", "--parts", "0-1999"]
    command += ["--data_dir", str(data), "--mirror", server.url, "--accept_license"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while len(server.requests) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
    server.faults.clear()
    part = data / "downloads" / f"{PART_72}.part"
    assert part.stat().st_size == 20_000
    _prepare(tmp_path, server.url, "--parts", "0-1999")
    assert server.requests[-1] == (PART_72, "bytes=20000-", 206)
    assert len(_load(tmp_path).train) == 108


def _with(members):
    return _members(range(40)) | members


def _claims(width, height):
    face = _face(0, 0)
    return face[:16] + struct.pack(">II", width, height) + face[24:]


def test_what_is_no_face_is_skipped_and_counted(tmp_path, capfd):
    bad = {
        "7/0.png": _claims(50_000, 50_000),
        "7/1.png": b"no image",
        "7/2.png": _face(7, 2, size=64),
        "7/readme.txt": b"text",
    }
    (tmp_path / PART_72).write_bytes(_zip(_with(bad)))
    arguments = ("--parts", "0-1999", "--manual_dir", str(tmp_path))
    _prepare(tmp_path, NO_SERVER, *arguments)
    assert len(_load(tmp_path).train) == 105
    err = capfd.readouterr().err
    assert "Skipped 3 of 108 files that are no PNG of 112×112 pixels: 7/0.png, 7/1.png" in err


LINK = zipfile.ZipInfo("1/7.png")
LINK.external_attr = (stat.S_IFLNK | 0o777) << 16


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("../0/0.png", r"points outside the zip, '\.\./0/0\.png'"),
        ("/0/0.png", r"points outside the zip, '/0/0\.png'"),
        (LINK, r"a link, '1/7\.png'"),
        ("5000/0.png", r"'5000/0\.png', which is of none of the subjects 0-1999"),
        ("bomb.bin", r"decompression bomb: 'bomb\.bin' unpacks from"),
    ],
)
def test_a_zip_that_no_one_should_open_is_refused_by_name(tmp_path, monkeypatch, member, message):
    monkeypatch.setattr(folders, "BOMB_BYTES", 1_000_000)
    data = io.BytesIO(_zip(_members(range(40))))
    with zipfile.ZipFile(data, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, bytes(2_000_000) if member == "bomb.bin" else _face(0, 0))
    (tmp_path / PART_72).write_bytes(data.getvalue())
    with pytest.raises(InputError, match=message):
        _prepare(tmp_path, NO_SERVER, "--parts", "0-1999", "--manual_dir", str(tmp_path))
    assert not _prepared(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no zip", _zip({"readme.txt": b"text"})])
def test_another_file_with_the_right_name_is_refused(tmp_path, content):
    (tmp_path / PART_72).write_bytes(content)
    with pytest.raises(InputError, match=PART_72):
        _prepare(tmp_path, NO_SERVER, "--parts", "0-1999", "--manual_dir", str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--config", "73"), "no config '73'; choose one of 72, 5, all"),
        (("--parts", "0-2000"), "no part '0-2000'; choose from 0-1999, 2000-3999"),
        (("--max_subjects", "19"), "too few .* take 20 or more"),
        (("--max_subjects", "-1"), "too few"),
        (("--manual_dir", "nowhere"), "nowhere is no folder"),
    ],
)
def test_choices_that_are_not_there_are_refused(server, tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        _prepare(tmp_path, server.url, *arguments)
    assert not server.requests


def test_training_without_prepared_data_says_how_to_prepare_them(tmp_path):
    with pytest.raises(InputError, match="prepare it by: colorjax prepare digiface1m --data_dir"):
        _load(tmp_path)
    with pytest.raises(InputError, match=r"the path faces\.zip is set"):
        _load(tmp_path, path="faces.zip")


def test_of_several_prepared_ones_one_has_to_be_named(server, tmp_path):
    _prepare(tmp_path, server.url, "--parts", "0-1999")
    _prepare(tmp_path, server.url, "--config", "5", "--parts", "100000-133332")
    with pytest.raises(InputError, match=r"several .*5_100000-133332, 72_0-1999; set config"):
        _load(tmp_path)
    assert _load(tmp_path, variant="5_100000-133332").key.startswith("digiface1m/5_100000")
    with pytest.raises(
        InputError, match=r"no digiface1m all; there are 5_100000-133332, 72_0-1999"
    ):
        _load(tmp_path, variant="all")


def test_data_of_another_version_are_not_reused(server, tmp_path, monkeypatch):
    _prepare(tmp_path, server.url, "--parts", "0-1999")
    monkeypatch.setattr(builder.Digiface1m, "VERSION", "2.0.0")
    with pytest.raises(InputError, match=r"another version .*72_0-1999 1\.0\.0, not 2\.0\.0"):
        _load(tmp_path)


def test_the_split_is_by_subject_alone_and_exact_in_every_twenty():
    subjects = range(0, 10_000)
    splits = [builder.split_of(subject) for subject in subjects]
    for start in range(0, 10_000, 20):
        block = splits[start : start + 20]
        assert (block.count("train"), block.count("validation"), block.count("test")) == (18, 1, 1)
    # Not always the same place in a block.
    places = {subject % 20 for subject in subjects if splits[subject] == "validation"}
    assert places == set(range(20))


def test_the_names_of_configs_say_all_of_them():
    for name, parts, most in [
        ("72", (), 0),
        ("5", (), 0),
        ("all", (), 0),
        ("all", ("2000-3999", "100000-133332"), 0),
        ("72", (), 2500),
        ("5", ("133333-166665",), 50),
        ("72", (), 10**6),
    ]:
        config = builder.make_config(name, parts, most)
        again = builder._parse(config.name)
        assert (again.name, again.parts, again.max_subjects) == (
            config.name,
            config.parts,
            config.max_subjects,
        )
    assert len(builder.make_config("72", (), 2500).parts) == 2
    assert builder.make_config("72", (), 10**6).name == "72"


def test_the_zips_are_those_of_the_release():
    names = [part.file for part in builder.PARTS["all"]]
    assert names == [
        "subjects_0-1999_72_imgs.zip",
        "subjects_2000-3999_72_imgs.zip",
        "subjects_4000-5999_72_imgs.zip",
        "subjects_6000-7999_72_imgs.zip",
        "subjects_8000-9999_72_imgs.zip",
        "subjects_100000-133332_5_imgs.zip",
        "subjects_133333-166665_5_imgs.zip",
        "subjects_166666-199998_5_imgs.zip",
    ]
    images = sum(part.subjects * part.images for part in builder.PARTS["all"])
    assert images == 720_000 + 499_995
    assert prepare.URL.startswith("https://")


def test_the_builder_is_one_as_tfds_knows_them(tmp_path):
    assert list(builder.Digiface1m.builder_configs) == ["72", "5", "all"]
    digiface = builder.Digiface1m(data_dir=tmp_path / "data", config="72")
    assert digiface.info.features["image"].shape == (112, 112, 3)
    assert {"image", "subject", "index"} == set(digiface.info.features)
    assert "Bae, Gwangbin" in digiface.info.citation
    assert "github.com/microsoft" in digiface.info.homepage
    assert "non-commercial" in digiface.info.redistribution_info.license
    (tmp_path / "zips").mkdir()
    (tmp_path / "zips" / PART_72).write_bytes(_zips()[PART_72])
    config = tfds.download.DownloadConfig(manual_dir=tmp_path / "zips")
    with pytest.raises(InputError, match=r"subjects_2000-3999_72_imgs\.zip is not there"):
        digiface.download_and_prepare(download_config=config, file_format="array_record")
    config_72 = builder.make_config("72", ["0-1999"])
    digiface = builder.Digiface1m(data_dir=tmp_path / "data", config=config_72)
    digiface.download_and_prepare(download_config=config, file_format="array_record")
    assert {name: split.num_examples for name, split in digiface.info.splits.items()} == {
        "train": 108,
        "validation": 6,
        "test": 6,
    }
    assert len(builder.as_data_source("test", decoders={"image": tfds.decode.SkipDecoding()})) == 6
