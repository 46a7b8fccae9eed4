"""What the API answers, over loopback, with a tiny model."""

import base64
import errno
import io
import json
import zipfile
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import served
from PIL import Image
from uploads import BLUE, PHOTOS, lab_of, png, turned_jpeg

from colorjax import cli
from colorjax.serve import photos
from colorjax.serve.limits import Limits


def command(client, folder, contents, name, *flags):
    """The file that `colorjax colorize` writes."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(contents)
    output = folder / "out"
    arguments = [folder / name, "--output", output, "--model", client.model, "--overwrite", *flags]
    assert cli.main(["colorize", *map(str, arguments)]) == 0
    numbered = sorted(output.glob("*_[0-9]*"))
    return numbered[-1].read_bytes() if numbered else (output / name).read_bytes()


def hints_file(folder, hints):
    path = folder / "hints.json"
    path.write_text(json.dumps(hints))
    return path


@pytest.mark.parametrize("name", PHOTOS)
def test_the_answer_is_the_file_that_the_command_writes(client, tmp_path, name):
    contents = PHOTOS[name]()
    expected = command(client, tmp_path, contents, name)
    answer = client.send("/api/colorize", contents, name)
    assert answer.status_code == 200, answer.text
    assert answer.content == expected
    picture = client.open(contents, name)
    assert client.post(f"{picture}/file", {}).content == expected


@pytest.mark.parametrize(
    ("look", "flags"),
    [
        ({"saturation": 0.5}, ["--saturation", "0.5"]),
        ({"temperature": 0.4}, ["--temperature", "0.4"]),
        ({"temperature": 0.37, "candidate": 2}, ["--temperature", "0.37", "--candidates", "3"]),
        ({"hints": [[3, 4, BLUE], [30, 20.5, "#C08060"]]}, []),
        ({"hints": [[3, 4, BLUE]], "candidate": 1}, ["--candidates", "2"]),
    ],
)
def test_the_answer_follows_a_look_as_the_command_follows_its_flags(client, tmp_path, look, flags):
    if "hints" in look:
        flags = [*flags, "--hints", hints_file(tmp_path, look["hints"])]
    expected = command(client, tmp_path / "files", turned_jpeg(), "a.jpg", *flags)
    assert client.send("/api/colorize", turned_jpeg(), "a.jpg", **look).content == expected
    picture = client.open(turned_jpeg(), "a.jpg")
    assert client.post(f"{picture}/file", look).content == expected
    assert expected != client.post(f"{picture}/file", {}).content


def test_the_name_and_kind_of_the_answer(client):
    for given, name, kind in (
        ("été.jpg", "été_coloured.jpg", "image/jpeg"),
        ("../../etc/a.png", "a_coloured.png", "image/png"),
        ("C:\\x\\.b.png", "b_coloured.png", "image/png"),
        ("x<1>|;'%.png", "x1;'%_coloured.png", "image/png"),
        ("a.exe", "a_coloured.png", "image/png"),
    ):
        answer = client.send("/api/colorize", png(), given)
        disposition = answer.headers["Content-Disposition"]
        assert unquote(disposition.partition("filename*=UTF-8''")[2]) == name
        assert answer.headers["Content-Type"] == kind


def test_notes_are_headers(client):
    notes = json.loads(client.send("/api/colorize", png(), "a.png").headers["X-Notes"])
    assert any("no face found" in note for note in notes)


def test_a_picture_that_is_kept(client):
    answer = client.send("/api/pictures", turned_jpeg(), "a.jpg").json()
    values = {key: answer[key] for key in ("name", "width", "height", "preview_width")}
    assert values == {"name": "a.jpg", "width": 40, "height": 48, "preview_width": 40}
    path = f"/api/pictures/{answer['id']}"
    without = lab_of(client.get(f"{path}/grey").content)
    assert abs(without[..., 1:]).max() < 1.5
    preview = client.post(f"{path}/preview", {})
    assert preview.headers["Content-Type"] == "image/jpeg"
    assert float(preview.headers["X-Elapsed-Ms"]) >= 0
    full = lab_of(client.post(f"{path}/file", {}).content)
    difference = abs(lab_of(preview.content) - full)  # of two JPEGs
    assert difference.mean() < 3
    assert np.percentile(difference, 99) < 15
    assert client.delete(path).status_code == 204
    for gone in (
        client.delete(path),
        client.post(f"{path}/preview", {}),
        client.get(f"{path}/grey"),
    ):
        assert gone.status_code == 404
        assert "upload it again" in gone.json()["error"]


def test_a_large_picture_is_looked_at_in_a_small_size(client):
    answer = client.send("/api/pictures", png(1500, 1100)).json()
    assert (answer["width"], answer["height"]) == (1500, 1100)
    assert (answer["preview_width"], answer["preview_height"]) == (1024, 751)
    path = f"/api/pictures/{answer['id']}"
    assert lab_of(client.post(f"{path}/preview", {}).content).shape == (751, 1024, 3)
    hint = [[750, 550, BLUE]]  # in pixels of the large one
    before, after = (
        lab_of(client.post(f"{path}/preview", {"hints": hints}).content) for hints in ([], hint)
    )
    change = np.linalg.norm((after - before)[..., 1:], axis=-1)
    assert change[360:390, 497:527].mean() > 5
    assert change[:30, :30].mean() < 1


def test_saturation_alone_does_not_run_the_model_again(client, monkeypatch):
    path = client.open(png())
    client.post(f"{path}/preview", {})
    calls = []
    colorizer = client.service.models.colorizer(client.service.models.default)
    monkeypatch.setattr(type(colorizer), "coefficients", lambda *_, **__: calls.append(1))
    dull, bold = (
        lab_of(client.post(f"{path}/preview", {"saturation": x}).content) for x in (0.2, 1.0)
    )
    assert abs(dull[..., 1:]).mean() < 0.6 * abs(bold[..., 1:]).mean()
    assert not calls


def test_candidates_differ_and_the_first_is_the_answer(client):
    path = client.open(png())
    answer = client.post(f"{path}/candidates", {"count": 3}).json()
    found = [
        base64.b64decode(url.removeprefix("data:image/jpeg;base64,")) for url in answer["previews"]
    ]
    assert len(found) == 3
    for candidate, jpeg in enumerate(found):
        assert client.post(f"{path}/preview", {"candidate": candidate}).content == jpeg
    assert abs(lab_of(found[0]) - lab_of(found[1])).mean() > 0.5


def test_the_uncertainty_is_laid_over_the_preview(client):
    path = client.open(png(), "a.png")
    answer = client.post(f"{path}/uncertainty", {})
    assert answer.headers["Content-Type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as image:
        assert (image.mode, image.size) == ("RGBA", (48, 40))
        assert np.ptp(np.asarray(image)[..., 3]) > 10


def test_suggestions_for_a_file_and_for_a_picture_are_the_same(client):
    one = client.send("/api/suggest", png(), x=12, y=30, count=3).json()
    path = client.open(png())
    assert client.post(f"{path}/suggest", {"x": 12, "y": 30, "count": 3}).json() == one
    shares = [color["probability"] for color in one["colors"]]
    assert len(shares) == 3
    assert shares == sorted(shares, reverse=True)
    hinted = client.post(f"{path}/suggest", {"x": 12, "y": 30, "hints": [[12, 30, BLUE]]}).json()
    assert hinted["colors"][:3] != one["colors"]


def test_a_zip_holds_the_files_under_different_names(client):
    first, second = client.open(png(), "a.png"), client.open(turned_jpeg(), "a.jpg")
    chosen = [
        {"id": first.rpartition("/")[2]},
        {"id": first.rpartition("/")[2], "look": {"saturation": 0}},
        {"id": second.rpartition("/")[2]},
    ]
    answer = client.post("/api/zip", {"pictures": chosen})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a_coloured.png", "a_coloured_2.png", "a_coloured.jpg"]
        assert archive.read("a_coloured.png") == client.post(f"{first}/file", {}).content
        assert archive.read("a_coloured.jpg") == client.post(f"{second}/file", {}).content
    client.delete(first)
    answer = client.post("/api/zip", {"pictures": chosen})
    assert answer.status_code == 404
    assert set(answer.json()["gone"]) == {first.rpartition("/")[2]}


def test_an_unexpected_error_is_listed_in_a_zip_that_keeps_the_other_files(client, monkeypatch):
    paths = [client.open(png(), name) for name in ("a.png", "b.png", "c.png")]
    colour = photos.coloured

    def fail(data, name, *others):
        assert name != "b.png"
        return colour(data, name, *others)

    monkeypatch.setattr(photos, "coloured", fail)
    chosen = [{"id": path.rpartition("/")[2]} for path in paths]
    answer = client.post("/api/zip", {"pictures": chosen})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["a_coloured.png", "c_coloured.png", "not coloured.txt"]
        assert archive.read("not coloured.txt") == b"b.png: AssertionError, see the terminal\n"


def test_a_full_disk_is_said(client, monkeypatch):
    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    answer = client.send("/api/colorize", png())
    assert answer.status_code == 507
    assert answer.json()["error"] == "the photograph cannot be read (No space left on device)"


def test_models_and_what_they_can(client, plain):
    answer = client.get("/api/models").json()
    by_name = {model["name"]: model for model in answer["models"]}
    assert answer["default"] == "tiny"
    assert by_name["tiny"] == {
        "name": "tiny", "title": "tiny: a card", "terms": "", "hints": True, "distribution": True,
    }  # fmt: skip
    assert by_name["faces"]["terms"].startswith("non-commercial research. Its colours are guesses")
    assert answer["limits"]["bytes"] == Limits().bytes
    assert not plain.get("/api/models").json()["models"][-1]["hints"]


def test_the_page_and_its_policy(client):
    page = client.get("/")
    assert page.content == served.ASSETS["index.html"]
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    script = client.get("/static/app.js")
    assert script.headers["Content-Type"].startswith("text/javascript")
    assert client.get("/api/models").headers["Cache-Control"] == "no-store"
