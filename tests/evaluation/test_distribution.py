"""The judgement of distributions, compared with NumPy, SciPy and scikit-image."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import support
from scipy.spatial import KDTree
from skimage.color import deltaE_ciede2000, lab2rgb, rgb2lab

from colorjax.evaluation import distribution
from colorjax.evaluation.distribution import COUNTS, LEVELS
from colorjax.models import answers
from colorjax.models.color_bins import Distribution, centers
from colorjax.models.layers import Prediction

SIDE = 8


@pytest.fixture(autouse=True, scope="module")
def _quick_compilation():
    with support.quick_compilation():
        yield


def images(count=3, seed=0):
    """Blocks of 4 × 4 pixels in different colours, with noise."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(80, 176, (count, SIDE // 4, SIDE // 4, 3))
    noise = rng.integers(-40, 40, (count, SIDE, SIDE, 3))
    return np.clip(blocks.repeat(4, 1).repeat(4, 2) + noise, 0, 255).astype(np.uint8)


def prediction(count=3, seed=1, spread=2.0):
    rng = np.random.default_rng(seed)
    logits = spread * rng.normal(size=(count, SIDE // 4, SIDE // 4, len(centers())))
    logits -= (centers() ** 2).sum(-1) / (2 * 50**2)
    weights = rng.uniform(0.3, 4, len(centers()))
    ab = 0.1 * rng.normal(size=(count, SIDE, SIDE, 2))
    return Prediction(
        jnp.float32(ab), Distribution(jnp.float32(logits), jnp.asarray(weights, jnp.float32))
    )


def softmax(x):
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def probabilities(of):
    logits, weights = (np.asarray(x, np.float64) for x in of.distribution)
    return softmax(logits - np.log(weights))


def averaged(image):
    """a*b* averaged over 4 × 4 pixels."""
    ab = rgb2lab(image / 255)[..., 1:]
    return np.stack([
        [ab[4 * y : 4 * y + 4, 4 * x : 4 * x + 4].mean((0, 1)) for x in range(SIDE // 4)]
        for y in range(SIDE // 4)
    ])  # fmt: skip


def test_coverage_equals_explicit_sets_of_colours():
    seen, of = images(12), prediction(12, spread=1.0)
    found = jax.jit(distribution.calibration_step)(of, {"image": seen})
    summary = distribution.calibration({key: np.asarray(value) for key, value in found.items()})
    covered, shares = np.zeros((2, len(LEVELS)))
    for image, p_image in zip(seen, probabilities(of), strict=True):
        _, truth = KDTree(centers()).query(averaged(image))
        for bin_, p in zip(truth.ravel(), p_image.reshape(-1, len(centers())), strict=True):
            order = np.argsort(-p)
            for i, level in enumerate(LEVELS):
                # The shortest beginning of the sorted colours that reaches the level.
                size = next(n for n in range(1, len(p) + 1) if p[order[:n]].sum() >= level)
                covered[i] += bin_ in order[:size]
                shares[i] += p[order[:size]].sum()
    pixels = len(seen) * (SIDE // 4) ** 2
    np.testing.assert_allclose(summary["coverage"], covered / pixels, atol=1e-9)
    np.testing.assert_allclose(summary["probability"], shares / pixels, rtol=1e-5)
    assert 0.1 < summary["coverage"][4] < summary["coverage"][-1] < 1, summary


def test_uncertainty_and_error_are_distances_from_the_mean_colour():
    seen, of = images(), prediction()
    found = jax.jit(distribution.calibration_step)(of, {"image": seen})
    p, bins = probabilities(of), centers().astype(np.float64)
    truth = np.stack([averaged(image) for image in seen])
    np.testing.assert_allclose(
        found["error"], np.linalg.norm(truth - p @ bins, axis=-1), rtol=1e-3, atol=1e-3
    )
    np.testing.assert_allclose(found["uncertainty"], answers.uncertainty(of), rtol=1e-6)


def test_the_coverage_of_the_distribution_that_truths_are_drawn_from_is_its_probability():
    """The same for the error of a group of pixels and its uncertainty."""
    rng, of = np.random.default_rng(2), prediction(count=1)
    p = probabilities(of)[0, 0, 0]
    drawn = rng.choice(len(p), size=40_000, p=p)
    order = np.argsort(-p)
    before = np.cumsum(p[order]) - p[order]
    likelier = np.empty_like(p)
    likelier[order] = before
    # Anywhere in the bin, as the uncertainty has it.
    colors = centers()[drawn] + rng.uniform(-5, 5, (len(drawn), 2))
    found = distribution.calibration({
        "likelier": likelier[drawn],
        "uncertainty": np.full(len(drawn), float(answers.uncertainty(of)[0, 0, 0])),
        "error": np.linalg.norm(colors - p @ centers(), axis=-1),
        "sets": np.array([[p[order][before < level].sum() for level in LEVELS]]),
    })  # fmt: skip
    np.testing.assert_allclose(found["coverage"], found["probability"], atol=0.01)
    # With many colours, that is the level.
    assert found["coverage"][4] == pytest.approx(0.5, abs=0.05)
    for group in found["by_uncertainty"]:
        assert group["error"] == pytest.approx(group["uncertainty"], rel=0.05)
        assert group["coverage_90%"] == pytest.approx(0.9, abs=0.05)


def shown_difference(image, ab):
    """ΔE00 by scikit-image."""
    lab = rgb2lab(image / 255)
    rgb = lab2rgb(np.concatenate([lab[..., :1], ab], -1))
    shown = np.round(255 * np.clip(rgb, 0, 1)) / 255
    return deltaE_ciede2000(rgb2lab(shown), lab).mean()


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")
def test_the_best_of_several_answers_is_that_of_a_search():
    seen, of = images(), prediction(spread=3.0)
    forms = [(1.0, 8.0), (1.5, 8.0), (1.0, 20.0)]
    step = jax.jit(partial(distribution.best_of_step, temperature=0.5))
    found = step(jnp.float32(forms), of, {"image": seen})
    candidates, jitter = np.asarray(found["candidates"]), np.asarray(found["jitter"])
    summary = distribution.best_of(candidates, jitter, forms)
    colors = np.asarray(answers.candidates(of, COUNTS[-1], 0.5))
    angles = np.pi * (3 - np.sqrt(5)) * np.arange(COUNTS[-1])
    towards = np.stack([np.cos(angles), np.sin(angles)], -1)
    towards[0] = 0
    expected = {key: [] for key in ("candidates", *forms)}
    for i, image in enumerate(seen):
        expected["candidates"].append([shown_difference(image, ab[i]) for ab in colors])
        for factor, move in forms:
            ab = 110 * factor * np.asarray(of.ab[i])
            jittered = [shown_difference(image, ab + move * one) for one in towards]
            expected[factor, move].append(jittered)
    best_form = summary["jitter_factor"], summary["jitter_move"]
    for j, count in enumerate(COUNTS):
        best = {key: np.array(of)[:, :count].min(1).mean() for key, of in expected.items()}
        assert summary["candidates"][j] == pytest.approx(best["candidates"], rel=2e-3)
        assert summary["jitter"][j] == pytest.approx(best[best_form], rel=2e-3)
    for key in ("candidates", "jitter"):
        assert summary[key] == sorted(summary[key], reverse=True)
    assert summary["jitter"][-1] == min(
        distribution.best_of(candidates, jitter[:, [i]], [form])["jitter"][-1]
        for i, form in enumerate(forms)
    )


def test_more_candidates_begin_with_fewer():
    of = prediction()
    np.testing.assert_allclose(
        answers.candidates(of, 8)[:3], answers.candidates(of, 3), rtol=1e-5, atol=1e-4
    )
