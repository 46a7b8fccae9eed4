"""Time that the page of `colorjax serve` waits for a new hint, by the server's own account."""

import contextlib
import json
import statistics
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.request import Request, urlopen

import cv2
import numpy as np

from colorjax.images.photo_reader import PhotoReader
from colorjax.parallel import devices
from colorjax.runs.model_paths import DEFAULT_MODEL
from colorjax.serve.address import check_extra, listen
from colorjax.serve.limits import Limits
from colorjax.serve.models import Models
from colorjax.serve.service import Service
from colorjax.terminal.errors import InputError

Row = Mapping[str, Any]

# Of the portrait, and how many are in a row and a column of the group.
SIDE, GROUP = 512, 3
BOUNDARY = "colorjax"


def measure(*, model: str, hints: int) -> tuple[list[Row], Row]:
    """Opens a portrait and a group, and asks for previews as a brush does, a hint more each time.

    Args:
      model: see `Colorizer.load`; by default the packaged one for faces. It must take hints.
      hints: number of previews after the first, which compiles.

    Returns:
      For each picture the milliseconds of the first preview, and of those with a new hint (median,
      minimum, maximum): the header X-Elapsed-Ms, which leaves out the queue and the network. And
      the conditions.

    Raises:
      InputError: scikit-image or the extra is not installed, or the model takes no hints.
    """
    model = model or DEFAULT_MODEL
    pictures = _pictures()
    with _served(model) as url:
        rows = [_row(url, name, picture, hints) for name, picture in pictures.items()]
    return rows, {"model": model, "hints": hints}


def _pictures() -> dict[str, np.ndarray]:
    """A face, and many of it side by side; grey [H, W, 1] uint8."""
    try:
        from skimage.data import astronaut
    except ImportError:
        raise InputError("serve needs scikit-image; pip install scikit-image") from None
    face = cv2.cvtColor(astronaut()[25:205, 135:315], cv2.COLOR_RGB2GRAY)
    portrait = cv2.resize(face, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return {"portrait": portrait, "group": np.tile(portrait, (GROUP, GROUP))}


@contextlib.contextmanager
def _served(model: str) -> Iterator[str]:
    """The address of a server on loopback."""
    check_extra()
    from colorjax.serve.server import build_server

    devices.configure()
    models, limits, started = Models(model), Limits(), threading.Event()
    if not models.described[models.default]["hints"]:
        raise InputError(f"{model} takes no hints; give another --model")
    with (
        listen("127.0.0.1", 0) as listener,
        PhotoReader(1, limits.decode_seconds, limits.pixels) as reader,
    ):
        server = build_server(
            Service(models, reader, limits), {}, listener, "127.0.0.1", started.set
        )
        thread = threading.Thread(target=server.run, args=[[listener]])
        thread.start()
        try:
            started.wait()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/api/pictures"
        finally:
            server.should_exit = True
            thread.join()


def _row(url: str, name: str, picture: np.ndarray, hints: int) -> Row:
    form = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    ).encode()
    form += cv2.imencode(".png", picture)[1].tobytes() + f"\r\n--{BOUNDARY}--\r\n".encode()
    _, opened = _post(url, form, f"multipart/form-data; boundary={BOUNDARY}")
    preview = f"{url}/{json.loads(opened)['id']}/preview"
    height, width = picture.shape[:2]
    places = np.random.default_rng(0).integers((width, height), size=(1 + hints, 2)).tolist()
    times = []
    for count in range(1, len(places) + 1):
        look = {"hints": [[x, y, "#3060c0"] for x, y in places[:count]]}
        headers, _ = _post(preview, json.dumps(look).encode(), "application/json")
        times.append(float(headers["X-Elapsed-Ms"]))
    return {
        "picture": f"{name}, {width}×{height}",
        "first preview, ms": times[0],
        "with a new hint, ms": statistics.median(times[1:]),
        "least": min(times[1:]),
        "most": max(times[1:]),
    }


def _post(url: str, body: bytes, kind: str) -> tuple[Mapping[str, str], bytes]:
    with urlopen(Request(url, body, {"Content-Type": kind})) as answer:
        return answer.headers, answer.read()
