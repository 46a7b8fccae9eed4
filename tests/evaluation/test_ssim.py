"""SSIM against scikit-image."""

import numpy as np
import pytest
from skimage.data import astronaut
from skimage.metrics import structural_similarity

from colorjax.evaluation.metrics import ssim


def reference(a, b):
    return structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1,
        channel_axis=-1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def pairs():
    """Photographs and what noise, blur and another colour make of them: two [6, 48, 64, 3]."""
    rng = np.random.default_rng(0)
    photo = astronaut()[:96:2, 180:308:2] / 255
    noisy = np.clip(photo + rng.normal(0, 0.1, photo.shape), 0, 1)
    blurred = (photo + np.roll(photo, 1, 0) + np.roll(photo, 1, 1)) / 3
    grey = np.repeat(photo.mean(-1, keepdims=True), 3, -1)
    others = [noisy, blurred, grey, 1 - photo, rng.uniform(size=photo.shape), photo]
    return np.stack([photo] * len(others)), np.stack(others)


def test_it_equals_scikit_image(pairs):
    first, second = pairs
    expected = [reference(a, b) for a, b in zip(first, second, strict=True)]
    computed = ssim(first.astype(np.float32), second.astype(np.float32))
    np.testing.assert_allclose(computed, expected, rtol=0, atol=2e-5)
    # From nearly unrelated to equal: the pairs tell something.
    assert min(expected) < 0.1
    assert computed[-1] == pytest.approx(1, abs=1e-6)


def test_flat_images_equal_scikit_image():
    a, b = (np.full((1, 16, 16, 3), value) for value in (0.2, 0.25))
    computed = ssim(a.astype(np.float32), b.astype(np.float32))
    np.testing.assert_allclose(computed, [reference(a[0], b[0])], atol=1e-5)


def test_images_smaller_than_the_window_are_refused():
    with pytest.raises(ValueError, match="at least 11 pixels, not 10"):
        ssim(np.zeros((1, 10, 32, 3), np.float32), np.zeros((1, 10, 32, 3), np.float32))
