"""A server on loopback with the tiny model of hinted.py, and what is asked of it."""

import contextlib
import json
import socket
import threading
import time

import hinted
import requests
import support

from colorjax.images.photo_reader import PhotoReader
from colorjax.serve.address import listen
from colorjax.serve.limits import Limits
from colorjax.serve.models import Models
from colorjax.serve.server import build_server
from colorjax.serve.service import Service

ASSETS = {"index.html": b"<!doctype html><title>a page</title>", "app.js": b"export {};"}


class Client:
    """Asks a server.

    Attributes:
      url: of the server.
      service: of the server.
      model: the path of its model.
    """

    def __init__(self, url, service, model):
        self.url, self.service, self.model = url, service, model

    def get(self, path, **options):
        return requests.get(self.url + path, timeout=600, **options)

    def post(self, path, body=None, **options):
        """Args: body: sent as JSON."""
        return requests.post(self.url + path, json=body, timeout=600, **options)

    def delete(self, path):
        return requests.delete(self.url + path, timeout=600)

    def send(self, path, data, name="photo.png", **fields):
        """A form with a photograph."""
        fields = {
            key: value if isinstance(value, str) else json.dumps(value)
            for key, value in fields.items()
        }
        return requests.post(
            self.url + path, files={"file": (name, data)}, data=fields, timeout=600
        )

    def open(self, data, name="photo.png", **fields):
        """The path of a picture that is kept."""
        answer = self.send("/api/pictures", data, name, **fields)
        assert answer.status_code == 201, answer.text
        return f"/api/pictures/{answer.json()['id']}"

    @contextlib.contextmanager
    def states(self, *tickets):
        """The queue's states as they change; an error after two minutes, since they never end."""
        end = time.monotonic() + 120

        def read(lines):
            for line in lines:
                assert time.monotonic() < end, "nothing happened"
                if line.startswith(b"data: "):
                    yield json.loads(line.removeprefix(b"data: "))

        with self.get(f"/api/queue?ids={','.join(tickets)}", stream=True) as events:
            yield read(events.iter_lines())

    def raw(self, head, body=b""):
        """The status of the answer to bytes that no client would send."""
        host, port = self.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=600) as connection:
            connection.sendall(head + body)
            return int(connection.makefile("rb").readline().split()[1])


@contextlib.contextmanager
def served(folder, limits=None, **options):
    """A client of a server.

    Args:
      folder: for the model's file.
      limits: see `Service`.
      **options: of the model.
    """
    path = hinted.exported(folder, **options)
    limits = limits or Limits()
    with (
        support.quick_compilation(),
        listen("127.0.0.1", 0) as listener,
        PhotoReader(1, limits.decode_seconds, limits.pixels) as reader,
    ):
        port = listener.getsockname()[1]
        service = Service(Models(str(path)), reader, limits)
        started = threading.Event()
        server = build_server(service, ASSETS, listener, "127.0.0.1", started.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            assert started.wait(60)
            yield Client(f"http://127.0.0.1:{port}", service, path)
        finally:
            server.should_exit = True
            thread.join()
