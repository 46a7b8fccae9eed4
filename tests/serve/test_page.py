"""The page: photographs in, looked at, and out again."""

import json
import threading
import zipfile

import browsers
import numpy as np
import pytest
import served
from browsers import drag
from pages import Page, photo
from PIL import Image
from waiting import wait

from colorjax import cli
from colorjax.serve.limits import Refusal
from colorjax.serve.pictures import Picture
from colorjax.serve.server import page_assets

pytestmark = pytest.mark.slow
COLOR = "#3366cc"


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


@pytest.mark.parametrize("page", ["dark", "light"], indirect=True)
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


def test_only_those_of_a_zip_that_are_forgotten_are_handed_over_again(page, server, folder):
    for number in range(2):
        browsers.drop(page.browser, f"{number}.png", photo(number))
        page.done(number + 1)
    kept = server.service.store._pictures
    gone = next(name for name, (picture, _) in kept.items() if picture.name == "1.png")
    assert server.delete(f"/api/pictures/{gone}").status_code == 204
    before = set(kept)
    page.click("#archive")
    (page_zip := folder / "all.zip").write_bytes(saved(folder, "coloured.zip"))
    with zipfile.ZipFile(page_zip) as archive:
        assert archive.namelist() == ["0_coloured.png", "1_coloured.png"]
    assert before < set(kept)
    assert len(kept) == len(before) + 1


def test_more_photographs_than_the_server_keeps_come_in_several_zips(
    browser, server, folder, monkeypatch
):
    limits = server.service.limits._replace(pictures=4, bytes=10_000)
    monkeypatch.setattr(server.service, "limits", limits)
    page = Page(browser, server.url)
    for number in range(3):
        browsers.drop(browser, f"{number}.png", photo(number))
        page.done(number + 1)
    page.one("#archive").click()
    found = []
    for name in ("coloured.zip", "coloured_2.zip"):
        wait((folder / "downloads" / name).exists)
        with zipfile.ZipFile(folder / "downloads" / name) as archive:
            found.append(archive.namelist())
    for name in ("coloured.zip", "coloured_2.zip"):
        (folder / "downloads" / name).unlink()
    assert found == [["0_coloured.png", "1_coloured.png"], ["2_coloured.png"]]
    # What is too large is not sent, neither at first nor for another model.
    browsers.drop(browser, "large.png", bytes(20_000))
    wait(lambda: page.all("[data-state=failed]"))
    page.run("document.getElementById('model').dispatchEvent(new Event('change'))")
    wait(lambda: len(page.all("[data-state=ready]")) == 3 and page.all("[data-state=failed]"))
    (label,) = [label for label in page.labels() if label.startswith("large.png")]
    assert label == "large.png: The file is larger than 0 MiB."
    assert len([x for x in browsers.requests(browser) if "/api/pictures?" in x["url"]]) == 6


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


def test_places_in_the_queue_are_shown(page, monkeypatch):
    began, go, coloured = threading.Event(), threading.Event(), Picture.coloured

    def slow(*given):
        began.set()
        go.wait(120)
        return coloured(*given)

    monkeypatch.setattr(Picture, "coloured", slow)
    browsers.drop(page.browser, "first.png", photo())
    assert began.wait(120)
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


def test_another_model_colours_what_is_being_coloured_and_what_waits(page, server, monkeypatch):
    """One that can do less, while hints are painted on a photograph that is being sent."""
    first = server.service.models.described[server.service.models.default]
    less = {**first, "name": "less", "title": "less", "hints": False, "distribution": False}
    models = server.service.models
    monkeypatch.setitem(models.described, "less", less)
    monkeypatch.setitem(models._given, "less", server.model)
    page = Page(page.browser, server.url)
    go, coloured, used = threading.Event(), Picture.coloured, []

    def slow(picture, *given):
        used.append(picture.model)
        go.wait(120)
        return coloured(picture, *given)

    monkeypatch.setattr(Picture, "coloured", slow)
    for number in range(3):
        browsers.drop(page.browser, f"{number}.png", photo(number))
    wait(lambda: used)
    page.all(".frame")[2].click()  # it waits
    page.set("#color", COLOR)
    drag(page.browser, page.at(0.5, 0.5))
    page.one("#stage").send_keys("\ue009z")  # Control
    page.all(".frame")[0].click()
    drag(page.browser, page.at(0.5, 0.5))
    page.set("#model", "less")
    go.set()
    page.done(3)
    assert page.labels() == ["0.png", "1.png", "2.png"]
    assert used.count("less") == 3
    assert [look for look in page.posted("preview")[-3:] if "hints" in look] == []
    assert page.all("#alert:not([hidden])") == []


def test_keys_of_the_page_are_not_those_of_its_controls(page):
    browsers.drop(page.browser, "photo.png", photo())
    page.done()
    page.one("#saturation").send_keys("b")
    page.one("#add").send_keys("b")
    assert page.one("#stage").get_attribute("data-tool") == "look"
    page.one(".frame").send_keys("b")
    assert page.one("#stage").get_attribute("data-tool") == "brush"


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
