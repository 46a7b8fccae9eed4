"""The API, over loopback, with a tiny model."""

import base64
import io
import json
import socket
import tempfile
import threading
import zipfile
from urllib.parse import unquote

import cv2
import numpy as np
import pytest
import requests
import served
import tifffile
from PIL import Image
from skimage import color, data

from colorjax import cli
from colorjax.serve.limits import Limits

BLUE = "#2040ff"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with served.served(tmp_path_factory.mktemp("model")) as client:
        yield client


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Of a model without hints and distribution."""
    folder = tmp_path_factory.mktemp("plain")
    with served.served(folder, distribution=0.0, hints=0.0) as client:
        yield client


def grey(width=48, height=40):
    """[height, width] uint8: upside down, so that no face is found."""
    photo = cv2.resize(data.astronaut()[300::-1, 100:350], (width, height))
    return cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)


def encoded(image, format="PNG", **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def png(*size):
    return encoded(Image.fromarray(grey(*size)))


def turned_jpeg():
    """Lies on its side, and has EXIF, a profile and a comment."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    return encoded(Image.fromarray(grey()), "JPEG", exif=exif, comment=b"hello", dpi=(300, 300))


def deep_tiff():
    """Two pages of 16 bits."""
    file = io.BytesIO()
    pages = np.stack([grey(), grey()[::-1]]).astype(np.uint16) * 257
    tifffile.imwrite(file, pages, photometric="minisblack", compression="deflate")
    return file.getvalue()


def transparent_webp():
    image = Image.fromarray(grey()).convert("RGBA")
    image.putalpha(Image.fromarray(grey()))
    return encoded(image, "WEBP", lossless=True)


PHOTOS = {
    "a.jpg": turned_jpeg,
    "b.TIF": deep_tiff,
    "c.webp": transparent_webp,
    "d.png": lambda: encoded(Image.fromarray(grey().astype(np.uint16) * 257)),
    "a PNG.jpeg": png,
    "no ending": png,
}


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


def lab_of(jpeg):
    with Image.open(io.BytesIO(jpeg)) as image:
        return color.rgb2lab(np.asarray(image.convert("RGB")) / 255)


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
    assert change[360:390, 497:527].mean() > 2 * change.mean()


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


def test_what_a_model_cannot_do_is_refused(plain):
    path = plain.open(png())
    for kind, body in (
        ("preview", {"hints": [[1, 2, BLUE]]}),
        ("preview", {"temperature": 0.5}),
        ("file", {"candidate": 1}),
        ("candidates", {}),
        ("uncertainty", {}),
        ("suggest", {"x": 1, "y": 2}),
    ):
        answer = plain.post(f"{path}/{kind}", body)
        assert answer.status_code == 409, (kind, body)
        assert "this model" in answer.json()["error"]
    assert plain.send("/api/colorize", png(), hints=[[1, 2, BLUE]]).status_code == 409
    assert plain.post(f"{path}/preview", {"temperature": 0}).status_code == 200


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"saturation": 11}, "saturation=11 is not a number in [0, 10]"),
        ({"saturation": "x"}, "not JSON"),
        ({"saturation": "NaN"}, "saturation=nan"),
        ({"temperature": 0.01}, "temperature=0.01 is not 0 or in"),
        ({"candidate": 16}, "candidate=16"),
        ({"candidate": 0.5}, "not an integer"),
        ({"hints": [[48, 0, BLUE]]}, "outside the upright picture of 48×40"),
        ({"hints": [[1, 2]]}, "a hint is"),
        ({"hints": "{"}, "not JSON"),
        ({"hints": {"x": 1}}, "hints are a list"),
        ({"Saturation": 1}, "there is no field 'Saturation'"),
        ({"model": "/etc/passwd"}, "there is no model '/etc/passwd'; choose"),
    ],
)
def test_wrong_fields_are_named(client, fields, words):
    answer = client.send("/api/colorize", png(), **fields)
    assert answer.status_code == (404 if "model" in fields else 400)
    assert words in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "send a JSON object"),
        ({"hint": []}, "a look has no 'hint'"),
        ({"hints": [[0, 48, BLUE]]}, "outside the upright picture"),
        ({"saturation": True}, "saturation=True"),
        ({"saturation": None}, "saturation=None"),
    ],
)
def test_wrong_looks_are_named(client, body, words):
    path = client.open(png())
    for kind in ("preview", "file", "uncertainty"):
        answer = client.post(f"{path}/{kind}", body)
        assert answer.status_code == 400
        assert words in answer.json()["error"]


