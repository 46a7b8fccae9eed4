"""Metrics against scikit-image, loops in float64, and their properties."""

import numpy as np
import pytest
from skimage.data import astronaut
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from colorjax.evaluation import metrics

SHAPE = (3, 8, 6)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def pair(rng):
    """a*b* of predictions and truths, [3, 8, 6, 2] float32, with errors like those of a model."""
    truth = rng.normal(5, 20, (*SHAPE, 2)).astype(np.float32)
    return truth + rng.normal(0, 10, truth.shape).astype(np.float32), truth


def test_errors_equal_a_loop_in_float64(pair):
    ab, truth = pair
    taus = (5, 10, 20)
    for n in range(SHAPE[0]):
        squares, errors = [], []
        for p, q in zip(
            ab[n].reshape(-1, 2).tolist(), truth[n].reshape(-1, 2).tolist(), strict=True
        ):
            squares.append(((p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2) / 2)
            errors.append(((p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2) ** 0.5)
        shares = [np.mean([error > tau for error in errors]) for tau in taus]
        np.testing.assert_allclose(metrics.mse(ab, truth)[n], np.mean(squares), rtol=1e-5)
        np.testing.assert_allclose(
            metrics.color_error(ab, truth)[n].ravel(), errors, rtol=1e-5, atol=1e-5
        )
        np.testing.assert_allclose(metrics.threshold_loss(ab, truth, taus)[n], shares, rtol=1e-6)


def test_threshold_loss_counts_errors_above_tau_and_falls_with_it(pair):
    exactly_ten = np.zeros((1, 2, 2, 2), np.float32) + np.float32([6, 8])
    loss = metrics.threshold_loss(exactly_ten, np.zeros_like(exactly_ten), (9.99, 10, 10.01))
    np.testing.assert_array_equal(loss, [[1, 0, 0]])
    assert np.all(np.diff(metrics.threshold_loss(*pair, (0, 5, 10, 20, 40)), axis=1) < 0)


def test_colorfulness_equals_its_definition_in_float64(rng):
    rgb = rng.uniform(size=(*SHAPE, 3)).astype(np.float32)
    for image, result in zip(rgb, metrics.colorfulness(rgb), strict=True):
        r, g, b = (255 * image[..., i].astype(np.float64) for i in range(3))
        rg, yb = r - g, 0.5 * (r + g) - b
        expected = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
        np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_colorfulness_of_grey_is_zero_and_of_one_colour_its_distance_from_grey(rng):
    grey = np.repeat(rng.integers(0, 256, (2, 5, 5, 1)) / np.float32(255), 3, axis=-1)
    np.testing.assert_array_equal(metrics.colorfulness(grey), 0)
    red = np.zeros((1, 4, 4, 3), np.float32) + np.float32([1, 0, 0])
    np.testing.assert_allclose(metrics.colorfulness(red), 0.3 * np.hypot(255, 127.5), rtol=1e-6)


def test_colorfulness_keeps_the_sign_of_opponents():
    # Half red, half green: rg is ±255, with mean 0 and standard deviation 255.
    halves = np.zeros((1, 2, 2, 3), np.float32)
    halves[0, 0, :, 0] = halves[0, 1, :, 1] = 1
    np.testing.assert_allclose(metrics.colorfulness(halves), 255 + 0.3 * 127.5, rtol=1e-6)


def test_histogram_equals_that_of_numpy(rng):
    ab = rng.uniform(-109, 109, (*SHAPE, 2)).astype(np.float32)
    edges = np.arange(-110, 111, 10)
    for image, counts in zip(ab, metrics.ab_histogram(ab), strict=True):
        expected, _, _ = np.histogram2d(*image.reshape(-1, 2).T, bins=(edges, edges))
        np.testing.assert_array_equal(counts, expected)


def test_colours_beyond_the_edges_count_in_the_outermost_bins():
    ab = np.array([[[[-110, -1e30], [1e30, 110]]]], np.float32)
    counts = metrics.ab_histogram(ab)
    assert counts[0, 0, 0] == counts[0, -1, -1] == 1
    assert counts.sum() == 2


@pytest.mark.parametrize("function", [metrics.mse, metrics.color_error, metrics.threshold_loss])
def test_shapes_that_would_broadcast_are_refused(function, pair):
    ab, truth = pair
    with pytest.raises(AssertionError, match="shape"):
        function(ab, truth[:1])
    with pytest.raises(AssertionError, match="shape"):
        function(ab[0], truth[0])


def test_auc_equals_a_loop_over_all_thresholds_in_float64(pair):
    ab, truth = pair
    # Also far above the last threshold, and exactly on a threshold.
    ab[0, 0, 0] = truth[0, 0, 0] = 0
    ab[0, 0, 1], truth[0, 0, 1] = (90, -90), (-80, 80)
    ab[0, 0, 2], truth[0, 0, 2] = (6, 8), 0
    errors = np.sqrt(((ab.astype(np.float64) - truth) ** 2).sum(-1))
    within = np.asarray(metrics.pixel_auc(ab, truth))
    auc = 100 * np.mean(within, axis=(1, 2), dtype=np.float64)
    counts = np.asarray(metrics.error_counts(ab, truth))
    assert counts.shape == (3, 152)
    for n in range(SHAPE[0]):
        shares = [np.mean(errors[n] <= tau) for tau in range(151)]
        np.testing.assert_allclose(auc[n], 100 * np.mean(shares), rtol=1e-6)
        np.testing.assert_allclose(counts[n].cumsum()[:151] / counts[n].sum(), shares, rtol=1e-9)
    assert counts[0, 151] == 1  # above all thresholds


def test_sums_by_color_use_the_bins_of_the_histogram(pair, rng):
    ab, _ = pair
    values = rng.uniform(size=SHAPE).astype(np.float32)
    sums = np.asarray(metrics.sums_by_color(values, ab))
    counts = np.asarray(metrics.ab_histogram(ab)).reshape(SHAPE[0], -1)
    np.testing.assert_allclose(sums.sum(1), values.sum((1, 2)), rtol=1e-5)
    assert np.all((sums > 0) <= (counts > 0))
    edges = np.arange(-110, 111, 10)
    expected, _, _ = np.histogram2d(
        *ab[1].reshape(-1, 2).T, bins=(edges, edges), weights=values[1].ravel()
    )
    np.testing.assert_allclose(sums[1].reshape(22, 22), expected, rtol=1e-5, atol=1e-6)
    ones = metrics.sums_by_color(np.ones(SHAPE, np.float32), ab)
    np.testing.assert_array_equal(ones, counts)


def test_finer_histograms_add_up_to_the_coarse_one(pair):
    ab, _ = pair
    fine = np.asarray(metrics.ab_histogram(ab, 2))
    assert fine.shape == (3, 110, 110)
    coarse = fine.reshape(3, 22, 5, 22, 5).sum((2, 4))
    np.testing.assert_array_equal(coarse, metrics.ab_histogram(ab))


def test_psnr_equals_scikit_image_and_is_capped(rng):
    a = rng.integers(0, 256, (3, 16, 16, 3))
    b = np.clip(a + rng.integers(-20, 21, a.shape), 0, 255)
    computed = metrics.psnr((a / 255).astype(np.float32), (b / 255).astype(np.float32))
    expected = [
        peak_signal_noise_ratio(x.astype(np.uint8), y.astype(np.uint8))
        for x, y in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(computed, expected, rtol=1e-5)
    same = (a / 255).astype(np.float32)
    np.testing.assert_allclose(metrics.psnr(same, same), metrics.MAX_PSNR, rtol=1e-6)


def ssim_reference(a, b):
    return structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1,
        channel_axis=-1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def photos():
    """A photograph, and it with noise, blur and other colours: two [6, 48, 64, 3]."""
    rng = np.random.default_rng(0)
    photo = astronaut()[:96:2, 180:308:2] / 255
    noisy = np.clip(photo + rng.normal(0, 0.1, photo.shape), 0, 1)
    blurred = (photo + np.roll(photo, 1, 0) + np.roll(photo, 1, 1)) / 3
    grey = np.repeat(photo.mean(-1, keepdims=True), 3, -1)
    others = [noisy, blurred, grey, 1 - photo, rng.uniform(size=photo.shape), photo]
    return np.stack([photo] * len(others)), np.stack(others)


def test_ssim_equals_scikit_image(photos):
    first, second = photos
    expected = [ssim_reference(a, b) for a, b in zip(first, second, strict=True)]
    computed = metrics.ssim(first.astype(np.float32), second.astype(np.float32))
    np.testing.assert_allclose(computed, expected, rtol=0, atol=2e-5)
    # The pairs range from nearly unrelated to equal.
    assert min(expected) < 0.1
    assert computed[-1] == pytest.approx(1, abs=1e-6)


def test_ssim_of_flat_images_equals_scikit_image():
    a, b = (np.full((1, 16, 16, 3), value) for value in (0.2, 0.25))
    computed = metrics.ssim(a.astype(np.float32), b.astype(np.float32))
    np.testing.assert_allclose(computed, [ssim_reference(a[0], b[0])], atol=1e-5)


def test_ssim_of_images_smaller_than_the_window_is_refused():
    with pytest.raises(ValueError, match="at least 11 pixels, not 10"):
        metrics.ssim(np.zeros((1, 10, 32, 3), np.float32), np.zeros((1, 10, 32, 3), np.float32))
