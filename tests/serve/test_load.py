"""Many requests, large ones, and ones that are not what they seem."""

import gc
import io
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fuzz
import numpy as np
import psutil
import pytest
import served
from PIL import Image

from colorjax.benchmark import measuring
from colorjax.serve.limits import Limits

pytestmark = pytest.mark.slow


def png(seed, width=48, height=40):
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 255, (height, width), np.uint8))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def asked_until_there_is_room(client, contents):
    """The answer, and how often there was no room."""
    refused = 0
    while (answer := client.send("/api/colorize", contents)).status_code == 503:
        assert int(answer.headers["Retry-After"]) >= 1
        refused += 1
        time.sleep(0.05)
    return answer, refused


def test_fifty_clients_at_once_get_their_pictures(tmp_path):
    with served.served(tmp_path, Limits(waiting=8)) as client:
        contents = [png(seed) for seed in range(50)]
        expected = [client.send("/api/colorize", one).content for one in contents]
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda one: asked_until_there_is_room(client, one), contents))
    assert [answer.content for answer, _ in answers] == expected
    assert len(set(expected)) == 50
    assert sum(refused for _, refused in answers) > 0


def test_the_memory_is_flat_over_a_thousand_requests(tmp_path):
    def use(client, count):
        """Opened, looked at with changing temperatures and hints, coloured; not all forgotten."""
        for index in range(count):
            contents = png(index)
            if index % 2:
                assert client.send("/api/colorize", contents, temperature=0.3 + index / 1e4).ok
                continue
            path = client.open(contents)
            hints = [[index % 48, index % 40, f"#{index % 256:02x}80ff"]]
            assert client.post(f"{path}/preview", {"hints": hints, "temperature": 0.5}).ok
            assert client.post(f"{path}/suggest", {"x": 3, "y": 4}).ok
            if index % 4:
                client.delete(path)

    with served.served(tmp_path, Limits(pictures=20)) as client:
        clock = iter(range(10**9))
        client.service.store._clock = lambda: 100 * next(clock)  # all may make room
        use(client, 200)
        before = _memory()
        use(client, 1000)
        assert _memory() - before < 30e6


def _memory():
    gc.collect()
    return psutil.Process().memory_info().rss


def test_mutated_uploads_are_answered_or_named(tmp_path):
    cases = [fuzz.case(seed) for seed in range(50_000, 50_500)]
    rng = random.Random(0)
    with served.served(tmp_path) as client:
        statuses = []
        for case in cases:
            path = rng.choice(["/api/colorize", "/api/pictures"])
            answer = client.send(path, case.data or b"\0", case.name)
            statuses.append(answer.status_code)
            if not answer.ok:
                assert answer.status_code == 422, answer.text
                assert answer.json()["error"].startswith("the photograph ")
        mangled = 0
        for _ in range(100):  # the form itself
            boundary = b"b"
            body = bytearray(
                b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
                + png(0)
                + b"\r\n--b--\r\n"
            )
            for _ in range(rng.randint(1, 8)):
                body[rng.randrange(200)] = rng.randrange(256)
            head = (
                b"POST /api/colorize HTTP/1.1\r\nHost: " + client.url[7:].encode() + b"\r\n"
                b"Content-Type: multipart/form-data; boundary=" + boundary + b"\r\n"
                b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n"
            )
            status = client.raw(head, bytes(body))
            assert status in (200, 400, 422)
            mangled += status != 200
        assert mangled > 10
        assert client.send("/api/colorize", png(0)).ok
    assert min(statuses.count(status) for status in (200, 201, 422)) > 20


@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are Linux's")
def test_a_hundred_megapixels(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    image = Image.fromarray(np.tile(np.arange(250, dtype=np.uint8), (10_000, 40)))
    file = io.BytesIO()
    image.save(file, "JPEG")
    with served.served(tmp_path, Limits(decode_seconds=300, seconds=600)) as client:
        path = client.open(file.getvalue(), "a.jpg")
        assert client.post(f"{path}/preview", {}).ok
        Path("/proc/self/clear_refs").write_text("5")  # the peak is from here on
        before = psutil.Process().memory_info().rss
        answer = client.post(f"{path}/file", {})
        peak = measuring.peak_mib() * 2**20
    assert answer.ok, answer.text
    with Image.open(io.BytesIO(answer.content)) as coloured:
        assert coloured.size == (10_000, 10_000)
    assert peak - before < 1e9
