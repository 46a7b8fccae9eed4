"""An exported site in a real browser, as any static host serves it."""

import io
import shutil
from functools import partial

import browsers
import numpy as np
import pytest
import support
from image_files import encoded
from PIL import Image
from random_models import IMAGE_SIZE, random_run
from waiting import wait

from colorjax import cli
from colorjax.colorize.colorizer import Colorizer
from colorjax.export import web_runtime
from colorjax.runs.weights import export_weights
from colorjax.terminal.errors import InputError

pytest.importorskip("onnx", reason="the extra `onnx` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run():
    return random_run()


@pytest.fixture(scope="module")
def site(run, tmp_path_factory):
    """The folder that the command writes."""
    try:
        web_runtime.runtime_files()
    except InputError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("site")
    weights = folder / "random.safetensors"
    export_weights(run, weights, "# random: a card\n\n**Use**: none.\n", "float32")
    with support.quick_compilation():
        flags = ("--format", "site", "--output", str(folder / "public"))
        assert cli.main(["export", str(weights), *flags]) == 0
    return folder / "public"


@pytest.fixture(scope="module")
def host(site):
    with browsers.hosting(site) as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def browser(folder):
    with browsers.chromium(folder) as chrome:
        yield chrome


@pytest.fixture
def page(browser, host):
    browsers.resize(browser, 1200)
    browsers.forget_logs(browser)
    browser.get(host[0])
    wait(lambda: browser.find_elements("css selector", "body.ready"))
    return browser


def picture(*shape, seed=0):
    smooth = np.random.default_rng(seed).integers(0, 256, (5, 7), np.uint8)
    return np.asarray(Image.fromarray(smooth).resize(shape[::-1], Image.Resampling.BICUBIC))


def coloured(page, folder, name, data):
    """The file that a person gets back."""
    browsers.drop(page, name, data)
    wait(lambda: page.find_elements("css selector", "[data-state=ready]"))
    page.find_element("id", "save").click()
    stem, _, ending = name.rpartition(".")
    path = folder / "downloads" / f"{stem}_coloured.{ending}"
    wait(path.exists)
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        path.unlink()
        return image.format, np.asarray(image.convert("RGB")).astype(int)


@pytest.mark.parametrize("shape", [(IMAGE_SIZE, IMAGE_SIZE), (96, IMAGE_SIZE), (IMAGE_SIZE, 117)])
def test_colours_are_pythons_to_within_two_levels(page, folder, run, shape):
    grey = picture(*shape)
    colorizer = Colorizer(run.predict, run.variables, IMAGE_SIZE)
    expected = colorizer(np.dstack(3 * [grey])).astype(int)
    assert np.ptp(expected, axis=-1).max() > 20
    kind, found = coloured(page, folder, "photo.png", encoded(grey))
    assert kind == "PNG"
    np.testing.assert_allclose(found, expected, atol=2)


def test_a_larger_picture_is_coloured_at_full_size_nearly_as_by_python(page, folder, run):
    grey = picture(300, 210)
    colorizer = Colorizer(run.predict, run.variables, IMAGE_SIZE)
    expected = colorizer(np.dstack(3 * [grey])).astype(int)
    _, found = coloured(page, folder, "large.png", encoded(grey))
    np.testing.assert_allclose(found, expected, atol=6)
    assert np.abs(found - expected).mean() < 0.5


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [(6, Image.Transpose.ROTATE_90), (8, Image.Transpose.ROTATE_270)],
)
def test_a_turned_photograph_comes_out_upright(page, folder, run, orientation, turned):
    grey = picture(96, IMAGE_SIZE)
    expected = Colorizer(run.predict, run.variables, IMAGE_SIZE)(np.dstack(3 * [grey]))
    exif = Image.Exif()
    exif[0x112] = orientation
    stored = encoded(Image.fromarray(grey).transpose(turned), "jpeg", quality=100, exif=exif)
    kind, found = coloured(page, folder, "turned.jpg", stored)
    assert kind == "JPEG"
    assert found.shape == expected.shape
    assert np.abs(found - expected.astype(int)).mean() < 4  # it is compressed again


def test_nothing_is_asked_of_another_host_and_cannot_be(page, host, folder):
    url, hosts = host
    coloured(page, folder, "photo.png", encoded(picture(IMAGE_SIZE, IMAGE_SIZE)))
    assert {f"http://{name}/" for name in hosts} == {url}
    urls = browsers.requested(page)
    assert any(address.endswith("model.json") for address in urls)
    assert [address for address in urls if not address.startswith((url, f"blob:{url}"))] == []
    assert page.get_log("browser") == []
    script = (
        "const done = arguments[0];"
        "fetch('http://127.0.0.1:9/').then(() => done('sent'), () => done('refused'));"
    )
    assert page.execute_async_script(script) == "refused"
    assert any("Content Security Policy" in entry["message"] for entry in page.get_log("browser"))


def test_a_file_that_is_no_picture_is_named_and_the_next_one_is_coloured(page, folder):
    browsers.drop(page, "letter.txt", b"dear")
    wait(lambda: page.find_elements("css selector", "[data-state=failed]"))
    badge = page.find_element("id", "badge").get_attribute("textContent")
    assert "cannot read the file" in badge
    browsers.drop(page, "photo.png", encoded(picture(70, 80)))
    wait(lambda: page.find_elements("css selector", "[data-state=ready]"))


def test_what_is_transparent_is_white_where_it_is_shown_and_transparent_in_the_file(page, folder):
    grey = np.dstack([np.full((70, 80), 90, np.uint8), np.zeros((70, 80), np.uint8)])
    browsers.drop(page, "cut.png", encoded(grey))
    wait(lambda: page.find_elements("css selector", "[data-state=ready]"))
    wait(lambda: page.find_elements("css selector", "img.after[src]"))
    script = """const done = arguments[0], image = document.querySelector(".after");
      const context = new OffscreenCanvas(1, 1).getContext("2d");
      image.decode().then(() => context.drawImage(image, 0, 0))
        .then(() => done([...context.getImageData(0, 0, 1, 1).data]), (e) => done(String(e)));"""
    assert page.execute_async_script(script) == [255, 255, 255, 255]
    page.find_element("id", "save").click()
    path = folder / "downloads/cut_coloured.png"
    wait(path.exists)
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        assert image.getchannel("A").getextrema() == (0, 0)


def test_a_worker_that_cannot_be_loaded_is_said_for_every_photograph(browser, site, tmp_path):
    broken = shutil.copytree(site, tmp_path / "broken")
    (broken / "static/worker.js").write_text("import './missing.js';")
    with browsers.hosting(broken) as (url, _):
        browser.get(url)
        wait(lambda: browser.find_elements("css selector", "body.ready"))
        for name, failed in (("1.png", "li:nth-child(1)"), ("2.png", "li:nth-child(2)")):
            browsers.drop(browser, name, encoded(picture(70, 80)))
            wait(partial(browser.find_elements, "css selector", f"{failed}[data-state=failed]"))
            label = browser.find_element("css selector", f"{failed} .frame")
            line = f"{name}: The model could not be started in this browser."
            assert label.get_attribute("aria-label") == line


def test_opened_as_a_file_the_page_says_what_it_needs(browser, site):
    browser.get((site / "index.html").as_uri())
    line = browser.find_element("id", "needs-script")
    wait(line.is_displayed)
    assert "python -m http.server" in line.text
    wait(lambda: not browser.find_element("id", "choose").is_displayed())
