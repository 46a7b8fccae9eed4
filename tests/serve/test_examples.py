"""The examples for programs in the API's description."""

import io
import shutil
import subprocess
import sys

import numpy as np
import pytest
import served
from PIL import Image
from skimage import color, data

from colorjax.serve.openapi import CURL, PYTHON


@pytest.mark.parametrize("example", ["curl", "python"])
def test_an_example_colours_a_file(tmp_path, example):
    if example == "curl" and shutil.which("curl") is None:
        pytest.skip("needs curl")
    Image.fromarray(data.astronaut()[300::-4, 100:350:4]).convert("L").save(tmp_path / "grey.jpg")
    with served.served(tmp_path) as client:
        address = client.url.removeprefix("http://")
        text = {"curl": CURL, "python": PYTHON}[example].replace("127.0.0.1:7860", address)
        command = ["bash", "-c", text] if example == "curl" else [sys.executable, "-c", text]
        subprocess.run(command, cwd=tmp_path, check=True, timeout=600)
    with Image.open(io.BytesIO((tmp_path / "coloured.jpg").read_bytes())) as image:
        lab = color.rgb2lab(np.asarray(image.convert("RGB")) / 255)
    assert abs(lab[..., 1:]).mean() > 1
