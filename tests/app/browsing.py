"""Looking at the page as a person with a browser does; skips where there is none."""

import shutil
from contextlib import contextmanager
from importlib.util import find_spec
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

if missing := [name for name in ("gradio", "playwright") if find_spec(name) is None]:
    pytest.skip(f"needs {' and '.join(missing)}", allow_module_level=True)
if CHROMIUM is None:
    pytest.skip("needs Chromium: apt-get install chromium", allow_module_level=True)

from playwright.sync_api import expect, sync_playwright  # noqa: E402 - if it is there

expect.set_options(timeout=30_000)  # a busy machine takes its time

DESK = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@contextmanager
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


class Visitor:
    """
    Somebody with a browser window, on the page.

    Attributes:
        page: What is in the window.
        asked: The addresses of all that the page asked for.
        complaints: What it wrote to the browser's console as errors.
    """

    def __init__(self, page, url):
        self.page, self.asked, self.complaints = page, [], []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(url)
        expect(page.locator("#generate")).to_be_enabled()

    def _listen(self, message):
        if message.type == "error":
            self.complaints.append(message.text)

    @property
    def notice(self):
        return self.page.get_by_role("alert")

    @property
    def caption(self):
        return self.page.locator("#caption textarea")

    @property
    def small_pictures(self):
        return self.page.locator("#gallery button:has(img)")

    def type(self, field, value):
        box = self.page.locator(f"#{field} input").first
        box.fill(str(value))
        expect(box).to_have_value(str(value))

    def go_between_seeds(self):
        """Open the other tab, and wait until its fields have what they begin with."""
        self.page.get_by_role("tab", name="Between two seeds").click()
        expect(self.page.locator("#begin input")).to_have_value("7")
        expect(self.page.locator("#end input")).to_have_value("42")

    def ask(self, seed, count=1):
        self.type("count", count)
        self.type("seed", seed)
        self.page.locator("#generate").click()

    def sees(self, caption):
        expect(self.caption).to_have_value(caption)
        expect(self.notice).to_have_count(0)

    def shown_picture(self):
        """Return the pixels of the large picture, as the browser got them."""
        picture = self.page.locator("#picture img")
        expect(picture).to_be_visible()
        assert picture.evaluate("async x => (await x.decode(), x.naturalWidth)")
        return pixels(self.page.request.get(picture.get_attribute("src")).body())

    def download(self, button):
        """Return the name and the content of what a button saves."""
        with self.page.expect_download() as started:
            self.page.locator(f"#{button}").click()
        with open(started.value.path(), "rb") as file:  # noqa: PTH123 - a string
            return started.value.suggested_filename, file.read()

    def is_in_sight(self, locator):
        """Tell whether all of them are between the sides of the window."""
        boxes = [each.bounding_box() for each in locator.all()]
        width = self.page.viewport_size["width"]
        return bool(boxes) and all(
            box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes
        )


@contextmanager
def visit(browser, url, viewport=DESK, **settings):
    with browser.new_context(viewport=viewport, **settings) as context:
        yield Visitor(context.new_page(), url)


def pixels(picture):
    """Return the pixels of a Pillow picture, or of the content of a file."""
    if isinstance(picture, bytes):
        picture = Image.open(BytesIO(picture))
    return np.asarray(picture)
