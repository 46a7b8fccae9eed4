import cv2
import numpy as np
import pytest
from support import trained

from colorjax.benchmark import __main__ as benchmark
from colorjax.benchmark import assembled
from colorjax.terminal.errors import InputError


def _faces(folder, number):
    for index in range(number):
        image = np.random.default_rng(index).integers(0, 256, (16, 16, 3), np.uint8)
        cv2.imwrite(str(folder / f"{index:03d}.png"), image)
    return folder


def test_too_few_faces_are_refused(tmp_path):
    with pytest.raises(InputError, match="fewer than 224"):
        assembled.measure(path=str(_faces(tmp_path, 3)), model=str(trained("cnn")))


@pytest.mark.slow
def test_small_faces_are_measured(tmp_path, capsys):
    path = str(_faces(tmp_path, 224))
    benchmark.run(["colorize", "--assembled", path, "--model", str(trained("cnn"))])
    out = capsys.readouterr().out
    for row in ("one face (24)", "2 × 2 faces (12)", "eight small and two large (8)"):
        assert f"| {row} | " in out
    assert "| with face detection | 81 of 81 | " in out
