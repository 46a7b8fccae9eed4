"""The report in a real browser: the slider, no requests, and widths from phone to desktop."""

import base64
import io

import browsers
import numpy as np
import pytest
import support
from PIL import Image

pytestmark = pytest.mark.slow
# In the menus: grey, the GAN, its regression, the truth.
TRUTH = 3


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with browsers.chromium(tmp_path_factory.mktemp("browser")) as chrome:
        yield chrome


@pytest.fixture(scope="module")
def path():
    return support.trained("small_gan") / "report" / "report.html"


@pytest.fixture
def page(browser, path):
    """The page, 1200 pixels wide, just opened."""
    browsers.resize(browser, 1200)
    browsers.forget_logs(browser)
    browser.get(path.as_uri())
    return browser


def _element(page, identity):
    return page.find_element("id", identity)


def _shown(page):
    """How much of the left image the browser shows, in percent."""
    script = "return getComputedStyle(document.getElementById('over')).clipPath"
    right = page.execute_script(script).removeprefix("inset(").split()[1]
    width = _element(page, "over").size["width"]
    covered = float(right.removesuffix("%").removesuffix("px"))
    return round(100 - (covered if right.endswith("%") else 100 * covered / width))


def _pixels(page):
    """The slider's image on the screen, without its round corners and the handle."""
    data = io.BytesIO(_element(page, "compare").screenshot_as_png)
    return np.asarray(Image.open(data).convert("RGB")).astype(int)[12:100]


def _set(page, value):
    script = (
        "const at = document.getElementById('at'); at.value = arguments[0];"
        "at.dispatchEvent(new Event('input'));"
    )
    page.execute_script(script, value)


def _choose(page, identity, index):
    page.find_elements("css selector", f"#{identity} option")[index].click()


def _is_grey(pixels):
    return np.ptp(pixels, axis=-1).max() <= 2


def test_a_mouse_moves_the_slider_and_the_image_changes(page):
    from selenium.webdriver import ActionChains

    assert _shown(page) == 50
    compare = _element(page, "compare")
    _choose(page, "right", TRUTH)
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", compare)
    half = _pixels(page)
    width = half.shape[1]
    left, right = half[:, : width // 2 - 12], half[:, width // 2 + 12 :]
    assert _is_grey(left)
    assert not _is_grey(right)
    chain = ActionChains(page).move_to_element(compare).click_and_hold()
    chain.move_by_offset(-width // 4, 0).release().perform()
    assert 20 <= _shown(page) <= 30
    moved = _pixels(page)
    assert not _is_grey(moved[:, int(0.35 * width) : int(0.45 * width)])
    assert _is_grey(moved[:, : int(0.15 * width)])


def test_a_finger_moves_the_slider(page):
    compare = _element(page, "compare")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", compare)
    box = page.execute_script("return arguments[0].getBoundingClientRect().toJSON()", compare)
    page.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    y = box["y"] + box["height"] / 2
    for kind, share in (
        ("touchStart", 0.5),
        ("touchMove", 0.6),
        ("touchMove", 0.75),
        ("touchEnd", None),
    ):
        points = [] if share is None else [{"x": box["x"] + share * box["width"], "y": y}]
        page.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    page.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
    assert 70 <= _shown(page) <= 80


def test_keys_move_the_slider(page):
    from selenium.webdriver.common.keys import Keys

    at = _element(page, "at")
    at.send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert _shown(page) == 48
    at.send_keys(Keys.END)
    assert _shown(page) == 100
    at.send_keys(Keys.HOME)
    assert _shown(page) == 0
    assert at.get_attribute("aria-valuetext") == "0% grey"
    assert at.get_attribute("aria-label")


def test_the_ends_show_one_image_each_and_other_images_can_be_chosen(page):
    _choose(page, "right", TRUTH)
    _set(page, 0)
    first = _pixels(page)[:, 20:]
    _set(page, 100)
    assert _is_grey(_pixels(page)[:, :-20])
    _choose(page, "left", TRUTH)
    _choose(page, "right", 0)
    np.testing.assert_allclose(_pixels(page)[:, 20:-20], first[:, :-20], atol=2)
    _choose(page, "row", 1)
    assert np.abs(_pixels(page)[:, 20:-20] - first[:, :-20]).mean() > 3
    names = [_element(page, side).get_attribute("alt") for side in ("over", "under")]
    assert names[0].endswith(", truth")
    assert names[1].endswith(", grey")


def test_the_page_makes_no_requests_and_logs_no_errors(page, path):
    _choose(page, "row", 1)
    _set(page, 30)
    sent = browsers.requested(page)
    assert sent[0] == path.as_uri()
    assert all(url.startswith("data:") for url in sent[1:]), [url[:80] for url in sent]
    # A script cannot make requests either.
    script = (
        "const done = arguments[0];"
        "fetch('http://127.0.0.1:9/').then(() => done('sent'), (error) => done('refused'));"
    )
    assert page.get_log("browser") == []
    assert page.execute_async_script(script) == "refused"
    assert any("Content Security Policy" in entry["message"] for entry in page.get_log("browser"))


@pytest.mark.parametrize("width", [320, 390, 1200])
def test_the_page_is_not_wider_than_the_screen_and_its_tables_scroll(page, width):
    browsers.resize(page, width)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    for picture in page.find_elements("css selector", "figure img"):
        assert picture.size["width"] <= width
        assert page.execute_script("return arguments[0].naturalWidth", picture) > 100
    table = page.find_element("css selector", ".scroll")
    assert table.get_attribute("tabindex") == "0"
    shown = page.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    assert np.asarray(Image.open(io.BytesIO(base64.b64decode(shown["data"])))).std() > 5
