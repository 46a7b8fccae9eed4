"""The page: what a person says to the model, and what it answers."""

import threading
import time

import browsers
import numpy as np
import pytest
from browsers import drag
from image_files import encoded
from pages import decoded, photo
from PIL import Image
from waiting import wait

from colorjax.serve.pictures import Picture

pytestmark = pytest.mark.slow
COLOR = "#3366cc"
GREY, WHITE = 70, 255


def marked(size, at, orientation=1):
    """A grey JPEG with a white square whose middle is the pixel `at`, of the upright picture."""
    picture = np.full((*size[::-1], 3), GREY, np.uint8)
    picture[at[1] - 2 : at[1] + 3, at[0] - 2 : at[0] + 3] = WHITE
    turned = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}[orientation]
    image = Image.fromarray(picture)
    image = image if turned is None else image.transpose(turned)
    exif = Image.Exif()
    exif[0x112] = orientation
    return encoded(image, "jpeg", quality=100, subsampling=0, exif=exif)


@pytest.mark.parametrize("wheel", [0, -600])
@pytest.mark.parametrize(
    ("size", "orientation"), [((60, 90), 1), ((90, 60), 1), ((60, 90), 6), ((90, 60), 3)]
)
def test_a_dot_lands_under_the_mouse(page, size, orientation, wheel):
    at = size[0] // 3, size[1] // 4
    browsers.drop(page.browser, "marked.jpg", marked(size, at, orientation))
    page.done()
    page.set("#color", COLOR)
    assert page.shown() == 1
    page.run("document.querySelector('.divider').style.visibility = 'hidden'")
    if wheel:
        place = [round(value) for value in page.at(0.4, 0.3)]
        shares = page.shares(*place)
        width = page.box(".picture")[2]
        browsers.mouse(page.browser, "Wheel", *place, deltaX=0, deltaY=wheel)
        wait(lambda: page.box(".picture")[2] > 2 * width)
        assert page.at(*shares) == pytest.approx(place, abs=0.1)
    left, top, width, height = (round(value) for value in page.box(".stage"))
    stage = browsers.screenshot(page.browser)[top : top + height, left : left + width]
    rows, columns = np.nonzero(stage.min(axis=-1) > 235)
    drag(page.browser, (left + columns.mean() + 0.5, top + rows.mean() + 0.5))
    assert page.hints(2) == [[*at, COLOR]]


def test_a_stroke_is_sampled_undone_redone_erased_and_cleared(page):
    browsers.drop(page.browser, "photo.png", photo(size=(96, 72)))
    page.done()
    page.set("#color", COLOR)
    drag(page.browser, *(page.at(share, 0.507) for share in (0.205, 0.5, 0.805)))
    stroke = page.hints(2)
    columns = [x for x, _, _ in stroke]
    assert {(y, color) for _, y, color in stroke} == {(36, COLOR)}
    assert columns[0] == 19
    assert 75 <= columns[-1] <= 77
    assert set(np.diff(columns)) <= {1, 2}
    page.click("#undo")
    assert page.hints(3) == []
    assert page.one("#redo").is_enabled()
    assert not page.one("#undo").is_enabled()
    page.run("arguments[0].focus()", page.one("#stage"))
    page.one("#stage").send_keys("\ue009\ue008z")  # Control, Shift
    assert page.hints(4) == stroke
    page.click("button[data-tool=erase]")
    drag(page.browser, page.at(0.5, 0.4), page.at(0.5, 0.6))
    kept = page.hints(5)
    assert [hint for hint in stroke if hint in kept] == kept
    lost = [x for x in columns if x not in [x for x, _, _ in kept]]
    assert 0 < len(lost) < 6
    assert abs(np.mean(lost) - 48) < 1.5
    page.click("#clear")
    assert page.hints(6) == []
    assert not page.one("#clear").is_enabled()


def test_the_models_colours_for_a_place_are_swatches_and_one_becomes_the_hint(page, server):
    data = photo(size=(96, 72))
    browsers.drop(page.browser, "photo.png", data)
    page.done()
    page.click("button[data-tool=brush]")
    drag(page.browser, page.at(0.505, 0.255))
    swatches = wait(lambda: page.all(".swatches button"))
    expected = server.send("/api/suggest", data, x=48, y=18).json()["colors"]
    assert [swatch.get_attribute("data-color") for swatch in swatches] == [
        one["color"] for one in expected
    ]
    # Nobody has chosen a colour yet: nothing is painted before.
    assert len(page.posted("preview")) == 1
    swatches[1].click()
    assert page.hints(2) == [[48, 18, expected[1]["color"]]]
    assert page.all(".palette:not([hidden])") == []
    # From now on the brush has that colour, and the swatches are those without the new dot.
    drag(page.browser, page.at(0.2, 0.2))
    assert page.hints(3)[1] == [19, 14, expected[1]["color"]]
    wait(lambda: len(page.posted("suggest")) == 2)
    assert page.posted("suggest")[1]["hints"] == page.hints(2)
    page.click(".palette .close")
    assert page.run("return document.activeElement.id") == "stage"


