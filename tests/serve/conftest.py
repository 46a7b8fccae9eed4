"""The page in a real browser, against the real server with a tiny model."""

import browsers
import pytest
import served
from pages import Page

from colorjax.serve.server import page_assets


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
