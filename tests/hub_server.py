"""The Hugging Face Hub on loopback: what huggingface_hub asks of it for models.

Files ending in .safetensors are in LFS, as there, and offered by Xet too. Only the plain protocol
is spoken: clients must set HF_HUB_DISABLE_XET=1. The CDN, to which downloads are redirected, is the
same server by another name.
"""

import base64
import contextlib
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import pytest
from huggingface_hub import file_download

TOKEN = "hf_of_me"


class Hub:
    """Serves `repositories` from `url`.

    Attributes:
      repositories: by OWNER/NAME, the files by path. TOKEN may write to those of the owner "me".
      gated: names of repositories that TOKEN may not read.
      sums: SHA-256 sums that are claimed for files in place of the true ones, by path.
      cuts: the numbers of bytes after which the next downloads are cut, one after the other.
      status: if not None, what every request is answered with.
      requests: (method, path) of each, in order.
      ranges: the Range of each download, or None.
    """

    def __init__(self, repositories):
        self.repositories = {name: dict(files) for name, files in repositories.items()}
        self.gated, self.sums, self.cuts, self.status = set(), {}, [], None
        self.requests, self.ranges, self.stored = [], [], {}
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.hub = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.cdn = f"http://localhost:{self._server.server_port}/cdn"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def commit(self, name):
        """The name of the only revision, main, besides that."""
        return hashlib.sha1(repr(sorted(self.repositories[name].items())).encode()).hexdigest()

    def sum(self, name, path):
        return self.sums.get(path) or hashlib.sha256(self.repositories[name][path]).hexdigest()


@contextlib.contextmanager
def serving(repositories):
    hub = Hub(repositories)
    try:
        yield hub
    finally:
        hub.close()


