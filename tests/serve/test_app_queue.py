"""Several clients at once, clients that leave, and what is left when all are gone."""

import socket
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

import served
from uploads import BLUE, png

from colorjax.serve.limits import Limits


def test_two_users_have_their_own_pictures(client):
    """At once, and with hints of their own: the answers are those of one after the other."""

    def use(size, color):
        path = client.open(png(*size))
        looks = [{"hints": [[5, y, color]], "saturation": 1 + y / 10} for y in range(4)]
        return [client.post(f"{path}/preview", look).content for look in looks]

    users = [((48, 40), BLUE), ((40, 56), "#ff3010")]
    with ThreadPoolExecutor(2) as pool:
        at_once = list(pool.map(use, *zip(*users, strict=True)))
    assert at_once == [use(*user) for user in users]
    assert len({jpeg for jpegs in at_once for jpeg in jpegs}) == 8


def held(client, path):
    """A kept picture whose grey version waits, and two events: it is asked for; it may return."""
    holding, release = threading.Event(), threading.Event()

    def hold(colorizer):
        holding.set()
        assert release.wait(600)
        return b""

    picture = client.service.store.get(path.rpartition("/")[2])
    picture.grey = hold
    return picture, holding, release


def test_the_queue_tells_places_and_refuses_what_is_too_much(tmp_path):
    with served.served(tmp_path, Limits(waiting=2)) as client:
        path = client.open(png())
        _, holding, release = held(client, path)
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
        with client.states("first", "second", "third") as states:
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
        picture, holding, release = held(client, path)
        seen = []
        picture.coloured = lambda look, colorizer: seen.append(look) or b""
        thread = threading.Thread(target=lambda: client.get(f"{path}/grey"))
        thread.start()
        assert holding.wait(60)
        own = client.url.removeprefix("http://")
        head = f"POST {path}/preview?ticket=x HTTP/1.1\r\nHost: {own}\r\nContent-Length: 0\r\n\r\n"
        with client.states("x") as states:
            next(states)
            host, port = own.split(":")
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(head.encode())
                assert any(state["places"] == {"x": 1} for state in states)
            assert any(state["waiting"] == 0 for state in states)
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
