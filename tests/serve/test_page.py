"""The page of `colorjax serve` in a real browser, against the real server with a tiny model."""

import base64
import io
import json
import threading
import zipfile

import browsers
import numpy as np
import pytest
import served
from browsers import drag, wait
from image_files import encoded
from PIL import Image

from colorjax import cli
from colorjax.serve.limits import Refusal
from colorjax.serve.pictures import Picture
from colorjax.serve.server import page_assets

pytestmark = pytest.mark.slow
COLOR = "#3366cc"
GREY, WHITE = 70, 255


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(served, "ASSETS", page_assets())
        with served.served(tmp_path_factory.mktemp("model")) as client:
            yield client


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def browser(folder):
    with browsers.chromium(folder) as chrome:
        dark = [{"name": "prefers-color-scheme", "value": "dark"}]
        chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": dark})
        yield chrome


@pytest.fixture
def page(browser, server):
    """The page, just opened; in the end nothing may have been asked of another host."""
    browsers.resize(browser, 1200)
    browsers.forget_logs(browser)
    yield Page(browser, server.url)
    urls = browsers.requested(browser)
    assert [url for url in urls if not url.startswith((server.url, "blob:", "data:"))] == []
    assert [entry for entry in browser.get_log("browser") if "Security" in entry["message"]] == []


class Page:
    """What a person does on the page, and sees."""

    def __init__(self, browser, url):
        self.browser, self.sent = browser, []
        browser.get(url)
        wait(lambda: self.all("body.ready"))

    def all(self, selector):
        return self.browser.find_elements("css selector", selector)

    def one(self, selector):
        (found,) = self.all(selector)
        return found

    def run(self, script, *values):
        return self.browser.execute_script(script, *values)

    def click(self, selector):
        self.run("arguments[0].click()", self.one(selector))

    def set(self, selector, value):
        script = """const [input, value] = arguments; input.value = value;
          for (const kind of ["input", "change"]) input.dispatchEvent(new Event(kind));"""
        self.run(script, self.one(selector), value)

    def choose(self, *paths):
        self.one("#files").send_keys("\n".join(map(str, paths)))

    def done(self, count=1):
        """Waits until so many photographs are coloured or have failed."""
        wait(lambda: len(self.all("[data-state=ready], [data-state=failed]")) == count)
        self.drawn()

    def drawn(self):
        """Waits until the image of the last preview is shown."""
        script = """const after = document.querySelector(".after");
          return after.complete && document.querySelector(".frame[aria-current=true] img").src
            === after.src"""
        wait(lambda: not self.all("[data-state=coloring]") and self.run(script))

    def labels(self):
        """What the frames of the film strip say."""
        return [frame.get_attribute("aria-label") for frame in self.all(".frame")]

    def posted(self, what):
        """The bodies of all requests of this kind."""
        self.sent += browsers.requests(self.browser)
        return [
            json.loads(request["postData"])
            for request in self.sent
            if request["method"] == "POST" and request["url"].endswith(f"/{what}")
        ]

    def hints(self, count):
        """The hints of the request for a preview with this number in order."""
        return wait(lambda: len(self.posted("preview")) >= count) and self.posted("preview")[
            count - 1
        ].get("hints")

    def box(self, selector):
        """Left, top, width and height on the screen."""
        found = self.run("return arguments[0].getBoundingClientRect()", self.one(selector))
        return [found[key] for key in ("left", "top", "width", "height")]

    def at(self, x, y):
        """A place on the screen, given as shares of the picture."""
        left, top, width, height = self.box(".picture")
        return left + x * width, top + y * height

    def shares(self, x, y):
        """The inverse of `at`."""
        left, top, width, height = self.box(".picture")
        return (x - left) / width, (y - top) / height

    def shown(self):
        """The share of the picture that is in colour."""
        clip = self.run("return document.querySelector('.after').style.clipPath")
        return 1 - float(clip.rstrip("%)").rpartition(" ")[2]) / 100

    def pixels(self, selector):
        """[height, width, 4] int, of a shown image."""
        script = """const image = document.querySelector(arguments[0]);
          const { naturalWidth: width, naturalHeight: height } = image;
          const canvas = Object.assign(document.createElement("canvas"), { width, height });
          canvas.getContext("2d").drawImage(image, 0, 0);
          return canvas.toDataURL();"""
        url = wait(lambda: self.run(script, selector))
        return decoded(base64.b64decode(url.partition(",")[2]))


