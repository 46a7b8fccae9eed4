"""Chromium for tests of pages, and a static host on loopback to serve them."""

import contextlib
import functools
import json
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-device-scale-factor=1",
)


@contextlib.contextmanager
def chromium(folder):
    """Chromium, driven by ChromeDriver, with a log of its requests; `folder` is for its files."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("no browser: chromium and chromedriver (Debian: chromium-driver) are needed")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for option in (*OPTIONS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(option)
    options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    # The path is given, so that selenium does not search the network for a driver.
    service = webdriver.ChromeService(executable_path=driver)
    chrome = webdriver.Chrome(options=options, service=service)
    try:
        chrome.set_page_load_timeout(120)
        chrome.set_script_timeout(120)
        yield chrome
    finally:
        chrome.quit()


def resize(browser, width, height=900):
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def forget_logs(browser):
    for log in ("performance", "browser"):
        browser.get_log(log)


def requested(browser):
    """The addresses that the page has asked for since the log was read last."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [e for e in events if e["method"] == "Network.requestWillBeSent"]
    return [e["params"]["request"]["url"] for e in sent]


def call(browser, module, expression, *values):
    """Evaluates an expression of `module`, an ES module by its address, and `values`."""
    script = (
        f"const [module, values, done] = arguments; import(module).then((module) => {expression})"
        ".then(done, (error) => done({error: String(error)}));"
    )
    return browser.execute_async_script(script, module, values)


@contextlib.contextmanager
def hosting(folder):
    """Serves a folder as any static host does; yields the address, and the requests' Hosts."""
    hosts = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            hosts.append(self.headers.get("Host"))

    with ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=folder)
    ) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", hosts
        finally:
            server.shutdown()
            thread.join()
