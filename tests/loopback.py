"""An HTTP server on loopback that serves files, and fails as it is told."""

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """Serves `files` (by name) from `url`.

    Attributes:
      files: what it serves.
      faults: for each name, what goes wrong with its next requests, one after the other: a status
        to answer with; ("cut", n), the connection ends after n bytes of the body; ("length", n), a
        Content-Length that is wrong by n; ("no ranges", 0), Range is ignored.
      requests: (name, Range or None, status) of each, in order.
    """

    def __init__(self, files):
        self.files, self.faults, self.requests = dict(files), {}, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.answer(self)

            def log_message(self, *_):
                pass

        class Http(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):  # a client that went away
                pass

        self._server = Http(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/faces/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, handler):
        name = handler.path.rpartition("/")[2]
        asked = handler.headers.get("Range")
        fault = self.faults[name].pop(0) if self.faults.get(name) else None
        data = self.files.get(name)

        def head(status, length, **headers):
            self.requests.append((name, asked, status))
            handler.send_response(status)
            handler.send_header("Content-Length", str(length))
            handler.send_header("Connection", "close")
            for key, value in headers.items():
                handler.send_header(key.replace("_", "-"), value)
            handler.end_headers()

        if isinstance(fault, int) or data is None:
            head(fault if isinstance(fault, int) else 404, 0, Retry_After="0")
            return
        kind, amount = fault or ("", 0)
        etag = f'"{hash(data)}"'
        start = int(asked[6:-1]) if asked else 0
        if kind == "no ranges" or handler.headers.get("If-Range", etag) != etag:
            start = 0
        if start and start >= len(data):
            head(416, 0, Content_Range=f"bytes */{len(data)}")
            return
        length = len(data) - start + (amount if kind == "length" else 0)
        span = {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        head(206 if start else 200, length, ETag=etag, **span)
        end = start + amount if kind == "cut" else len(data)
        handler.wfile.write(data[start:end][:length])


@contextlib.contextmanager
def serving(files):
    server = Server(files)
    try:
        yield server
    finally:
        server.close()
