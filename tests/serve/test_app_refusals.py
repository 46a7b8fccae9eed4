"""What the API refuses, and how it says so."""

import pytest
import requests
import served
from uploads import BLUE, png, turned_jpeg

from colorjax.serve import forms
from colorjax.serve.limits import Limits


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


def test_wrong_places_are_named(client):
    path = client.open(png())
    for place, words in (
        ({"x": 1, "y": 2, "hint": []}, "a place has no 'hint'; it has x, y, count, hints"),
        ({"x": 48, "y": 2}, "(48, 2) is outside the picture of 48×40 pixels"),
        ({"x": 1}, "y=None is not a number"),
    ):
        answer = client.post(f"{path}/suggest", place)
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
        assert answer.json().keys() - {"gone"} == {"error"}


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


def test_uploads_are_limited_before_they_are_decoded(tmp_path, monkeypatch):
    limits = Limits(bytes=20_000, pixels=10_000, json_bytes=1000)
    with served.served(tmp_path, limits) as client:
        with monkeypatch.context() as patch:
            patch.setattr(forms, "DISCARDED_SECONDS", 60)  # machines may be slow
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
