import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import support
from random_models import IMAGE_SIZE, random_run

from colorjax import cli
from colorjax.export import web_runtime
from colorjax.export.site import check_site, terms, title, write_site
from colorjax.runs.weights import export_weights
from colorjax.terminal.errors import InputError

CARD = "# faces: colours faces\n\n- input\n\n**Use**: for `research`\nonly.\n\nMore.\n"
RUNTIME = {"ort.wasm.min.mjs": b"export {};"}


def written(folder):
    write_site(folder, b"onnx", RUNTIME, "faces", 128, CARD)
    return folder


def test_a_site_has_the_model_and_every_file_that_its_files_name(tmp_path):
    folder = written(tmp_path / "new/site")
    static = folder / "static"
    assert (static / "model.onnx").read_bytes() == b"onnx"
    model = json.loads((static / "model.json").read_text())
    assert model["image_size"] == 128
    assert (model["title"], model["terms"]) == ("faces: colours faces", "for research only.")
    page = (folder / "index.html").read_text()
    named = re.findall(r'(?:src|href)="static/([^"#]+)', page)
    for script in static.glob("*.js"):
        named += re.findall(r'(?:from |URL\()"\./([^"]+)"', script.read_text())
    assert {"app.js", "style.css", "worker.js", "model.onnx", "ort.wasm.min.mjs"} <= set(named)
    assert [name for name in named if not (static / name).is_file()] == []


def test_every_icon_that_a_page_uses_is_there(tmp_path):
    folder = written(tmp_path / "site")
    texts = [file.read_text() for file in (folder / "index.html", *folder.rglob("*.js"))]
    used = {icon for text in texts for icon in re.findall(r"icons\.svg#([a-z]+)", text)}
    drawn = set(re.findall(r'id="([a-z]+)"', (folder / "static/icons.svg").read_text()))
    assert used == drawn


def test_no_file_names_another_host_or_has_code_or_styles_inline(tmp_path):
    """Except for what is no request: the name of SVG, licences."""
    folder = written(tmp_path / "site")
    for file in (folder / "index.html", *folder.rglob("*.js"), *folder.rglob("*.css")):
        hosts = re.findall(r"https?://[^\s\"']+", file.read_text())
        assert set(hosts) <= {"http://www.w3.org/2000/svg"}, file
    page = (folder / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]+src=)", page)


def test_a_folder_that_is_not_empty_is_refused_and_an_empty_one_is_filled(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter.txt").write_text("dear")
    with pytest.raises(InputError, match="full is not empty"):
        check_site(tmp_path / "full")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        check_site(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    check_site(tmp_path / "empty")
    assert (written(tmp_path / "empty") / "index.html").is_file()


def test_a_link_to_an_empty_folder_stays_and_the_folder_is_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    check_site(tmp_path / "link")
    written(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "empty/index.html").is_file()


def test_folders_that_cannot_be_replaced_are_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^\. is the current folder; give --output a new one"):
        check_site(Path("."))
    (tmp_path / "in/empty").mkdir(parents=True)
    # The tests may run as root, who may do everything.
    with monkeypatch.context() as patch:
        patch.setattr("os.access", lambda path, mode: path != tmp_path / "in")
        with pytest.raises(InputError, match=r"cannot write to .*in; choose another --output"):
            check_site(tmp_path / "in/empty")

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(InputError, match=r"cannot read .*empty .*give --output a new folder"):
        check_site(tmp_path / "in/empty")


def test_a_site_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        write_site(tmp_path / "site", b"", {"no/folder": b""}, "faces", 128, CARD)
    assert list(tmp_path.iterdir()) == []


def test_titles_and_terms_of_cards_without_them_are_empty():
    assert (title(""), terms("")) == ("", "")
    assert terms("# faces\n\nMore.\n") == ""


def test_the_command_writes_a_site_with_the_model_in_half_precision(tmp_path, monkeypatch, capsys):
    onnx = pytest.importorskip("onnx", reason="the extra `onnx` is not installed")
    pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name in web_runtime.FILES:
            tar.addfile(tarfile.TarInfo(f"package/dist/{name}"))
    (tmp_path / "runtime.tgz").write_bytes(archive.getvalue())
    digest = hashlib.sha256(archive.getvalue()).hexdigest()
    monkeypatch.setattr(web_runtime, "SHA256", digest)
    weights = tmp_path / "random.safetensors"
    export_weights(random_run(), weights, CARD, "float32")
    flags = (
        "--format",
        "site",
        "--output",
        tmp_path / "site",
        "--runtime",
        tmp_path / "runtime.tgz",
    )
    with support.quick_compilation():
        assert cli.main(["export", str(weights), *map(str, flags)]) == 0
    assert re.search(r"site: 0\.\d MiB, step 7 of .*at most", capsys.readouterr().out)
    static = tmp_path / "site/static"
    model = json.loads((static / "model.json").read_text())
    assert (model["name"], model["image_size"]) == ("random", IMAGE_SIZE)
    kernels = onnx.load(static / "model.onnx").graph.initializer
    assert onnx.TensorProto.FLOAT16 in {kernel.data_type for kernel in kernels}
    assert {path.name for path in (tmp_path / "site").iterdir()} == {"index.html", "static"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--format", "site", "--output", "full"), "full is not empty"),
        (("--format", "site", "--output", "site.onnx"), "contradicts"),
        (("--format", "site", "--output", "new", "--runtime", "none.tgz"), "cannot be read"),
        (("--output", "faces.onnx", "--runtime", "none.tgz"), "--runtime is for --format site"),
    ],
)
def test_wrong_input_is_answered_in_a_line_before_jax_is_imported(tmp_path, arguments, words):
    pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter.txt").write_text("dear")
    code = (
        "import sys; from colorjax import cli; status = cli.main(sys.argv[1:]);"
        "assert 'jax' not in sys.modules; sys.exit(status)"
    )
    command = [sys.executable, "-c", code, "export", "faces", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
