"""An HTTP server on loopback that serves files, and misbehaves as it is told."""

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """Serves `files` (by name) from `url`.

    Attributes:
      files: what it serves.
      faults: for each name, what goes wrong with its next requests, one after another: a status to
        answer with; ("cut", n), the connection ends after n bytes of the body; ("length", n), a
        Content-Length that is wrong by n; ("no ranges",), a Range is not heeded.
      requests: (name, Range or None, status) of each, in order.
    """

    def __init__(self):
        self.files, self.faults, self.requests = {}, {}, []
        self.etags = {}
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
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, handler):
        handler.close_connection = True
        name = handler.path.rpartition("/")[2]
        wanted = handler.headers.get("Range")
        faults = self.faults.get(name, [])
        fault = faults.pop(0) if faults else None
        data = self.files.get(name)
        if isinstance(fault, int) or data is None:
            status = fault if isinstance(fault, int) else 404
            self.requests.append((name, wanted, status))
            handler.send_response(status)
            handler.send_header("Retry-After", "0")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        kind, amount = fault if fault and len(fault) == 2 else (fault and fault[0], 0)
        etag = self.etags.get(name, f'"{hash(data)}"')
        start = int(wanted[6:-1]) if wanted else 0
        if kind == "no ranges" or handler.headers.get("If-Range", etag) != etag:
            start = 0
        if start and start >= len(data):
            self.requests.append((name, wanted, 416))
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(data)}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        self.requests.append((name, wanted, 206 if start else 200))
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.send_header("ETag", etag)
        length = len(data) - start + (amount if kind == "length" else 0)
        handler.send_header("Content-Length", str(length))
        handler.end_headers()
        end = start + amount if kind == "cut" else len(data)
        handler.wfile.write(data[start:end][:length])


@contextlib.contextmanager
def serving(files):
    server = Server()
    server.files = dict(files)
    try:
        yield server
    finally:
        server.close()