def test_versions_are_side_by_side_and_the_chosen_one_is_shown(page, server):
    data = photo()
    browsers.drop(page.browser, "photo.png", data)
    page.done()
    page.click("#versions")
    tiles = wait(lambda: page.all(".versions button:enabled"))
    assert [tile.text for tile in tiles] == ["The answer", "Version 1", "Version 2", "Version 3"]
    sources = {tile.find_element("tag name", "img").get_attribute("src") for tile in tiles}
    assert len(sources) == 4
    tiles[2].click()
    wait(lambda: len(page.posted("preview")) == 2)
    page.drawn()
    assert page.posted("preview")[1]["candidate"] == 2
    path = server.open(data)
    look = {"candidate": 2}
    expected = decoded(server.post(f"{path}/preview", look).content)
    np.testing.assert_allclose(page.pixels(".after"), expected, atol=4)  # two JPEG decoders
    page.click("#reset")
    wait(lambda: len(page.posted("preview")) == 3)
    assert page.posted("preview")[2]["candidate"] == 0


def test_how_sure_is_laid_over_the_picture(page, server):
    data = photo()
    browsers.drop(page.browser, "photo.png", data)
    page.done()
    page.click("#unsure")
    wait(lambda: page.all(".stage.doubting .unsure[src]"))
    path = server.open(data)
    expected = decoded(server.post(f"{path}/uncertainty", {}).content)
    np.testing.assert_allclose(page.pixels(".unsure")[..., 3], expected[..., 3], atol=1)
    # Anew for other hints, and for another photograph as soon as it has colours.
    page.set("#color", COLOR)
    drag(page.browser, page.at(0.4, 0.4))
    wait(lambda: len(page.posted("uncertainty")) == 2)
    assert page.posted("uncertainty")[1]["hints"] == page.hints(2)
    browsers.drop(page.browser, "other.png", photo(1))
    page.all(".frame")[1].click()
    page.done(2)
    wait(lambda: page.all(".stage.doubting .unsure[src]"))
    assert len(page.posted("uncertainty")) == 3
    page.click("#unsure")
    assert page.all(".stage.doubting") == []


def test_of_many_changes_the_last_wins_and_those_between_are_not_computed(
    page, server, monkeypatch
):
    data = photo()
    browsers.drop(page.browser, "photo.png", data)
    page.done()
    computed, go, coloured = [], threading.Event(), Picture.coloured

    def slow(picture, look, colorizer):
        computed.append(look.saturation)
        go.wait(120)
        return coloured(picture, look, colorizer)

    with monkeypatch.context() as patch:
        patch.setattr(Picture, "coloured", slow)
        page.set("#saturation", 0.1)
        wait(lambda: computed)
        for value in np.arange(0.2, 1.95, 0.1):
            page.set("#saturation", f"{value:.1f}")
        wait(lambda: page.posted("preview")[-1]["saturation"] == 1.9)
        wait(lambda: server.service.queue.state(())["waiting"] == 1)
        go.set()
        page.drawn()
    assert (computed[0], computed[-1]) == (0.1, 1.9)
    assert len(computed) <= 3  # the server may hear of the last one late
    path = server.open(data)
    last = decoded(server.post(f"{path}/preview", {"saturation": 1.9}).content)
    np.testing.assert_allclose(page.pixels(".after"), last, atol=4)


def test_the_keyboard_alone_paints_and_zooms(page):
    browsers.drop(page.browser, "photo.png", photo(size=(96, 72)))
    page.done()
    stage = page.one("#stage")
    page.run("arguments[0].focus()", stage)
    width = page.box(".picture")[2]
    stage.send_keys("+")
    assert page.box(".picture")[2] == pytest.approx(1.5 * width, rel=0.01)
    stage.send_keys("0")
    assert page.box(".picture")[2] == pytest.approx(width, rel=0.01)
    page.set("#color", COLOR)
    stage.send_keys("b\ue007")  # Enter: in the middle
    assert page.hints(2) == [[48, 36, COLOR]]
    stage.send_keys("?")
    assert page.run("return document.getElementById('shortcuts').open")


def test_two_fingers_zoom_a_drag_pans_and_a_double_click_shows_all_again(page):
    browsers.drop(page.browser, "photo.png", photo(size=(96, 72)))
    page.done()
    width = page.box(".picture")[2]
    left, right = page.at(0.45, 0.5), page.at(0.55, 0.5)
    middle = [round((left[0] + right[0]) / 2), round(left[1])]
    page.browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    for kind, gap in (("Start", 60), ("Move", 90), ("Move", 150), ("End", None)):
        x, y = middle
        places = [] if gap is None else [(x - gap, y), (x + gap, y)]
        points = [{"x": x, "y": y, "id": index} for index, (x, y) in enumerate(places)]
        event = {"type": f"touch{kind}", "touchPoints": points}
        page.browser.execute_cdp_cmd("Input.dispatchTouchEvent", event)
    page.browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
    zoomed = page.box(".picture")
    assert zoomed[2] / width == pytest.approx(150 / 60, rel=0.05)
    place = [round(value) for value in page.at(0.6, 0.6)]
    drag(page.browser, place, [place[0] - 40, place[1] - 30])
    assert page.box(".picture")[:2] == pytest.approx([zoomed[0] - 40, zoomed[1] - 30], abs=1)
    now = time.time()
    browsers.mouse(page.browser, "Moved", *middle)
    for seconds in (0, 0.1):  # however long the browser's driver takes
        for kind in ("Pressed", "Released"):
            browsers.mouse(page.browser, kind, *middle, timestamp=now + seconds)
    assert page.box(".picture")[2] == pytest.approx(width, abs=1)
