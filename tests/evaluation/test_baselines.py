import numpy as np
import pytest

from colorjax.display import displayed
from colorjax.evaluation import baselines, metrics

SHAPE = (4, 8, 6)


@pytest.fixture
def images():
    """Lightness [4, 8, 6, 1] and ab [4, 8, 6, 2], whose a* grows with it."""
    rng = np.random.default_rng(0)
    lightness = rng.uniform(20, 80, (*SHAPE, 1)).astype(np.float32)
    ab = np.concatenate([0.3 * lightness, rng.normal(8, 4, (*SHAPE, 1))], axis=-1)
    return lightness, ab.astype(np.float32)


def test_sums_equal_a_loop_in_float64(images):
    lightness, ab = images
    sums, counts = baselines.lightness_sums(lightness, ab)
    for n in range(SHAPE[0]):
        expected_sums, expected_counts = np.zeros((101, 2)), np.zeros(101, int)
        for level, colour in zip(
            np.round(lightness[n]).astype(int).ravel(), ab[n].reshape(-1, 2), strict=True
        ):
            expected_sums[level] += colour
            expected_counts[level] += 1
        np.testing.assert_allclose(sums[n], expected_sums, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(counts[n], expected_counts)


def test_lightness_out_of_range_counts_at_the_ends():
    lightness = np.array([-0.6, 0.4, 99.6, 100.7], np.float32).reshape(1, 2, 2, 1)
    _, counts = baselines.lightness_sums(lightness, np.zeros((1, 2, 2, 2), np.float32))
    assert counts[0, 0] == counts[0, 100] == 2


def test_baselines_predict_grey_the_mean_and_the_mean_of_each_lightness(images):
    lightness, ab = images
    parts = (
        baselines.lightness_sums(lightness[part], ab[part]) for part in (slice(1), slice(1, 4))
    )
    tables = baselines.baseline_tables(parts)
    assert tuple(tables) == baselines.BASELINES
    predictions = [np.asarray(baselines.by_lightness(t, lightness)) for t in tables.values()]
    grey, mean, by_lightness = predictions
    np.testing.assert_array_equal(grey, np.zeros_like(ab))
    everywhere = ab.reshape(-1, 2).mean(axis=0)
    np.testing.assert_allclose(mean, np.broadcast_to(everywhere, ab.shape), rtol=1e-5)
    levels = np.round(lightness[..., 0])
    for level in np.unique(levels):
        expected = ab[levels == level].mean(axis=0)
        got = by_lightness[levels == level]
        np.testing.assert_allclose(got, np.broadcast_to(expected, got.shape), rtol=1e-5)
    errors = [float(np.mean(metrics.mse(prediction, ab))) for prediction in predictions]
    assert errors == sorted(errors, reverse=True)


def test_an_empty_lightness_takes_the_nearest_colour():
    sums, counts = np.zeros((1, 101, 2)), np.zeros((1, 101))
    sums[0, [10, 20]], counts[0, [10, 20]] = [[30, 3], [80, 8]], [3, 4]
    table = baselines.baseline_tables([(sums, counts)])["mean colour for each lightness"]
    np.testing.assert_array_equal(table[[0, 10, 15]], [[10, 1]] * 3)
    np.testing.assert_array_equal(table[[16, 20, 100]], [[20, 2]] * 3)
    lightness = np.float32([[-3], [15.4], [15.6], [250]])
    predicted = baselines.by_lightness(table, lightness)
    np.testing.assert_array_equal(predicted, [[10, 1], [10, 1], [20, 2], [20, 2]])


def test_fitting_without_pixels_is_refused():
    with pytest.raises(ValueError, match="at least one training pixel"):
        baselines.baseline_tables([])


def shown_colorfulness(lightness, ab) -> float:
    return float(np.mean(metrics.colorfulness(displayed(lightness, ab)[0])))


@pytest.mark.parametrize("factor", [0.4, 1.0, 1.3, 2.5])
def test_saturation_factor_undoes_a_desaturation(images, factor):
    lightness, ab = images
    dull = ab / np.float32(factor)
    target = shown_colorfulness(lightness, ab)
    found = baselines.saturation_factor(lightness, dull, target)
    assert found == pytest.approx(factor, rel=5e-3)
    assert shown_colorfulness(lightness, np.float32(found) * dull) == pytest.approx(
        target, rel=1.5e-3
    )


def test_saturation_factor_stops_at_its_limits(images):
    lightness, ab = images
    assert baselines.saturation_factor(lightness, ab, 0.0) == 0
    assert baselines.saturation_factor(lightness, ab, 1e6) == 16
    assert baselines.saturation_factor(lightness, np.zeros_like(ab), 20.0) == 16