def decoded(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGBA")).astype(int)


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


def photo(seed=0, size=(64, 48), format="png", **options):
    smooth = np.random.default_rng(seed).integers(0, 256, (6, 8), np.uint8)
    return encoded(
        Image.fromarray(smooth).resize(size, Image.Resampling.BICUBIC), format, **options
    )


def saved(folder, name):
    path = folder / "downloads" / name
    wait(path.exists)
    data = path.read_bytes()
    path.unlink()
    return data


def test_photographs_come_by_dialog_and_drop_and_what_is_none_is_named(page, tmp_path):
    (tmp_path / "one.png").write_bytes(photo())
    (tmp_path / "letter.txt").write_text("dear")
    page.choose(tmp_path / "one.png", tmp_path / "letter.txt")
    page.done(2)
    browsers.drop(page.browser, "two.jpg", photo(1, format="jpeg"))
    page.done(3)
    states = [frame.get_attribute("data-state") for frame in page.all(".strip li")]
    assert states == ["ready", "failed", "ready"]
    labels = page.labels()
    assert labels[::2] == ["one.png", "two.jpg"]
    assert labels[1].startswith("letter.txt: the photograph is not an image")
    page.all(".frame")[1].click()
    assert "not an image" in page.one("#badge").get_attribute("textContent")
    assert not page.one("#save").is_enabled()
    page.click(".strip li:nth-child(2) .remove")
    assert [frame.get_attribute("title") for frame in page.all(".frame")] == ["one.png", "two.jpg"]


def test_the_divider_follows_the_mouse_and_keys_and_asks_the_server_nothing(page):
    browsers.drop(page.browser, "photo.png", photo())
    page.done()
    assert page.shown() == pytest.approx(0.5, abs=0.01)
    before = len(page.posted("preview"))
    drag(page.browser, page.at(0.5, 0.5), page.at(0.4, 0.5), page.at(0.2, 0.6))
    assert page.shown() == pytest.approx(0.8, abs=0.01)
    pixels = browsers.screenshot(page.browser)
    rows = slice(*(int(page.at(0, share)[1]) for share in (0.1, 0.3)))

    def colourfulness(*shares):
        columns = slice(*(int(page.at(share, 0)[0]) for share in shares))
        return np.ptp(pixels[rows, columns], axis=-1).mean()

    assert colourfulness(0.02, 0.15) < 1
    assert colourfulness(0.25, 0.95) > 3
    page.one("#divide").send_keys("\ue010")  # End
    assert page.shown() == 0
    assert page.one("#divide").get_attribute("aria-valuetext") == "0% in colour"
    assert len(page.posted("preview")) == before


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
    # From now on the brush has that colour.
    drag(page.browser, page.at(0.2, 0.2))
    assert page.hints(3)[1] == [19, 14, expected[1]["color"]]


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


def test_downloads_are_the_commands_files_byte_for_byte(page, server, folder, tmp_path):
    exif = Image.Exif()
    exif[0x10F], exif[0x112] = "a camera", 6
    sources = {
        "one.jpg": photo(size=(64, 48), format="jpeg", exif=exif),
        "two.png": photo(1, size=(40, 70)),
    }
    for name, data in sources.items():
        (tmp_path / name).write_bytes(data)
    page.choose(*(tmp_path / name for name in sources))
    page.done(2)
    page.set("#saturation", 1.5)
    page.set("#color", COLOR)
    drag(page.browser, page.at(0.4, 0.4), page.at(0.6, 0.5))
    page.drawn()
    hints = page.posted("preview")[-1]["hints"]
    (tmp_path / "hints.json").write_text(json.dumps(hints))

    def command(name, *flags):
        output = tmp_path / f"expected-{name}"
        flags = ("--output", output, "--model", server.model, *flags)
        assert cli.main(["colorize", str(tmp_path / name), *map(str, flags)]) == 0
        return output.read_bytes()

    first = command("one.jpg", "--saturation", 1.5, "--hints", tmp_path / "hints.json")
    page.click("#save")
    assert saved(folder, "one_coloured.jpg") == first
    page.click("#archive")
    (tmp_path / "all.zip").write_bytes(saved(folder, "coloured.zip"))
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert archive.read("one_coloured.jpg") == first
        assert archive.read("two_coloured.png") == command("two.png")


def test_a_picture_that_the_server_has_forgotten_is_handed_over_again(page, server):
    browsers.drop(page.browser, "photo.png", photo())
    page.done()
    urls = [request["url"] for request in browsers.requests(page.browser)]
    created = next(url for url in urls if url.endswith("/grey"))
    assert server.delete(created.removeprefix(server.url).removesuffix("/grey")).status_code == 204
    page.set("#saturation", 0.5)
    page.drawn()
    assert page.all("#alert:not([hidden])") == []
    assert page.all("[data-state=ready]")


@pytest.mark.parametrize("width", [360, 820, 1440])
def test_a_page_of_any_width_has_everything_within_it_and_every_control_a_name(page, width):
    browsers.resize(page.browser, width)
    for state in ("empty", "desk"):
        if state == "desk":
            browsers.drop(page.browser, "photo.png", photo())
            page.done()
        assert page.run("return document.documentElement.scrollWidth") <= width
        page.browser.execute_cdp_cmd("Accessibility.enable", {})
        nodes = page.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        controls = [
            (node["role"]["value"], node["name"]["value"])
            for node in nodes
            if not node["ignored"]
            and node["role"]["value"] in ("button", "slider", "switch", "ColorWell", "combobox")
        ]
        assert len(controls) > (1 if state == "empty" else 12)
        assert [role for role, name in controls if not name.strip()] == []


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
    drag(page.browser, middle)
    drag(page.browser, middle)
    assert page.box(".picture")[2] == pytest.approx(width, abs=1)


def test_places_in_the_queue_are_shown(page, monkeypatch):
    go, coloured = threading.Event(), Picture.coloured
    monkeypatch.setattr(Picture, "coloured", lambda *given: go.wait(120) and coloured(*given))
    browsers.drop(page.browser, "first.png", photo())
    wait(lambda: page.all("[data-state=coloring]"))
    browsers.drop(page.browser, "second.png", photo(1))
    label = wait(lambda: [x for x in page.labels() if "queue" in x])
    assert label == ["second.png: Place 1 of 1 in the queue"]
    go.set()
    page.done(2)
    assert page.labels() == ["first.png", "second.png"]


def test_what_took_too_long_can_be_tried_again(page, monkeypatch):
    with monkeypatch.context() as patch:

        def refuse(*_):
            raise Refusal(504, "took too long")

        patch.setattr(Picture, "coloured", refuse)
        browsers.drop(page.browser, "photo.png", photo())
        wait(lambda: page.all("[data-state=failed]"))
        assert page.labels() == ["photo.png: took too long"]
    page.click("#retry")
    wait(lambda: page.all("[data-state=ready]"))


def test_only_what_a_model_can_do_is_shown(browser, tmp_path, monkeypatch):
    monkeypatch.setattr(served, "ASSETS", page_assets())
    with served.served(tmp_path, distribution=0.0, hints=0.0) as client:
        page = Page(browser, client.url)
        browsers.drop(browser, "photo.png", photo())
        page.done()
        for selector in ("[data-tool=brush]", "#temperature", "#versions", "#unsure"):
            assert not page.one(f"button{selector}, input{selector}").is_displayed()
        assert page.one("#saturation").is_displayed()
        page.one("#stage").send_keys("b")
        assert page.one("#stage").get_attribute("data-tool") == "look"
        page.browser.get("about:blank")
