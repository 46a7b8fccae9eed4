"""The page of `colorjax serve` as a person uses it, driven in a browser."""

import base64
import io
import json

import browsers
import numpy as np
from image_files import encoded
from PIL import Image
from waiting import wait


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


def photo(seed=0, size=(64, 48), format="png", **options):
    smooth = np.random.default_rng(seed).integers(0, 256, (6, 8), np.uint8)
    return encoded(
        Image.fromarray(smooth).resize(size, Image.Resampling.BICUBIC), format, **options
    )
