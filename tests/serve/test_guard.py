import asyncio

import pytest

from colorjax.serve.guard import HEADERS, Guard


def ask(address, given, origin=None, port=7860, host="", **more):
    """The status and headers of an answer of a server that listens on `address`."""
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message):
        sent.append(message)

    headers = [(b"host", given.encode())] * (given is not None)
    headers += [(b"origin", origin.encode())] if origin is not None else []
    headers += [(f"sec-fetch-{key}".encode(), value.encode()) for key, value in more.items()]
    scope = {"type": "http", "headers": headers}
    asyncio.run(Guard(app, address, port, host)(scope, None, send))
    return sent[0]["status"], {key.decode(): value.decode() for key, value in sent[0]["headers"]}


@pytest.mark.parametrize(
    ("host", "given", "status"),
    [
        ("127.0.0.1", "127.0.0.1:7860", 200),
        ("127.0.0.1", "LOCALHOST:7860", 200),
        ("::1", "[::1]:7860", 200),
        ("127.0.0.1", "127.0.0.1:7861", 403),
        ("127.0.0.1", "127.0.0.1", 403),
        ("127.0.0.1", "localhost.evil.example:7860", 403),
        ("127.0.0.1", "user@localhost:7860", 403),
        ("127.0.0.1", "192.168.1.7:7860", 403),
        ("127.0.0.1", "localhost:78600", 403),
        ("127.0.0.1", "localhost:x", 403),
        ("127.0.0.1", "[::1:7860", 403),
        ("127.0.0.1", "localhost:7860/x", 403),
        ("127.0.0.1", "", 403),
        ("192.168.1.7", "192.168.1.7:7860", 200),
        ("192.168.1.7", "192.168.1.8:7860", 403),
        # On all interfaces: an address cannot be pointed elsewhere, and a name can.
        ("0.0.0.0", "192.168.1.7:7860", 200),
        ("::", "[fe80::1]:7860", 200),
        ("0.0.0.0", "evil.example:7860", 403),
    ],
)
def test_only_the_hosts_of_this_server(host, given, status):
    found, headers = ask(host, given)
    assert found == status
    assert headers["x-content-type-options"] == "nosniff"
    assert {key.lower() for key in HEADERS} <= headers.keys()


def test_a_host_without_a_port_is_that_of_port_80():
    assert ask("127.0.0.1", "localhost", port=80)[0] == 200
    assert ask("127.0.0.1", "localhost:80", port=80)[0] == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("http://localhost:7860", 200),
        ("http://127.0.0.1:7860", 403),  # another origin than that of the page
        ("https://localhost:7860", 403),
        ("http://localhost", 403),
        ("http://evil.example", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_only_pages_of_this_server(origin, status):
    assert ask("127.0.0.1", "localhost:7860", origin)[0] == status


def test_the_name_that_a_person_gave_the_address():
    assert ask("192.168.1.7", "photos.lan:7860", host="Photos.lan")[0] == 200
    assert ask("192.168.1.7", "photos.lan:7860")[0] == 403


@pytest.mark.parametrize(
    ("site", "mode", "status"),
    [
        ("same-origin", "cors", 200),
        ("none", "navigate", 200),
        ("cross-site", "navigate", 200),  # a link to the page
        ("cross-site", "no-cors", 403),  # an image of another page
    ],
)
def test_what_another_page_embeds_is_refused(site, mode, status):
    assert ask("127.0.0.1", "localhost:7860", site=site, mode=mode)[0] == status
