"""The scripts of exported sites against the Python that they follow, in a real browser."""

import browsers
import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import colorjax
from colorjax.colorize.full_size import apply_coefficients, fit_coefficients
from colorjax.display import quantized
from colorjax.lab import clip_chroma, lab_to_rgb, lightness

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def host():
    with browsers.hosting(f"{colorjax.__path__[0]}/assets/site") as (url, _):
        yield url


@pytest.fixture(scope="module")
def browser(host, tmp_path_factory):
    with browsers.chromium(tmp_path_factory.mktemp("browser")) as chrome:
        chrome.get(host)
        yield chrome


@pytest.fixture
def call(browser, host):
    def of_module(name, expression, *values):
        values = [value.tolist() if isinstance(value, np.ndarray) else value for value in values]
        return browsers.call(browser, host + name, expression, *values)

    return of_module


def rgba(picture):
    return np.dstack([picture, np.full((*picture.shape[:2], 1), 255, np.uint8)]).reshape(-1)


def test_lightness_is_that_of_python(call):
    rgb = np.random.default_rng(0).integers(0, 256, (500, 3), np.uint8)
    rgb[:256] = np.arange(256)[:, None]
    found = call("lab.js", "values[0].map((rgb) => module.lightness(...rgb))", rgb)
    np.testing.assert_allclose(found, np.asarray(lightness(rgb))[:, 0], atol=1e-3)


def test_colours_are_those_of_python_to_within_a_level_and_lose_chroma_where_they_must(call):
    rng = np.random.default_rng(0)
    lab = rng.uniform([0, -110, -110], [100, 110, 110], (3000, 3)).astype(np.float32)
    expected = quantized(lab_to_rgb(clip_chroma(jnp.asarray(lab))), np.uint8)
    script = """values[0].map(([l, a, b]) => {
      const out = new Uint8ClampedArray(4);
      module.writeRgb(l, a, b, out, 1);
      return [...out];
    })"""
    found = np.array(call("lab.js", script, lab))
    assert (found[:, 0] == 0).all()
    difference = np.abs(found[:, 1:] - np.asarray(expected).astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


@pytest.mark.parametrize("size", [(40, 30), (61, 20), (60, 97), (61, 97), (80, 150)])
def test_pictures_are_resized_as_by_opencv(call, size):
    picture = np.random.default_rng(0).integers(0, 256, (97, 61, 3), np.uint8)
    way = cv2.INTER_AREA if size[0] <= 61 and size[1] <= 97 else cv2.INTER_CUBIC
    expected = cv2.resize(picture, size, interpolation=way)
    script = """(() => {
      const [pixels, width, height] = values;
      const read = (top, rows) => pixels.slice(4 * 61 * top, 4 * 61 * (top + rows));
      return [...module.resize(read, {width: 61, height: 97}, {width, height}, 20)];
    })()"""
    found = np.array(call("resize.js", script, rgba(picture), *size))
    found = found.reshape(expected.shape)
    np.testing.assert_allclose(found, expected.astype(int), atol=1)


@pytest.mark.parametrize("shape", [(40, 64), (123, 77), (9, 5)])
def test_guided_upsampling_is_that_of_python_to_within_a_level(call, shape):
    rng = np.random.default_rng(0)
    small = rng.uniform([0, -60, -60], [100, 60, 60], (20, 32, 3)).astype(np.float32)
    picture = rng.integers(0, 256, (*shape, 3), np.uint8)
    picture[0, 0], picture[1, 1] = 0, 255
    coefficients = 0.8 * fit_coefficients(small)
    expected = apply_coefficients(picture, coefficients, jax.devices()[0])
    script = """(() => {
      const [l, a, b, pixels, width, height] = values;
      const coefficients = module.fitCoefficients(
        Float32Array.from(l), [Float32Array.from(a), Float32Array.from(b)], 32, 20);
      const color = module.colorizer(coefficients, {width, height}, 0.8);
      const out = Uint8ClampedArray.from(pixels);
      const rows = Math.ceil(height / 2);
      color(out.subarray(0, 4 * width * rows), 0);
      color(out.subarray(4 * width * rows), rows);
      return [...out];
    })()"""
    channels = [small[..., i].reshape(-1) for i in range(3)]
    found = call("full_size.js", script, *channels, rgba(picture), shape[1], shape[0])
    found = np.array(found).reshape(*shape, 4)
    assert (found[..., 3] == 255).all()
    np.testing.assert_allclose(found[..., :3], expected.astype(int), atol=1)