def test_a_broken_file_is_named_and_the_next_one_is_coloured(client):
    for contents, words in (
        (b"no image", "the photograph is not an image"),
        (turned_jpeg()[:300], "the photograph is corrupt or truncated"),
        (b"", "the file is empty"),
    ):
        for path in ("/api/colorize", "/api/pictures"):
            answer = client.send(path, contents)
            assert answer.status_code in (400, 422)
            assert answer.json()["error"].startswith(words)
            assert "\n" not in answer.json()["error"]
    assert client.send("/api/colorize", png()).status_code == 200


def test_what_is_no_form_or_no_json_is_refused(client):
    path = client.open(png())
    url = client.url
    for answer, status in (
        (requests.post(f"{url}/api/colorize", data=b"x", timeout=60), 400),
        (requests.post(f"{url}/api/colorize", data={"file": "text"}, timeout=60), 400),
        (requests.post(f"{url}/api/colorize", files={"photo": b"x"}, timeout=60), 400),
        (requests.post(f"{url}{path}/preview", data=b"{", timeout=60), 400),
        (requests.post(f"{url}{path}/preview", files={"file": b"x"}, timeout=60), 415),
        (requests.post(f"{url}{path}/preview", data=b"[" * 99999, timeout=60), 400),
        (requests.get(f"{url}/api/nothing", timeout=60), 404),
        (requests.get(f"{url}/static/..%2f..%2fetc%2fpasswd", timeout=60), 404),
        (requests.get(f"{url}/static/nothing.js", timeout=60), 404),
        (requests.get(f"{url}/api/colorize", timeout=60), 405),
        (requests.post(f"{url}/api/zip", json={"pictures": [{"id": "x"}]}, timeout=60), 404),
        (requests.post(f"{url}/api/zip", json={"pictures": []}, timeout=60), 400),
    ):
        assert answer.status_code == status, answer.url
        assert list(answer.json()) == ["error"]


def test_the_page_and_its_policy(client):
    page = client.get("/")
    assert page.content == served.ASSETS["index.html"]
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    script = client.get("/static/app.js")
    assert script.headers["Content-Type"].startswith("text/javascript")
    assert client.get("/api/models").headers["Cache-Control"] == "no-store"


