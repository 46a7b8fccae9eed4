"""The README's examples for programs, as they stand there."""

import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import served
from PIL import Image
from skimage import color, data

README = Path(__file__).parents[2] / "README.md"
# The last argument of the interpreter is the example.
EXAMPLES = {
    language: (text, interpreter)
    for language, interpreter in (("sh", ("bash", "-c")), ("python", (sys.executable, "-c")))
    for text in re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)
    if "/api/colorize" in text
}


@pytest.mark.parametrize("language", ["sh", "python"])
def test_an_example_colours_a_file(tmp_path, language):
    text, interpreter = EXAMPLES[language]
    if language == "sh" and shutil.which("curl") is None:
        pytest.skip("needs curl")
    Image.fromarray(data.astronaut()[300::-4, 100:350:4]).convert("L").save(tmp_path / "grey.jpg")
    with served.served(tmp_path) as client:
        address = client.url.removeprefix("http://")
        command = [*interpreter, text.replace("127.0.0.1:7860", address)]
        subprocess.run(command, cwd=tmp_path, check=True, timeout=600)
    with Image.open(io.BytesIO((tmp_path / "coloured.jpg").read_bytes())) as image:
        lab = color.rgb2lab(np.asarray(image.convert("RGB")) / 255)
    assert abs(lab[..., 1:]).mean() > 1
