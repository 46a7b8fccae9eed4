"""The programs in colorjax/export/README.md run, and colour as `colorjax colorize` does."""

import re
import subprocess
import sys

import numpy as np
import pytest
import support
from PIL import Image

from colorjax import cli
from colorjax.colorize import faces
from colorjax.runs.weights import open_model

pytest.importorskip("onnx", reason="the extra `onnx` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")

from colorjax.export.onnx_graph import build_model


@pytest.fixture(scope="module")
def programs():
    """The Python programs, in their order."""
    text = (support.ROOT / "colorjax/export/README.md").read_text()
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def portrait(tmp_path):
    """A grey photograph of 128×128 pixels, in which the model needs no second look at the face."""
    with Image.open(support.ROOT / "colorjax/assets/portrait.jpg") as picture:
        picture = picture.crop((52, 57, 178, 183)).resize((128, 128))
    assert faces.zoom(faces.face_crops(np.asarray(picture.convert("RGB"))), (128, 128)) <= 1
    picture.save(tmp_path / "portrait.jpg", quality=95)
    return tmp_path / "portrait.jpg"


def rgb(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_a_photograph_is_coloured_with_onnxruntime_numpy_and_pillow(programs, portrait, tmp_path):
    model = build_model(open_model("faces"), {}, "float32")
    (tmp_path / "faces.onnx").write_bytes(model.SerializeToString())
    imports = re.findall(r"^(?:import|from) (\w+)", programs[0], re.MULTILINE)
    assert set(imports) == {"numpy", "onnxruntime", "PIL"}
    assert len([line for line in programs[0].splitlines() if line]) <= 20
    subprocess.run([sys.executable, "-c", programs[0]], cwd=tmp_path, check=True)
    assert cli.main(["colorize", str(portrait), "--output", str(tmp_path / "ours.png")]) == 0
    theirs, ours = rgb(tmp_path / "coloured.png"), rgb(tmp_path / "ours.png")
    assert np.abs(theirs - ours).max() <= 1
    assert np.ptp(ours, axis=-1).mean() > 10  # it has colours


def test_a_stablehlo_file_is_run_with_jax_alone(programs, tmp_path):
    from random_models import random_run

    from colorjax.export.stablehlo import export_stablehlo

    (tmp_path / "gan.stablehlo").write_bytes(export_stablehlo(random_run(), "float32").serialize())
    done = subprocess.run(
        [sys.executable, "-c", f"{programs[1]}\nprint(ab.shape)"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        env=support.environment(),
    )
    assert done.stdout.strip() == "(1, 2, 128, 128)"
