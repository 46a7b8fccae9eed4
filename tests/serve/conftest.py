"""The API, and the page in a real browser, of the real server with a tiny model."""

import browsers
import pytest
import served
from pages import Page

from colorjax.serve.server import page_assets


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with served.served(tmp_path_factory.mktemp("model")) as client:
        yield client


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Of a model without hints and distribution."""
    folder = tmp_path_factory.mktemp("plain")
    with served.served(folder, distribution=0.0, hints=0.0) as client:
        yield client


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
        yield chrome


@pytest.fixture
def page(request, browser, server):
    """The page, just opened, by default in dark mode.

    In the end nothing may have been asked of another host, and no script may have failed.
    """
    scheme = {"name": "prefers-color-scheme", "value": getattr(request, "param", "dark")}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browsers.resize(browser, 1200)
    browsers.forget_logs(browser)
    page = Page(browser, server.url)
    yield page
    urls = [sent["url"] for sent in page.sent] + browsers.requested(browser)
    assert [url for url in urls if not url.startswith((server.url, "blob:", "data:"))] == []
    log = browser.get_log("browser")
    assert [x for x in log if x["source"] == "javascript" or "Security" in x["message"]] == []
