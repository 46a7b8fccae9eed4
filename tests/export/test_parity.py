"""What an exported model is compared on, and when it is refused."""

import numpy as np
import pytest
from random_models import random_run

from colorjax.export import parity
from colorjax.terminal.errors import InputError


def off_by(value):
    return lambda l: np.full((len(l), 2, *l.shape[2:]), value, np.float32)


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(parity, "reference", lambda run: off_by(0.0))
    return random_run()


def test_inputs_are_a_photograph_and_noise_of_odd_multiples_of_32():
    inputs = parity.inputs()
    assert {len(l) for l in inputs} == {1, 5}
    for l in inputs:
        assert l.dtype == np.float32
        assert l.min() >= 0
        assert l.max() <= 100
        assert all(side % 64 == 32 for side in l.shape[2:])
    photograph, noise, crops, _ = inputs
    assert np.abs(np.diff(photograph)).mean() < 5 < np.abs(np.diff(noise)).mean()
    assert photograph.std() > 10
    assert len(np.unique(crops.reshape(5, -1), axis=0)) == 5


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-3), ("float16", 2e-2)])
def test_the_largest_difference_decides(run, dtype, tolerance):
    assert parity.check(run, off_by(0.9 * tolerance), "onnx", dtype) == pytest.approx(
        0.9 * tolerance
    )
    with pytest.raises(InputError, match=r"as onnx in float.* differs from JAX by .* more than"):
        parity.check(run, off_by(-1.1 * tolerance), "onnx", dtype)


def test_one_pixel_of_one_image_is_enough_to_be_refused(run):
    def call(l):
        ab = off_by(0.0)(l)
        ab[-1, -1, -1, -1] = 0.1 * (len(ab) == 5)
        return ab

    with pytest.raises(InputError, match=r"by 0\.1 in a\*b\*"):
        parity.check(run, call, "stablehlo", "float32")


def test_what_is_no_number_is_refused(run):
    with pytest.raises(InputError, match="by nan in"):
        parity.check(run, off_by(np.nan), "onnx", "float16")
