"""Photographs with faults, from fuzz.py: coloured with the right lightness, or named."""

import contextlib
import io
import os
import subprocess
import sys
import warnings

import cv2
import fuzz
import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import color

# Leaves every picture as it is, but grey. A process of its own: a crash or a hang is a finding.
COMMAND = """
import sys
import jax.numpy as jnp
from colorjax import cli
from colorjax.colorize.colorizer import Colorizer

grey = Colorizer(lambda _, l: jnp.zeros((*l.shape[:-1], 2)), {}, image_size=32)
Colorizer.load = lambda *_, **__: grey
if __name__ == "__main__":
    sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.filterwarnings("ignore")  # of the decoders compared with
@pytest.mark.parametrize(
    ("start", "count"), [(0, 200), pytest.param(10_000, 2000, marks=pytest.mark.slow)]
)
def test_every_file_is_coloured_with_its_lightness_or_named(tmp_path, start, count):
    cases = {case.name: case for case in map(fuzz.case, range(start, start + count))}
    (tmp_path / "in").mkdir()
    for case in cases.values():
        (tmp_path / "in" / case.name).write_bytes(case.data)
    arguments = ["colorize", tmp_path / "in", "--output", tmp_path / "out"]
    process = subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=300 + count,
        env=os.environ | {"JAX_NUM_CPU_DEVICES": "1"},
    )
    assert "Traceback" not in process.stderr
    assert process.returncode == 1, process.stderr[-2000:]
    coloured = {path.name for path in (tmp_path / "out").glob("[0-9]*")}
    named = dict(line.split(": ", 1) for line in process.stderr.splitlines() if ": " in line)
    wrong = {}
    for name in cases.keys() - coloured:
        if str(tmp_path / "in" / name) not in named:
            wrong[name] = named.get(str(tmp_path / "out" / name), "neither coloured nor named")
    for name in coloured:
        if fault := _fault(cases[name], (tmp_path / "out" / name).read_bytes()):
            wrong[name] = fault
    assert not wrong, "\n".join(f"{name}: {fault}" for name, fault in sorted(wrong.items()))
    assert len(coloured) > count / 4


def _fault(case, coloured):
    """What is wrong with a coloured file, or None."""
    outputs, inputs = _decoded(coloured), _decoded(case.data)
    if not outputs:
        return "nobody can decode the output"
    out = outputs[0]
    black = min(
        [_black(rgb) for rgb in inputs], key=lambda share: abs(share - _black(out)), default=0
    )
    if _black(out) > black + 0.02:
        return f"{_black(out):.0%} black, {black:.0%} in the input ({len(inputs)} decoders)"
    levels = [_lightness(rgb) for rgb in inputs]
    off = min([abs(level - _lightness(out)) for level in levels], default=0)
    # libvips converts CMYK by a profile of its own.
    if not case.has_profile and off > 3 and not _is_cmyk(case.data):
        return f"lightness {_lightness(out):.1f}, of the input {levels}"
    return None


def _black(rgb):
    """The share of black pixels."""
    return np.mean(color.rgb2lab(rgb)[..., 0] < 1.5)


def _is_cmyk(data):
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")  # Pillow's, of corrupt EXIF
        with Image.open(io.BytesIO(data)) as image:
            return image.mode == "CMYK"
    return False


def _lightness(rgb):
    return color.rgb2lab(rgb)[..., 0].mean()


def _decoded(data):
    """[H, W, 3] in [0, 1], as each other decoder that reads the file sees it."""
    found = []
    for decode in (_pillow, _tifffile, _opencv):
        with contextlib.suppress(Exception):
            rgb = decode(data)
            rgb = rgb[..., None].repeat(3, -1) if rgb.ndim == 2 else rgb[..., :3]
            top = np.iinfo(rgb.dtype).max if rgb.dtype.kind == "u" else 1
            if rgb.shape[-1] == 3 and rgb.size:
                found.append(np.clip(rgb / np.float32(top), 0, 1))
    return found


def _pillow(data):
    with Image.open(io.BytesIO(data)) as image:
        if image.mode.startswith("I;16"):
            return np.asarray(image).astype(np.uint16)
        return np.asarray(image.convert("RGB"))


def _tifffile(data):
    return tifffile.imread(io.BytesIO(data), key=0)


def _opencv(data):
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
    return bgr[..., ::-1]
