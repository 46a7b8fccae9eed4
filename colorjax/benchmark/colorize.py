"""Time to colour photographs, and of its parts, compared with decoding and encoding them."""

import io
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from colorjax.benchmark.assembled import measure as pictures_of_faces
from colorjax.colorize import faces
from colorjax.colorize.colorizer import Colorizer
from colorjax.colorize.files import colorize_files
from colorjax.colorize.plan import plan
from colorjax.data.procedural.renderer import render_face
from colorjax.images.photo import read_photo
from colorjax.images.write_photo import write_photo
from colorjax.parallel import devices
from colorjax.runs.model_paths import DEFAULT_MODEL

Row = Mapping[str, Any]

PILLOW = "Pillow: decode and encode"
FOLDER = "the entire folder"


def measure(
    *, model: str, images: int, side: int, rounds: int, assembled: str = ""
) -> tuple[list[Row], Row]:
    """Times every part on the same JPEGs, in turns.

    Args:
      model: see `Colorizer.load`; by default the one that is best for faces.
      images: number of photographs.
      side: width and height in pixels.
      rounds: number of times that every part is timed.
      assembled: a folder or zip of faces. If given, `assembled.measure` colours pictures of these
        instead, and nothing is timed.

    Returns:
      Rows with milliseconds per photograph (median, minimum and maximum of the rounds), and the
      conditions.
    """
    if assembled:
        return pictures_of_faces(path=assembled, model=model)
    devices.configure()
    model = model or DEFAULT_MODEL
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "grey", Path(folder) / "target.jpg"
        source.mkdir()
        for number in range(images):
            _photograph(number, side).save(source / f"{number:04d}.jpg", quality=90)
        files = sorted(source.iterdir())
        photos = [read_photo(file) for file in files]
        colorizer = Colorizer.load(model)
        jobs = plan([str(source)], Path(folder) / "coloured").jobs
        colorize_files(jobs[:8], colorizer)  # compiles
        # Each colours all photographs. The first four use one core, the last two use all.
        parts: dict[str, Callable[[], Any]] = {
            PILLOW: lambda: list(map(_pillow, files)),
            "read": lambda: list(map(read_photo, files)),
            "find faces": lambda: [faces.face_crops(photo.rgb) for photo in photos],
            "write": lambda: list(map(partial(write_photo, target), photos)),
            "find faces, model, full size": lambda: colorizer([photo.rgb for photo in photos]),
            FOLDER: lambda: colorize_files(jobs, colorizer),
        }
        times: dict[str, list[float]] = {name: [] for name in parts}
        for _ in range(rounds):
            for name, part in parts.items():
                start = time.perf_counter()
                part()
                times[name].append(1e3 * (time.perf_counter() - start) / images)
        fresh = [_fresh(model, files[0], Path(folder) / f"fresh{i}") for i in range(rounds)]
    median = {name: statistics.median(found) for name, found in times.items()}
    rows: list[Row] = [
        {"part": name, "ms per photograph": median[name], "least": min(found), "most": max(found)}
        for name, found in times.items()
    ]
    about = {
        "photographs": f"{images} JPEGs of {side}×{side}",
        "model": model,
        "the entire folder, in units of Pillow": round(median[FOLDER] / median[PILLOW], 2),
        "one photograph in a new process, seconds": round(statistics.median(fresh), 2),
    }
    return rows, about


def _photograph(number: int, side: int) -> Image.Image:
    """A grey face with film grain: noise makes the files of photographs large."""
    face = Image.fromarray(render_face(0, number, 0, 256)).convert("L").resize((side, side))
    grain = np.random.default_rng(number).normal(0, 6, (side, side))
    return Image.fromarray(np.clip(np.asarray(face) + grain, 0, 255).astype(np.uint8))


def _pillow(path: Path) -> None:
    with Image.open(path) as image:
        image.convert("RGB").save(io.BytesIO(), "JPEG", quality=95, subsampling=0)


def _fresh(model: str, source: Path, output: Path) -> float:
    command = [sys.executable, "-m", "colorjax.cli", "colorize", str(source), "--model", model]
    start = time.perf_counter()
    subprocess.run([*command, "--output", str(output)], check=True, capture_output=True)
    return time.perf_counter() - start
