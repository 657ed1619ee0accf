"""What is checked of the page on a phone, and with other networks than a capsule network alone."""

import browser
import digits
import snippets

# What the equations say of a routing that they say of no other.
TOLD = {
    "attention": "1−e−",
    "self": "softmax",
    "maxmin": "between the least and the greatest",
    "leaky": "Leaky routing",
    "layers": "Each iteration adds",
}


class Networks:
    """Mixed into checks.Run, which counts."""

    def phone(self, server):
        for name, dark in (("phone-dark", True), ("phone-light", False)):
            page = browser.Page(390, 844, dark)
            page.open(server.url)
            if dark:
                page.click("#input .tools button")
                page.draw(digits.strokes(7), pause=0.01)
                self.check(
                    "a 7 drawn with a finger is taken for 7",
                    page.wait("return capsclExplorer.state.prediction.label === 7", seconds=5),
                    page.text("#answer .verdict"),
                )
                self.picture(page, "phone-drawing")
                both = page.js(
                    "const b = (s) => document.querySelector(s).getBoundingClientRect();"
                    "return b('.bars').bottom - b('canvas.pad').top"
                )
                self.check("drawing and answer are seen at once", both < 844, both)
                page.show("#motion .stage")
                page.wait("return document.querySelectorAll('#motion .spark').length === 16")
                page.show("#motion .stage")
                page.drag(
                    [page.at("#motion .stage", 0.5, 0.07), page.at("#motion .stage", 0.8, 0.19)]
                )
                self.check(
                    "a finger turns the knob",
                    page.text("#motion .range output") not in ("0°", ""),
                    page.text("#motion .range output"),
                )
            small = page.js(snippets.SMALL)
            self.check(
                f"{name}: what is to be tapped is at least 24 pixels high and wide",
                not small,
                small,
            )
            self.look(page, name)
            self.quiet(page, name)
            page.close()

    # ---- other networks

    def second_model(self, server):
        page = browser.Page(1280, 900)
        page.open(f"{server.url}#image=test:0&model=1")
        total = page.js("return capsclExplorer.state.prediction.lengths.reduce((a, b) => a + b, 0)")
        self.check(
            "a CNN shows probabilities",
            abs(total - 1) < 1e-4 and page.text("#answer-title") == "Probabilities",
            total,
        )
        for panel in ("dimensions", "routing"):
            self.check(
                f"{panel}: a sentence says why it is empty",
                "CNN" in page.text(f"#{panel} .absent")
                and page.js(
                    "return document.querySelector(arguments[0]).hidden", f"#{panel} .panel-body"
                ),
            )
        self.look(page, "cnn")
        page.js(
            "const s = document.getElementById('model-choice'); s.value = '0'; s.dispatchEvent(new Event('change'))"
        )
        self.check(
            "the other model is chosen in the page",
            page.wait("return capsclExplorer.state.prediction?.capsules")
            and page.text("#answer-title") == "Capsule lengths",
        )
        self.quiet(page, "cnn")
        page.close()

    def gone(self, server):
        page = browser.Page(1280, 900)
        page.open(server.url)
        self.check("SIGINT ends the program with a page open", server.end() == 0)
        page.click("#next-image")
        self.check(
            "the page says that the program is gone",
            page.wait(
                "return document.getElementById('trouble').textContent.includes('does not answer')"
            ),
        )
        page.close()

    def matrix(self, server):
        page = browser.Page(1280, 900)
        page.open(server.url)
        page.show("#dimensions")
        self.check(
            "matrix capsules show poses of 4 by 4",
            page.wait(
                "return document.querySelectorAll('.pose.large .heat').length === 16 && document.querySelectorAll('.pose-row figure').length === 10"
            ),
        )
        page.show("#routing")
        self.check(
            "and assignments",
            page.wait(
                "return document.querySelector('#routing caption')?.textContent.includes('assignment')"
            ),
            page.text("#routing caption"),
        )
        page.show("#equations")
        self.check(
            "and the spread loss",
            page.wait(
                "return document.querySelector('#equations').textContent.includes('Spread loss')"
            ),
        )
        self.look(page, "matrix")
        self.quiet(page, "matrix")
        page.close()

    def pairs(self, server):
        page = browser.Page(1280, 900)
        page.open(server.url)
        page.show("#overlap")
        self.check(
            "a pair of the data is taken apart as it is",
            page.wait(
                "return document.querySelector('#overlap .verdict').textContent.includes('two longest capsules')"
            ),
        )
        page.show("#attack .verdict")
        self.check(
            "a pair is attacked by both its labels",
            page.wait(
                "const t = document.querySelector('#attack .verdict').textContent; return t && !t.includes('computing')",
                seconds=60,
            ),
            page.text("#trouble"),
        )
        self.look(page, "pairs")
        self.quiet(page, "pairs")
        page.close()

    def others(self, server, names):
        """Every kind of routing: what is told of it, and that nothing fails."""
        for index, name in enumerate(names):
            page = browser.Page(1280, 900)
            page.open(f"{server.url}#model={index}")
            page.show("#dimensions")
            self.check(
                f"{name}: without a decoder the numbers are colours",
                page.wait("return document.querySelectorAll('.pose.large .heat').length === 6"),
            )
            page.show("#routing .vote-columns")
            rows = page.wait("return document.querySelectorAll('#routing tbody tr').length")
            self.check(f"{name}: couplings are shown", rows == (6 if name == "layers" else 4), rows)
            page.show("#equations")
            page.wait("return document.querySelectorAll('#equations .equation').length >= 2")
            told = page.text("#equations")
            self.check(
                f"{name}: its equations",
                TOLD[name] in told and ("Squash" in told) == (name != "self"),
                told,
            )
            self.picture(page, f"other-{name}", whole=True)
            self.quiet(page, name)
            page.close()
