"""What colouring photographs takes, part by part, beside decoding and encoding them."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from colorjax.colorize import faces
from colorjax.colorize.colorizer import Colorizer, in_threads
from colorjax.colorize.files import colorize_files, plan
from colorjax.data.procedural.renderer import render_face
from colorjax.images.photo import read_photo
from colorjax.images.write_photo import write_photo

Row = Mapping[str, Any]

PILLOW = "Pillow: decode and encode"


def measure(model: str, images: int, side: int, rounds: int) -> tuple[list[Row], Row]:
    """Times every part on the same JPEGs, in turns.

    Args:
      model: see `Colorizer.load`.
      images: how many.
      side: of each, in pixels.
      rounds: every part is timed so often; the median is given.

    Returns:
      Rows with milliseconds a photograph, and what was measured.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "grey", Path(folder) / "coloured"
        source.mkdir()
        for number in range(images):
            _photograph(number, side).save(source / f"{number:04d}.jpg", quality=90)
        files = sorted(source.iterdir())
        colorizer = Colorizer.load(model)
        jobs = plan([str(source)], output)
        colorize_files(jobs[:8], colorizer)  # compiles
        photos = [read_photo(file) for file in files]
        rgb = [photo.rgb for photo in photos]
        lines = colorizer._coefficients(rgb)
        target = Path(folder) / "target.jpg"
        parts: dict[str, Callable[[], Any]] = {
            PILLOW: lambda: _each(files, lambda file: _pillow(file, target)),
            "read": lambda: [read_photo(file) for file in files],
            "find faces": lambda: in_threads(faces.face_crops, rgb),
            "find faces, model, lines": lambda: colorizer._coefficients(rgb),
            "full size": lambda: in_threads(colorizer._full_size, rgb, lines),
            "write": lambda: _each(photos, lambda photo: write_photo(target, photo)),
            "the whole folder": lambda: colorize_files(jobs, colorizer),
        }
        times: dict[str, list[float]] = {name: [] for name in parts}
        for _ in range(rounds):
            for name, part in parts.items():
                start = time.perf_counter()
                part()
                times[name].append(time.perf_counter() - start)
        fresh = [_fresh(model, files[0], Path(folder) / f"fresh{i}") for i in range(rounds)]
    rows = [_row(name, found, images) for name, found in times.items()]
    median = {name: statistics.median(found) for name, found in times.items()}
    pillow, whole = median[PILLOW], median["the whole folder"]
    about = {
        "photographs": f"{images} JPEGs of {side}×{side}",
        "model": model,
        "whole without faces and model, over Pillow": round(
            (whole - median["find faces, model, lines"]) / pillow, 2
        ),
        "one photograph from a fresh process, seconds": round(statistics.median(fresh), 2),
    }
    return rows, about


def _each(items: Iterable[Any], function: Callable[[Any], None]) -> None:
    for item in items:
        function(item)


def _photograph(number: int, side: int) -> Image.Image:
    """A grey face with the grain of film: noise is what makes photographs large files."""
    face = Image.fromarray(render_face(0, number, 0, 256)).convert("L").resize((side, side))
    grain = np.random.default_rng(number).normal(0, 6, (side, side))
    return Image.fromarray(np.clip(np.asarray(face) + grain, 0, 255).astype(np.uint8))


def _pillow(source: Path, target: Path) -> None:
    with Image.open(source) as image:
        image.convert("RGB").save(target, quality=95, subsampling=0)


def _fresh(model: str, source: Path, output: Path) -> float:
    command = [sys.executable, "-m", "colorjax.cli", "colorize", str(source), "--model", model]
    start = time.perf_counter()
    subprocess.run([*command, "--output", str(output)], check=True, capture_output=True)
    return time.perf_counter() - start


def _row(name: str, seconds: Sequence[float], images: int) -> Row:
    return {
        "part": name,
        "ms a photograph": 1e3 * statistics.median(seconds) / images,
        "least": 1e3 * min(seconds) / images,
        "most": 1e3 * max(seconds) / images,
    }
