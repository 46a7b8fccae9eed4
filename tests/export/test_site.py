import json
import re

import pytest

from colorjax.export.site import check_site, terms, title, write_site
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


def test_a_site_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        write_site(tmp_path / "site", b"", {"no/folder": b""}, "faces", 128, CARD)
    assert list(tmp_path.iterdir()) == []


def test_titles_and_terms_of_cards_without_them_are_empty():
    assert (title(""), terms("")) == ("", "")
    assert terms("# faces\n\nMore.\n") == ""
