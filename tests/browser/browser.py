"""A page in headless Chromium: mouse, finger and keys as the browser gets them from a person."""

import base64
import importlib.util
import json
import os
import pathlib
import time

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

WAIT_S = 30


def axe_source():
    """The text of axe-core, from $CAPSCL_AXE or a Python package that brings it; None: absent."""
    places = [pathlib.Path(os.environ["CAPSCL_AXE"])] if os.environ.get("CAPSCL_AXE") else []
    for package, inside in (
        ("axe_core_python", "axe.min.js"),
        ("axe_selenium_python", "node_modules/axe-core/axe.min.js"),
    ):
        spec = importlib.util.find_spec(package)
        if spec and spec.submodule_search_locations:
            places.append(pathlib.Path(spec.submodule_search_locations[0]) / inside)
    for place in places:
        if place.is_file():
            return place.read_text(encoding="utf-8")
    return None


class Page:
    """One browser with one page."""

    def __init__(self, width, height, dark=False, downloads=None):
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for flag in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--window-size={width},{height}",
            "--force-device-scale-factor=1",
        ):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        self.driver.set_script_timeout(60)
        self.width, self.height, self.touch = width, height, width < 600
        self.metrics(height)
        if self.touch:
            self.cdp("Emulation.setTouchEmulationEnabled", enabled=True)
        if dark:
            self.cdp(
                "Emulation.setEmulatedMedia",
                features=[{"name": "prefers-color-scheme", "value": "dark"}],
            )
        if downloads:
            self.cdp("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))

    def close(self):
        self.driver.quit()

    def cdp(self, command, **arguments):
        return self.driver.execute_cdp_cmd(command, arguments)

    def metrics(self, height):
        self.cdp(
            "Emulation.setDeviceMetricsOverride",
            width=self.width,
            height=height,
            deviceScaleFactor=1,
            mobile=self.width < 600,
        )

    def js(self, text, *arguments):
        return self.driver.execute_script(text, *arguments)

    def open(self, url):
        """Opens the page and waits until it has an answer."""
        self.driver.get("about:blank")
        self.driver.get(url)
        self.wait(
            "return document.documentElement.dataset.ready && capsclExplorer.state.prediction"
        )

    def wait(self, condition, *arguments, seconds=WAIT_S):
        """Until a piece of JavaScript gives something true, which is the answer; None: it did not."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.js(condition, *arguments)
            if found:
                return found
            time.sleep(0.05)
        return None

    def text(self, selector):
        return self.js("return document.querySelector(arguments[0])?.textContent ?? ''", selector)

    def show(self, selector):
        """Scrolls there and waits until it stays."""
        self.js(
            "document.querySelector(arguments[0]).scrollIntoView({block: 'center', behavior: 'instant'})",
            selector,
        )
        time.sleep(0.25)

    def box(self, selector):
        """left, top, width, height on the screen."""
        return self.js(
            "const b = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return [b.left, b.top, b.width, b.height]",
            selector,
        )

    def at(self, selector, x, y):
        """A point of an element: x and y are parts of its width and height."""
        left, top, width, height = self.box(selector)
        return left + x * width, top + y * height

    def pointer(self, kind, x, y):
        """kind: down, move, up."""
        if self.touch:
            points = [] if kind == "up" else [{"x": x, "y": y}]
            name = {"down": "touchStart", "move": "touchMove", "up": "touchEnd"}[kind]
            self.cdp("Input.dispatchTouchEvent", type=name, touchPoints=points)
        else:
            name = {"down": "mousePressed", "move": "mouseMoved", "up": "mouseReleased"}[kind]
            self.cdp(
                "Input.dispatchMouseEvent",
                type=name,
                x=x,
                y=y,
                button="left",
                buttons=0 if kind == "up" else 1,
                clickCount=1,
            )

    def drag(self, points, steps=12, pause=0.0):
        """Along a line of points on the screen."""
        self.pointer("down", *points[0])
        for a, b in zip(points, points[1:]):
            for k in range(1, steps + 1):
                self.pointer(
                    "move", a[0] + (b[0] - a[0]) * k / steps, a[1] + (b[1] - a[1]) * k / steps
                )
                time.sleep(pause)
        self.pointer("up", *points[-1])

    def click(self, selector):
        self.show(selector)
        x, y = self.at(selector, 0.5, 0.5)
        self.pointer("down", x, y)
        self.pointer("up", x, y)
        time.sleep(0.1)

    def press(self, *keys):
        """Keys by name ("ArrowLeft", "Enter", " ", "z"), to what has the focus."""
        codes = {
            "ArrowLeft": 37,
            "ArrowUp": 38,
            "ArrowRight": 39,
            "ArrowDown": 40,
            "Enter": 13,
            " ": 32,
            "Tab": 9,
            "Delete": 46,
            "Home": 36,
            "End": 35,
        }
        for key in keys:
            code = codes.get(key, ord(key.upper()) if len(key) == 1 else 0)
            one = {"key": key, "windowsVirtualKeyCode": code, "code": key if len(key) > 1 else ""}
            if len(key) == 1:
                one["text"] = key
            elif key == "Enter":
                one["text"] = "\r"
            self.cdp("Input.dispatchKeyEvent", type="keyDown", **one)
            self.cdp("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def draw(self, strokes, side=28, pause=0.0):
        """Strokes in pixels of the image, on the pad."""
        self.show("canvas.pad")
        for stroke in strokes:
            self.drag(
                [self.at("canvas.pad", (x + 0.5) / side, (y + 0.5) / side) for x, y in stroke],
                pause=pause,
            )

    def pixels(self, selector):
        """A canvas as a number that changes with it."""
        return self.js(
            "const c = document.querySelector(arguments[0]);"
            "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
            "let h = 7; for (const v of d) h = (h * 31 + v) | 0; return h",
            selector,
        )

    def screenshot(self, path, whole=False):
        """The window, or the whole page with every panel computed."""
        if whole:
            for name in self.js(
                "return [...document.querySelectorAll('main .panel')].map((p) => p.id)"
            ):
                self.show(f"#{name}")
                time.sleep(0.8)
            self.js("window.scrollTo(0, 0)")
            self.metrics(self.js("return document.documentElement.scrollHeight"))
            time.sleep(0.8)
        path.write_bytes(base64.b64decode(self.cdp("Page.captureScreenshot")["data"]))
        if whole:
            self.metrics(self.height)

    def console(self):
        """What the browser has complained of since the last time; not that these tests read canvases."""
        return [
            e["message"]
            for e in self.driver.get_log("browser")
            if e["level"] in ("SEVERE", "WARNING") and "willReadFrequently" not in e["message"]
        ]

    def axe(self, source):
        """Violations that axe-core finds, one line each."""
        self.js(source)
        found = self.driver.execute_async_script(
            "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']})"
            ".then((r) => done(JSON.stringify(r.violations)), (e) => done(JSON.stringify([{id: String(e), nodes: []}])))"
        )
        return [
            f"{v['id']}: {n['html'][:120]} {n.get('failureSummary', '')[:200]}"
            for v in json.loads(found)
            for n in v["nodes"] or [{"html": ""}]
        ]
