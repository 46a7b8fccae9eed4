import hashlib
import io
import tarfile

import pytest

from colorjax.export import web_runtime
from colorjax.export.web_runtime import ARCHIVE, FILES, runtime_files
from colorjax.terminal.errors import InputError


def archive():
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for name in (*FILES, "ort.min.js"):
            info = tarfile.TarInfo(f"package/dist/{name}")
            info.size = len(name)
            tar.addfile(info, io.BytesIO(name.encode()))
    return data.getvalue()


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with an npm of ours, whose archive is the one that is expected."""
    data = archive()
    (tmp_path / "packed.tgz").write_bytes(data)
    monkeypatch.setattr(web_runtime, "SHA256", hashlib.sha256(data).hexdigest())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    npm(tmp_path, f'cp "{tmp_path}/packed.tgz" "$4/{ARCHIVE}"')
    return tmp_path


def npm(folder, command):
    file = folder / "npm"
    file.write_text(f'#!/bin/sh\necho "$@" >> "{folder}/asked"\n{command}\n')
    file.chmod(0o755)


def asked(folder):
    return (folder / "asked").read_text().splitlines() if (folder / "asked").exists() else []


def test_npm_is_asked_once_for_the_exact_version(machine):
    expected = {name: name.encode() for name in FILES}
    assert runtime_files() == expected
    assert runtime_files() == expected
    (line,) = asked(machine)
    assert line.startswith(f"pack onnxruntime-web@{web_runtime.VERSION} ")


def test_an_archive_is_taken_as_it_is_without_npm(machine):
    assert set(runtime_files(machine / "packed.tgz")) == set(FILES)
    assert not asked(machine)


def test_a_corrupt_copy_in_the_cache_is_fetched_again(machine):
    runtime_files()
    cached = machine / "cache/colorjax" / ARCHIVE
    cached.write_bytes(cached.read_bytes()[:-1])
    assert set(runtime_files()) == set(FILES)
    assert len(asked(machine)) == 2
    assert hashlib.sha256(cached.read_bytes()).hexdigest() == web_runtime.SHA256


def test_other_bytes_are_refused_wherever_they_come_from(machine):
    (machine / "other.tgz").write_bytes(b"other")
    with pytest.raises(InputError, match=r"other\.tgz is not onnxruntime-web-1.*npm pack"):
        runtime_files(machine / "other.tgz")
    with pytest.raises(InputError, match=r"missing\.tgz cannot be read"):
        runtime_files(machine / "missing.tgz")
    npm(machine, f'echo other > "$4/{ARCHIVE}"')
    with pytest.raises(InputError, match="what npm fetched is not"):
        runtime_files()
    assert not (machine / "cache/colorjax" / ARCHIVE).exists()


def test_without_npm_and_when_npm_fails_one_line_says_what_to_do(machine, monkeypatch):
    names = "npm error code ENOTFOUND\\nnpm error errno ENOTFOUND"
    for said, shown in (
        (f"{names}\\nnpm error network down", "down"),
        (names, "code ENOT.*"),
    ):
        npm(machine, f'printf "{said}\\n" >&2; exit 1')
        with pytest.raises(InputError, match=rf"npm cannot fetch.*{shown}\); give --r") as error:
            runtime_files()
        assert "\n" not in str(error.value)
    monkeypatch.setenv("PATH", str(machine / "nothing"))
    with pytest.raises(InputError, match=r"there is no npm.*give --runtime"):
        runtime_files()
