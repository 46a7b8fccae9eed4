"""People's folders and zips: who goes where, what is skipped, what is reused, what is refused."""

import io
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
import time
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from colorjax import cli
from colorjax.data import pipeline
from colorjax.data.image_folder import builder, manifest
from colorjax.images import folders
from colorjax.terminal.errors import InputError
from configs.common import get


def _image(value, suffix="png", size=(12, 10)):
    file = io.BytesIO()
    rgb = np.random.default_rng(value).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(file, suffix)
    return file.getvalue()


def _write(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def _zip(path, files, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def _people(count, images=2, start=0):
    """`count` people with a JPEG and PNGs each."""
    return {
        f"person {start + p}/{i}.{'jpg' if i == 0 else 'PNG'}": _image(
            100 * (start + p) + i, "jpeg" if i == 0 else "png"
        )
        for p in range(count)
        for i in range(images)
    }


def _encoded(rgb):
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "png")
    return file.getvalue()


def _load(tmp_path, *paths, validation=(), **options):
    return pipeline.load_sources(
        "image_folder",
        path=",".join(map(str, paths)),
        validation_path=",".join(map(str, validation)),
        cache_dir=tmp_path / "cache",
        **options,
    )


def _images(source):
    return {source[i]["image"] for i in range(len(source))}


def _subjects(source):
    return {source[i]["subject"].decode() for i in range(len(source))}


def _prepared(tmp_path):
    """How often something was prepared, as far as the disk tells."""
    return len(list((tmp_path / "cache").rglob("dataset_info.json")))


def test_people_stay_together_and_a_tenth_of_them_is_held_out(tmp_path):
    files = _people(20, images=3)
    sources = _load(tmp_path, _write(tmp_path / "in", files))
    assert (len(sources.train), len(sources.validation)) == (54, 6)
    assert _subjects(sources.train) | _subjects(sources.validation) == {
        f"person {i}" for i in range(20)
    }
    assert not _subjects(sources.train) & _subjects(sources.validation)
    # The bytes are stored as they are.
    assert _images(sources.train) | _images(sources.validation) == set(files.values())


def test_the_split_follows_the_names_and_not_the_place(tmp_path):
    files = _people(12)
    a = _load(tmp_path / "a", _write(tmp_path / "in a", files))
    b = _load(tmp_path / "b", _write(tmp_path / "in b", files))
    assert a.key == b.key
    assert _images(a.validation) == _images(b.validation)


def test_a_zip_and_the_same_folder_give_the_same_images(tmp_path):
    files = _people(6)
    folder = _load(tmp_path, _write(tmp_path / "in", files))
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        packed = _load(tmp_path, _zip(tmp_path / f"{compression}.zip", files, compression))
        for a, b in ((folder.train, packed.train), (folder.validation, packed.validation)):
            assert [a[i]["image"] for i in range(len(a))] == [b[i]["image"] for i in range(len(b))]


def test_names_as_other_programs_write_them_into_zips_are_understood(tmp_path):
    files = {"./a/0.png": _image(0), "a\\1.png": _image(1), "b/./0.png": _image(2)}
    sources = _load(tmp_path, _zip(tmp_path / "in.zip", files))
    assert _subjects(sources.train) | _subjects(sources.validation) == {"a", "b"}
    assert _images(sources.train) | _images(sources.validation) == set(files.values())


def test_a_person_in_two_zips_is_one_person(tmp_path):
    first = {name: data for name, data in _people(10).items() if "0.jpg" in name}
    second = {name: data for name, data in _people(10).items() if "1.PNG" in name}
    paths = _zip(tmp_path / "0.zip", first), _zip(tmp_path / "1.zip", second)
    sources = _load(tmp_path, *paths)
    assert (len(sources.train), len(sources.validation)) == (18, 2)
    assert not _subjects(sources.train) & _subjects(sources.validation)


def test_in_a_flat_folder_each_image_is_a_person(tmp_path):
    sources = _load(tmp_path, _write(tmp_path / "in", {f"{i}.png": _image(i) for i in range(10)}))
    assert (len(sources.train), len(sources.validation)) == (9, 1)


def test_deeper_folders_belong_to_the_first_level(tmp_path):
    files = {f"{p}/{i}/{i}.png": _image(10 * p + i) for p in range(2) for i in range(4)}
    sources = _load(tmp_path, _write(tmp_path / "in", files))
    assert len(_subjects(sources.train)) == len(_subjects(sources.validation)) == 1
    assert len(sources.train) == len(sources.validation) == 4
    assert {int(sources.train[i]["index"]) for i in range(4)} == set(range(4))


def test_with_a_validation_path_nobody_is_held_out(tmp_path):
    train, validation = _people(3), _people(1, start=50)
    sources = _load(
        tmp_path,
        _write(tmp_path / "in", train),
        validation=[_zip(tmp_path / "validation.zip", validation)],
    )
    assert _images(sources.train) == set(train.values())
    assert _images(sources.validation) == set(validation.values())


def test_the_same_path_twice_counts_once(tmp_path):
    path = _write(tmp_path / "in, or out", _people(2))
    sources = pipeline.load_sources("image_folder", path=str(path), cache_dir=tmp_path)  # a comma
    path = path.rename(tmp_path / "in")
    again = _load(tmp_path, path, path)
    assert len(sources.train) == len(again.train) == 2


def test_hidden_files_and_those_of_other_kinds_are_ignored_without_a_word(tmp_path, capfd):
    junk = {
        "__MACOSX/person 0/._0.jpg": b"junk",
        "person 0/._0.jpg": b"junk",
        ".hidden/0.jpg": b"junk",
        "person 0/readme.txt": b"text",
        "Thumbs.db": b"junk",
    }
    for path in (
        _write(tmp_path / "in", _people(4) | junk),
        _zip(tmp_path / "in.zip", _people(4) | junk),
    ):
        sources = _load(tmp_path, path)
        assert len(sources.train) + len(sources.validation) == 8
    assert "Of 8 images, 8 used." in capfd.readouterr().err


def _png_header(width, height):
    """A PNG that claims a size and holds nothing."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b"")


def _unreadable():
    jpeg, png = _image(1, "jpeg", (64, 64)), _image(1, "png", (64, 64))
    return {
        "empty.jpg": b"",
        "text.jpg": b"no image at all",
        "cut.jpg": jpeg[: len(jpeg) // 2],
        "cut.png": png[: len(png) // 2],
        "gif.png": _image(1, "gif"),
        "huge.png": _png_header(50_000, 50_000),
        "large.png": _png_header(10_001, 10_000),
    }


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_unreadable_files_are_skipped_and_counted(tmp_path, capfd, kind):
    files = _people(4) | {f"person 1/{name}": data for name, data in _unreadable().items()}
    path = tmp_path / "in"
    _write(path, files) if kind == "folder" else _zip(path, files)
    sources = _load(tmp_path, path)
    assert len(sources.train) + len(sources.validation) == 8
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("Of ")]
    assert lines == [
        "Of 15 images, 8 used, 7 unreadable (person 1/cut.jpg, person 1/cut.png, "
        "person 1/empty.jpg, …)."
    ]


def test_a_corrupt_member_of_a_zip_is_skipped_and_counted(tmp_path, capfd):
    files = _people(4)
    path = _zip(tmp_path / "in.zip", files)
    victim = files["person 2/1.PNG"]
    data = path.read_bytes()
    assert data.count(victim) == 1
    path.write_bytes(data.replace(victim, victim[:60] + b"\0\1\2" + victim[63:]))
    sources = _load(tmp_path, path)
    assert len(sources.train) + len(sources.validation) == 7
    assert "Of 8 images, 7 used, 1 unreadable (person 2/1.PNG)." in capfd.readouterr().err


def test_the_suffix_does_not_decide_what_a_file_is(tmp_path):
    files = {"a/0.png": _image(0, "jpeg"), "b/0.JPEG": _image(1, "png")}
    sources = _load(tmp_path, _write(tmp_path / "in", files))
    assert _images(sources.train) | _images(sources.validation) == set(files.values())


def test_a_link_that_leads_back_is_followed_once(tmp_path):
    folder = _write(tmp_path / "in", _people(3))
    (folder / "person 0" / "back").symlink_to(folder)
    elsewhere = _write(tmp_path / "elsewhere", {"0.png": _image(77)})
    (folder / "linked").symlink_to(elsewhere)
    sources = _load(tmp_path, folder)
    assert len(sources.train) + len(sources.validation) == 7


def test_names_that_are_not_utf8_do_no_harm(tmp_path):
    folder = _write(tmp_path / "in", _people(2))
    (folder / os.fsdecode(b"J\xf6rg")).mkdir()
    (folder / os.fsdecode(b"J\xf6rg/\xe4.png")).write_bytes(_image(5))
    sources = _load(tmp_path, folder)
    assert len(sources.train) + len(sources.validation) == 5


def test_unchanged_contents_are_reused_and_changed_ones_prepared_anew(tmp_path):
    folder = _write(tmp_path / "in", _people(4))
    key = _load(tmp_path, folder).key
    file = folder / "person 0" / "1.PNG"
    os.utime(file, (0, 0))
    assert _load(tmp_path, folder).key == key
    assert _prepared(tmp_path) == 1

    data = bytearray(file.read_bytes())
    data[-1] ^= 1  # in the check sum at the end
    file.write_bytes(data)
    changed = _load(tmp_path, folder).key
    assert changed != key

    file.rename(file.with_name("2.png"))
    assert _load(tmp_path, folder).key not in (key, changed)
    assert _prepared(tmp_path) == 3


def test_a_changed_member_of_a_zip_prepares_anew(tmp_path):
    files = _people(4)
    key = _load(tmp_path, _zip(tmp_path / "in.zip", files)).key
    assert _load(tmp_path, _zip(tmp_path / "other name.zip", files)).key == key
    files["person 0/1.PNG"] = _image(12345)
    assert _load(tmp_path, _zip(tmp_path / "in.zip", files)).key != key


def test_preparing_again_decodes_nothing(tmp_path, monkeypatch):
    folder = _write(tmp_path / "in", _people(4))
    _load(tmp_path, folder)

    def fail(_):
        raise AssertionError("decoded again")

    monkeypatch.setattr(manifest, "as_stored", fail)
    assert len(_load(tmp_path, folder).train) == 6


@pytest.mark.parametrize("damage", ["cut", "delete", "no info"])
def test_damaged_prepared_data_are_prepared_anew(tmp_path, damage):
    folder = _write(tmp_path / "in", _people(4))
    prepared = tmp_path / "cache" / _load(tmp_path, folder).key
    (file,) = prepared.glob("*train*")
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-70_000])
    elif damage == "delete":
        file.unlink()
    else:
        (prepared / "dataset_info.json").unlink()
    sources = _load(tmp_path, folder)
    assert len(_images(sources.train)) == 6


_SLOW_PREPARATION = """
import sys, time
from colorjax.data import image_folder, pipeline
slow = image_folder.ImageFolder._generate_examples
def generate(self, files):
    for example in slow(self, files):
        yield example
        print("one", flush=True, file=sys.stderr)
        time.sleep(60)
image_folder.ImageFolder._generate_examples = generate
pipeline.load_sources("image_folder", path=sys.argv[1], cache_dir=sys.argv[2])
"""


def test_a_killed_preparation_leaves_nothing_that_is_reused(tmp_path):
    folder, cache = _write(tmp_path / "in", _people(4)), tmp_path / "cache"
    command = [sys.executable, "-c", _SLOW_PREPARATION, str(folder), str(cache)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any(line.startswith("one") for line in process.stderr)
        process.send_signal(signal.SIGKILL)
    assert list(cache.rglob("*incomplete*"))
    assert _prepared(tmp_path) == 0

    sources = _load(tmp_path, folder)
    assert len(sources.train) + len(sources.validation) == 8
    assert not list(cache.rglob("*incomplete*"))


def test_two_processes_prepare_once(tmp_path):
    folder, cache = _write(tmp_path / "in", _people(30)), tmp_path / "cache"
    script = """
import sys
from colorjax.data import pipeline
sources = pipeline.load_sources("image_folder", path=sys.argv[1], cache_dir=sys.argv[2])
print(len(sources.train), len(sources.validation))
"""
    command = [sys.executable, "-c", script, str(folder), str(cache)]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [out for out, _ in outputs] == ["54 6\n", "54 6\n"]
    assert sum("Checking images" in err for _, err in outputs) == 1


def _refused(tmp_path, message, *paths, **kwargs):
    with pytest.raises(InputError, match=message) as error:
        _load(tmp_path, *paths, **kwargs)
    assert "\n" not in str(error.value)
    assert _prepared(tmp_path) == 0


def test_no_path_is_refused(tmp_path):
    _refused(tmp_path, r"set config\.dataset\.path")


def test_a_path_that_is_not_there_is_refused(tmp_path):
    folder = _write(tmp_path / "in", _people(2))
    _refused(tmp_path, "nowhere does not exist", folder, tmp_path / "nowhere")
    _refused(tmp_path, "nowhere does not exist", folder, validation=[tmp_path / "nowhere"])


def test_an_empty_folder_or_zip_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    _refused(tmp_path, "empty holds no image", tmp_path / "empty")
    _refused(tmp_path, r"empty\.zip holds no image", _zip(tmp_path / "empty.zip", {}))
    _refused(tmp_path, "holds no image", _zip(tmp_path / "text.zip", {"readme.txt": b"text"}))


def test_no_readable_image_is_refused(tmp_path):
    broken = _write(tmp_path / "broken", {"a/0.png": b"no", "b/0.jpg": b"no"})
    _refused(tmp_path, "no image in .*broken can be read", broken)
    good = _write(tmp_path / "in", _people(2))
    _refused(tmp_path, "no image in .*broken can be read", good, validation=[broken])
    _refused(tmp_path, "no image in .*broken can be read", broken, validation=[good])


@pytest.mark.parametrize("name", ["text.txt", "face.png"])
def test_a_file_that_is_no_zip_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(_image(0))
    _refused(tmp_path, "neither a folder nor a zip", tmp_path / name)


def test_a_broken_zip_is_refused(tmp_path):
    path = _zip(tmp_path / "in.zip", _people(4))
    data = path.read_bytes()
    for broken in (data[: len(data) // 2], data[-200:], b"", data[:-40] + b"\0" * 40):
        path.write_bytes(broken)
        _refused(tmp_path, r"in\.zip is a corrupt zip", path)
    unnamed = tmp_path / "in"
    unnamed.write_bytes(data[: len(data) // 2])
    _refused(tmp_path, "in is a corrupt zip", unnamed)


def test_one_person_cannot_be_split(tmp_path):
    _refused(tmp_path, "one person, 'person 0'", _write(tmp_path / "in", _people(1, images=3)))
    _refused(tmp_path, "one person", _write(tmp_path / "one", {"0.png": _image(0)}))
    # The second person has no readable image.
    files = _people(1) | {"person 1/0.png": b"no"}
    _refused(tmp_path, "one person", _write(tmp_path / "two", files))


@pytest.mark.parametrize(
    "name", ["../climbs.png", "a/../../climbs.png", "/absolute.png", "..\\climbs.png", "C:\\a.png"]
)
def test_a_member_whose_name_leads_out_of_the_zip_is_refused_by_name(tmp_path, name):
    path = _zip(tmp_path / "in.zip", _people(2) | {name: _image(0)})
    with pytest.raises(InputError, match="points outside the zip") as error:
        _load(tmp_path, path)
    assert repr(name) in str(error.value)


def test_a_cache_that_cannot_be_written_is_refused(tmp_path):
    folder = _write(tmp_path / "in", _people(2))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot write prepared data") as error:
        pipeline.load_sources("image_folder", path=str(folder), cache_dir=tmp_path / "file")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["bomb/0.png", "bomb.txt"])
def test_a_decompression_bomb_is_refused_by_name(tmp_path, monkeypatch, name):
    monkeypatch.setattr(folders, "BOMB_BYTES", 100_000)
    files = _people(2) | {name: bytes(200_000)}
    _refused(
        tmp_path,
        rf"in\.zip holds a decompression bomb: '{name}' unpacks from \d+ bytes to 200000",
        _zip(tmp_path / "in.zip", files, zipfile.ZIP_DEFLATED),
    )
    _load(tmp_path, _zip(tmp_path / "stored.zip", files))  # it takes up what it holds


def test_many_members_that_share_few_bytes_are_refused(tmp_path, monkeypatch):
    """Members that overlap in the zip, each small enough by itself."""
    path = _zip(tmp_path / "in.zip", {f"{i}/0.png": bytes(90_000) for i in range(40)})
    data = path.read_bytes()
    directory = data.index(b"PK\1\2")
    first_end = data.index(b"PK\3\4", 4)
    end = data.rindex(b"PK\5\6")
    # The whole directory, but the contents of the first member alone.
    tail = bytearray(data[end:])
    struct.pack_into("<I", tail, 16, first_end)
    path.write_bytes(data[:first_end] + data[directory:end] + tail)
    monkeypatch.setattr(folders, "BOMB_BYTES", 1_000_000)
    monkeypatch.setattr(folders, "BOMB_RATIO", 20)
    _refused(tmp_path, "decompression bomb: it unpacks from", path)


def test_a_link_in_a_zip_is_refused_by_name(tmp_path):
    path = _zip(tmp_path / "in.zip", _people(2))
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("person 0/link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    _refused(tmp_path, r"in\.zip holds a link, 'person 0/link\.png'", path)


def test_grey_pictures_are_left_out_and_counted_unless_they_are_wanted(tmp_path, capfd):
    grey = np.random.default_rng(5).integers(0, 256, (16, 16, 1), dtype=np.uint8).repeat(3, 2)
    tinted = np.clip(grey * 0.99 + [1, 0, 2], 0, 255).astype(np.uint8)
    spot = grey.copy()
    spot[:, :2] = (200, 30, 30)  # an eighth of the picture is in colour
    pictures = {"grey": grey, "near grey": tinted, "a spot of colour": spot}
    files = _people(4) | {f"{name}/0.png": _encoded(rgb) for name, rgb in pictures.items()}
    folder = _write(tmp_path / "in", files)
    sources = _load(tmp_path, folder, min_chroma=5.0)
    assert len(sources.train) + len(sources.validation) == 9
    assert {"grey", "near grey"}.isdisjoint(
        _subjects(sources.train) | _subjects(sources.validation)
    )
    assert "Of 11 images, 9 used, 2 grey and left out" in capfd.readouterr().err
    kept = _load(tmp_path, folder, min_chroma=0.0)
    assert len(kept.train) + len(kept.validation) == 11
    assert kept.key != sources.key


def test_only_grey_pictures_are_refused(tmp_path):
    files = {f"{i}/0.png": _encoded(np.full((8, 8, 3), 40 * i, np.uint8)) for i in range(3)}
    folder = _write(tmp_path / "in", files)
    _refused(tmp_path, "no image in .* has colours to learn from", folder, min_chroma=5.0)


def test_a_picture_that_is_there_twice_is_used_once_and_stays_in_validation(tmp_path, capfd):
    train, validation = _people(3), _people(1, start=50)
    twice = {
        "person 0/again.png": train["person 0/1.PNG"],
        "x/y.png": validation["person 50/1.PNG"],
    }
    sources = _load(
        tmp_path,
        _write(tmp_path / "in", train | twice),
        validation=[_write(tmp_path / "validation", validation)],
    )
    assert _images(sources.train) == set(train.values())
    assert len(sources.train) == 6
    assert _images(sources.validation) == set(validation.values())
    assert "Of 10 images, 8 used, 2 duplicate." in capfd.readouterr().err


def test_an_unchanged_folder_is_not_read_again(tmp_path, monkeypatch):
    folder = _write(tmp_path / "in", _people(4))
    monkeypatch.setattr(builder, "SETTLED_SECONDS", -1)  # as if it had lain there for long
    key = _load(tmp_path, folder).key

    def fail(*_):
        raise AssertionError("read again")

    with monkeypatch.context() as patch:
        patch.setattr(builder.Folder, "digest", fail)
        assert _load(tmp_path, folder).key == key
    (folder / "person 0" / "1.PNG").write_bytes(_image(999))
    assert _load(tmp_path, folder).key != key


def test_what_has_just_been_written_is_read_again(tmp_path):
    """Within the grain of a file system's clock a second change shows in no time stamp."""
    _load(tmp_path, _write(tmp_path / "in", _people(4)))
    assert not list(tmp_path.rglob("known/*"))


def test_what_was_prepared_from_a_folder_outlives_it(tmp_path):
    """Nothing is read from the given paths once the data are open."""
    folder = _write(tmp_path / "in", _people(4))
    sources = _load(tmp_path, folder)
    shutil.rmtree(folder)
    assert len(_images(sources.train)) == 6


def test_opening_prepared_data_takes_less_than_half_a_second(tmp_path):
    folder = _write(tmp_path / "in", _people(50))
    _load(tmp_path, folder)
    durations = []
    for _ in range(3):
        start = time.perf_counter()
        _load(tmp_path, folder)
        durations.append(time.perf_counter() - start)
    assert min(durations) < 0.5


def test_a_file_that_vanishes_while_it_is_prepared_is_named(tmp_path, monkeypatch):
    folder = _write(tmp_path / "in", _people(4))
    account = manifest.Manifest.account

    def vanish(manifest):
        (folder / "person 0" / "1.PNG").unlink(missing_ok=True)
        return account(manifest)

    monkeypatch.setattr(manifest.Manifest, "account", vanish)
    _refused(tmp_path, r"person 0/1\.PNG in .*in has changed while it was prepared", folder)


def test_the_command_prepares_what_training_will_read(tmp_path, capsys):
    folder, data_dir = _write(tmp_path / "in", _people(10)), tmp_path / "cache"
    cli.run(["prepare", "image_folder", "--path", str(folder), "--data_dir", str(data_dir)])
    assert "image_folder is ready in" in capsys.readouterr().out
    assert _prepared(tmp_path) == 1
    _load(tmp_path, folder, min_chroma=get("image_folder").dataset.min_chroma)
    assert _prepared(tmp_path) == 1