def environment(hub, home):
    """For processes."""
    seconds = dict.fromkeys(("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"), "300")
    return {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", **seconds}


@contextlib.contextmanager
def joined(repositories, cache):
    """Serves repositories, and makes huggingface_hub in this process ask here, with a cache.

    It has read its environment when it was imported.
    """
    with serving(repositories) as hub, pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "ENDPOINT": hub.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_CACHE": str(cache),
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_OFFLINE": False,
            "HF_TOKEN_PATH": str(cache / "no token"),
            "DOWNLOAD_CHUNK_SIZE": 1024,
            "HF_HUB_ETAG_TIMEOUT": 300,
            "HF_HUB_DOWNLOAD_TIMEOUT": 300,
        }.items():
            patch.setattr(huggingface_hub.constants, name, value)
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            patch.delenv(name, raising=False)
        patch.setattr(file_download.time, "sleep", lambda seconds: None)  # between its attempts
        yield hub
        huggingface_hub.close_session()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):  # a client that went away
        pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._answer()

    do_GET = do_POST = do_PUT = do_HEAD

    def _answer(self):
        self.hub = self.server.hub
        path = self.path.partition("?")[0]
        self.hub.requests.append((self.command, path))
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            self.body = b"".join(iter(self._chunk, b""))
        if self.hub.status is not None:
            self._send(self.hub.status)
            return
        for pattern, answer in _ROUTES.items():
            match = re.fullmatch(pattern, f"{self.command} {path}")
            if match:
                answer(self, *match.groups())
                return
        self._send(404)

    def _chunk(self):
        data = self.rfile.read(int(self.rfile.readline(), 16))
        self.rfile.readline()
        return data

    def _send(self, status, data=b"", **headers):
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(data), "Connection": "close", **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _is_refused(self, name, revision="main"):
        """Whether the answer is an error, which has then been sent."""
        if name not in self.hub.repositories:
            self._send(401, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
        elif revision not in ("main", self.hub.commit(name)):
            self._send(404, X_Error_Code="RevisionNotFound")
        else:
            return False
        return True

    def info(self, name, revision="main"):
        if self._is_refused(name, revision):
            return
        siblings = []
        for path, data in self.hub.repositories[name].items():
            siblings.append({"rfilename": path, "size": len(data), "blobId": "0" * 40})
            if path.endswith(".safetensors"):
                lfs = {"sha256": self.hub.sum(name, path), "size": len(data), "pointerSize": 130}
                siblings[-1]["lfs"] = lfs
        commit = self.hub.commit(name)
        gated = "auto" if name in self.hub.gated else False
        about = {"id": name, "sha": commit, "siblings": siblings, "private": False, "gated": gated}
        self._send(200, about)

    def check_access(self, name):
        is_gated = name in self.hub.gated
        self._send(403 if is_gated else 200, **({"X_Error_Code": "GatedRepo"} if is_gated else {}))

    def resolve(self, name, revision, path):
        if self._is_refused(name, revision):
            return
        commit = {"X_Repo_Commit": self.hub.commit(name)}
        if name in self.hub.gated:
            self._send(403, X_Error_Code="GatedRepo", **commit)
        elif path not in self.hub.repositories[name]:
            self._send(404, X_Error_Code="EntryNotFound", **commit)
        else:
            self._send(
                302,
                Location=f"{self.hub.cdn}/{name}/{path}",
                X_Linked_Etag=f'"{self.hub.sum(name, path)}"',
                X_Linked_Size=len(self.hub.repositories[name][path]),
                X_Xet_Hash="0" * 64,
                X_Xet_Refresh_Route="/xet",
                **commit,
            )

    def download(self, name, path):
        data, asked = self.hub.repositories[name][path], self.headers.get("Range")
        self.hub.ranges.append(asked)
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked else 0
        cut = self.hub.cuts.pop(0) if self.hub.cuts else len(data)
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data[start:][:cut])

    def _may_write(self, name):
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._send(401, {"error": "Invalid username or password."})
        elif not name.startswith("me/"):
            self._send(403, {"error": "You don't have the rights to create a model here"})
        else:
            return True
        return False

    def create(self):
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        if self._may_write(name):
            status = 409 if name in self.hub.repositories else 200
            self.hub.repositories.setdefault(name, {})
            self._send(status, {"url": f"{self.hub.url}/{name}"})

    def validate(self):
        has_metadata = json.loads(self.body)["content"].startswith("---\n")
        warnings = [] if has_metadata else [{"message": "there is no metadata"}]
        self._send(200, {"errors": [], "warnings": warnings})

    def preupload(self, name):
        modes = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(self.body)["files"]
        ]
        if self._may_write(name):
            self._send(200, {"files": modes})

    def batch(self, name):
        objects = json.loads(self.body)["objects"]
        for item in objects:
            item["actions"] = {
                "upload": {"href": f"{self.hub.url}/lfs/{item['oid']}", "header": {}},
                "verify": {"href": f"{self.hub.url}/verify"},
            }
        if self._may_write(name):
            self._send(200, {"transfer": "basic", "objects": objects})

    def store(self, oid):
        self.hub.stored[oid] = self.body
        self._send(200)

    def verify(self):
        asked = json.loads(self.body)
        data = self.hub.stored[asked["oid"]]
        found = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
        self._send(200 if found == asked else 400)

    def make_commit(self, name):
        if not self._may_write(name):
            return
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "file":
                self.hub.repositories[name][value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                self.hub.repositories[name][value["path"]] = self.hub.stored[value["oid"]]
        commit = self.hub.commit(name)
        address = f"{self.hub.url}/{name}/commit/{commit}"
        self._send(200, {"commitUrl": address, "commitOid": commit})


_ID = r"([^/]+/[^/]+)"
_ROUTES = {
    rf"GET /api/models/{_ID}": _Handler.info,
    rf"GET /api/models/{_ID}/revision/([^/]+)": _Handler.info,
    rf"GET /api/models/{_ID}/auth-check": _Handler.check_access,
    rf"(?:HEAD|GET) /{_ID}/resolve/([^/]+)/(.+)": _Handler.resolve,
    rf"GET /cdn/{_ID}/(.+)": _Handler.download,
    r"POST /api/repos/create": _Handler.create,
    r"POST /api/validate-yaml": _Handler.validate,
    rf"POST /api/models/{_ID}/preupload/main": _Handler.preupload,
    rf"POST /{_ID}\.git/info/lfs/objects/batch": _Handler.batch,
    r"PUT /lfs/(\w+)": _Handler.store,
    r"POST /verify": _Handler.verify,
    rf"POST /api/models/{_ID}/commit/main": _Handler.make_commit,
}
