"""Chromium for tests of pages, and a static host on loopback to serve them."""

import base64
import contextlib
import functools
import io
import json
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

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
    """Chromium, driven by ChromeDriver, with a log of its requests.

    Args:
      folder: for its files; what it downloads comes to `downloads` in it.
    """
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("no browser: chromium and chromedriver (Debian: chromium-driver) are needed")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for option in (*OPTIONS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    # The path is given, so that selenium does not search the network for a driver.
    service = webdriver.ChromeService(executable_path=driver)
    chrome = webdriver.Chrome(options=options, service=service)
    try:
        chrome.set_page_load_timeout(120)
        chrome.set_script_timeout(120)
        downloads = {"behavior": "allow", "downloadPath": str(folder / "downloads")}
        chrome.execute_cdp_cmd("Browser.setDownloadBehavior", downloads)
        yield chrome
    finally:
        chrome.quit()


def resize(browser, width, height=900):
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def forget_logs(browser):
    for log in ("performance", "browser"):
        browser.get_log(log)


def requests(browser):
    """What the page has asked for since the log was read last."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [e for e in events if e["method"] == "Network.requestWillBeSent"]
    return [e["params"]["request"] for e in sent]


def requested(browser):
    """The addresses of `requests`."""
    return [request["url"] for request in requests(browser)]


def mouse(browser, kind, x, y, **options):
    """Args: kind: Moved, Pressed, Released or Wheel."""
    if kind in ("Pressed", "Released"):
        options = {"button": "left", "clickCount": 1, **options}
    event = {"type": f"mouse{kind}", "x": x, "y": y, **options}
    browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)


def drag(browser, *places):
    """Presses the button at the first place, and lets it go at the last."""
    mouse(browser, "Moved", *places[0])
    mouse(browser, "Pressed", *places[0])
    for place in places[1:]:
        mouse(browser, "Moved", *place, button="left", buttons=1)
    mouse(browser, "Released", *places[-1])


def screenshot(browser):
    """[height, width, 3] int."""
    shown = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    data = io.BytesIO(base64.b64decode(shown["data"]))
    return np.asarray(Image.open(data).convert("RGB")).astype(int)


def drop(browser, name, data):
    """Drops a file onto the page."""
    script = """
      const [name, data] = arguments;
      const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([bytes], name));
      for (const kind of ["dragenter", "dragover", "drop"]) {
        const given = { dataTransfer, bubbles: true, cancelable: true };
        document.body.dispatchEvent(new DragEvent(kind, given));
      }"""
    browser.execute_script(script, name, base64.b64encode(data).decode())


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
