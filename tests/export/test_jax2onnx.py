"""A general library, jax2onnx, makes ONNX models of the same functions that compute the same.

It pins orbax below a version that the package runs with, so it has an environment of its own. The
ResNet is left out: of it, jax2onnx 0.17 makes a model that adds maps of different layouts.
"""

import subprocess
import venv

import numpy as np
import pytest
import support
from random_models import lightness, random_run

from colorjax.runs.weights import export_weights

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
pytest.importorskip("onnx", reason="the extra `onnx` is not installed")

from colorjax.export.onnx_graph import build_model  # noqa: E402

pytestmark = pytest.mark.slow
PACKAGES = ["jax2onnx==0.17.*", "chex", "filelock", "ml-collections", "safetensors"]
# Converts a weights file for the shape of L in another, and predicts from that.
WITNESS = """
import sys
from pathlib import Path
import jax, jax.numpy as jnp, numpy as np, onnxruntime
from jax2onnx import to_onnx
from colorjax.models.variables import model_predictor
from colorjax.runs.weights import load_weights

run = load_weights(Path(sys.argv[1]), "model")
predict = model_predictor(run.generator.clone(kernels="plain"))
variables, l = jax.device_get(run.variables), np.load(sys.argv[2])
def colorize(l):
    return jnp.transpose(predict(variables, jnp.transpose(l, (0, 2, 3, 1))), (0, 3, 1, 2))
session = onnxruntime.InferenceSession(to_onnx(colorize, inputs=[l.shape]).SerializeToString())
(ab,) = session.run(None, {session.get_inputs()[0].name: l})
np.save(sys.argv[3], ab)
"""


@pytest.fixture(scope="module")
def python():
    folder = support.session_folder() / "jax2onnx"
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", *PACKAGES], capture_output=True, text=True
    )
    if (
        done.returncode and "connection broken" in done.stderr
    ):  # what pip warns of before it tries again
        pytest.skip("jax2onnx cannot be fetched: there is no network")
    assert done.returncode == 0, done.stderr
    return python


@pytest.mark.parametrize("name", ["encoder_decoder", "efficientnet_lite"])
def test_jax2onnx_agrees(python, name, tmp_path):
    run, l = random_run(name=name), lightness(2, 1, 64, 96)
    export_weights(run, tmp_path / "model.safetensors", "# A card\n", "float32")
    np.save(tmp_path / "l.npy", l)
    done = subprocess.run(
        [python, "-c", WITNESS, "model.safetensors", "l.npy", "ab.npy"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=support.environment(),
    )
    assert done.returncode == 0, done.stderr
    theirs = np.load(tmp_path / "ab.npy")
    session = onnxruntime.InferenceSession(build_model(run, {}, "float32").SerializeToString())
    (ours,) = session.run(None, {"l": l})
    assert 1 < np.abs(theirs).max() < 110
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())