def test_requests_of_other_pages_and_of_other_names_are_refused(client):
    own = client.url.removeprefix("http://")
    port = own.partition(":")[2]
    for headers, status in (
        ({"Host": f"localhost:{port}"}, 200),
        ({"Origin": client.url}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": f"evil.example:{port}"}, 403),
        ({"Host": f"127.0.0.1.evil.example:{port}"}, 403),
        ({"Host": "127.0.0.1"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": f"http://localhost:{port}"}, 403),
        ({"Origin": "null"}, 403),
    ):
        assert client.get("/api/models", headers=headers).status_code == status, headers
    assert client.raw(b"GET / HTTP/1.1\r\nHost: a\r\nHost: " + own.encode() + b"\r\n\r\n") in (
        400,
        403,
    )
    assert client.raw(b"GET / HTTP/1.0\r\n\r\n") == 403


def test_two_users_have_their_own_pictures(client):
    """At once, and with hints of their own."""
    users = {}

    def use(name, size, hint):
        path = client.open(png(*size), f"{name}.png")
        for _ in range(3):
            users.setdefault(name, []).append(client.post(f"{path}/preview", {"hints": [hint]}))

    threads = [
        threading.Thread(target=use, args=arguments)
        for arguments in (("a", (48, 40), [5, 5, BLUE]), ("b", (40, 56), [5, 5, "#ff3010"]))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, shape in (("a", (40, 48, 3)), ("b", (56, 40, 3))):
        assert len({answer.content for answer in users[name]}) == 1
        assert lab_of(users[name][0].content).shape == shape


def test_uploads_are_limited_before_they_are_decoded(tmp_path):
    limits = Limits(bytes=20_000, pixels=10_000, json_bytes=1000)
    with served.served(tmp_path, limits) as client:
        large = client.send("/api/colorize", bytes(2_000_000))
        assert large.status_code == 413
        many = client.send("/api/colorize", png(200, 100))
        assert many.status_code == 422
        assert "at most 0 million are read" in many.json()["error"]
        path = client.open(png())
        assert client.post(f"{path}/preview", {"hints": [[1, 1, BLUE]] * 100}).status_code == 413
        head = (
            f"POST /api/colorize HTTP/1.1\r\nHost: {client.url[7:]}\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
        part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        first = f"{len(part):x}\r\n".encode() + part + b"\r\n"
        assert client.raw(head.encode(), first + 20 * chunk) == 413
        assert client.service.store.num_bytes < 20_000


def test_a_full_memory_is_said(tmp_path):
    with served.served(tmp_path, Limits(pictures=2)) as client:
        paths = [client.open(png()) for _ in range(2)]
        answer = client.send("/api/pictures", png())
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
        client.delete(paths[0])
        client.open(png())


def test_the_queue_tells_places_and_refuses_what_is_too_much(tmp_path):
    with served.served(tmp_path, Limits(waiting=2)) as client:
        path = client.open(png())
        holding, release = threading.Event(), threading.Event()

        def hold(colorizer):
            holding.set()
            assert release.wait(60)
            return b""

        picture = client.service.store.get(path.rpartition("/")[2])
        picture.grey = hold
        threads = []

        def ask(kind, ticket):
            thread = threading.Thread(
                target=lambda: (
                    client.get(f"{path}/grey?ticket={ticket}")
                    if kind == "grey"
                    else client.post(f"{path}/preview?ticket={ticket}", {})
                )
            )
            thread.start()
            threads.append(thread)

        ask("grey", "first")
        assert holding.wait(60)
        with client.get("/api/queue?ids=first,second,third", stream=True) as events:
            states = (
                json.loads(line.removeprefix(b"data: "))
                for line in events.iter_lines()
                if line.startswith(b"data: ")
            )
            assert next(states)["running"] == 1
            for number, ticket in enumerate(("second", "third"), 1):
                ask("preview", ticket)
                state = next(state for state in states if state["waiting"] == number)
            assert state == {
                "waiting": 2, "running": 1, "places": {"first": 0, "second": 1, "third": 2},
            }  # fmt: skip
            refused = client.post(f"{path}/preview", {})
            assert refused.status_code == 503
            assert 1 <= int(refused.headers["Retry-After"]) <= 60
            assert client.send("/api/colorize", png()).status_code == 503
            release.set()
            assert next(state for state in states if not state["waiting"])["running"] <= 1
        for thread in threads:
            thread.join()


def test_a_client_that_leaves_gives_up_its_place(tmp_path):
    with served.served(tmp_path) as client:
        path = client.open(png())
        release = threading.Event()
        picture = client.service.store.get(path.rpartition("/")[2])
        picture.grey = lambda colorizer: release.wait(60) and b""
        seen = []
        picture.coloured = lambda look, colorizer: seen.append(look) or b""
        thread = threading.Thread(target=lambda: client.get(f"{path}/grey"))
        thread.start()
        own = client.url.removeprefix("http://")
        head = f"POST {path}/preview?ticket=x HTTP/1.1\r\nHost: {own}\r\nContent-Length: 0\r\n\r\n"
        with client.get("/api/queue?ids=x", stream=True) as events:
            lines = (line for line in events.iter_lines() if line)
            next(lines)
            host, port = own.split(":")
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(head.encode())
                assert any(b'"places": {"x": 1}' in line for line in lines)
            assert any(b'"waiting": 0' in line for line in lines)
        release.set()
        thread.join()
        assert client.get("/api/models").status_code == 200
        assert not seen


def test_nothing_of_a_photograph_is_left_on_the_disk(tmp_path, monkeypatch):
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with served.served(tmp_path) as client:
        path = client.open(png(1200, 900))
        assert client.post(f"{path}/preview", {}).ok
        assert client.post(f"{path}/file", {}).ok
        assert client.send("/api/colorize", png(), candidate=1).ok
        assert client.send("/api/colorize", b"no image").status_code == 422
        (folder,) = place.iterdir()  # that of the reader
        assert not list(folder.iterdir())
        assert folder.stat().st_mode & 0o077 == 0
    assert not list(place.iterdir())
