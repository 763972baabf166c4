"""The status page in Chromium, on a wide screen and on a phone, light and dark: while all is well, with an hour of history and
large numbers, and while the lake is away. The first thing that does not hold ends it with exit code 1.

    python3 -m page --project DIR --work DIR --shots DIR --binary FILE --chromium FILE
"""

import argparse
import copy
import itertools
import json
import pathlib
import signal
import sys

from observe.stage import Outage, wait_for

from . import expected, hour
from .browser import Browser
from .stage import FIRST, MORE, PIPELINE, Stage, without_ages

WIDTHS = {"wide": 1280, "phone": 390}
SCREENS = list(itertools.product(WIDTHS, ("light", "dark")))
READ = (pathlib.Path(__file__).parent / "read.js").read_text()
# The page keeps what it was told last, so that it can be compared with what it shows.
OVERHEAR = """
const ask = window.fetch;
window.fetch = async (...of) => {
  const answer = await ask(...of);
  return { ok: answer.ok, status: answer.status, text: () => answer.text(),
           json: async () => (window.told = INSTEAD ?? await answer.json()) };
};
"""


def say(what):
    print(f"page: {what}", flush=True)


def fail(what, *lines):
    raise SystemExit("\n".join([f"page: FAILED: {what}", *(f"  {line}" for line in lines)]))


def differences(wanted, shown):
    """Where two lists of texts differ, with what comes before."""
    for at, (want, have) in enumerate(itertools.zip_longest(wanted, shown)):
        if want != have:
            yield f"after {shown[max(0, at - 3):at]}: {have!r} is shown, not {want!r}"
            return


def points_differ(status, paths):
    """Lines of charts that are not as high as the numbers say, by more than their coordinates are rounded."""
    for points, path in itertools.zip_longest(expected.charts(status), paths, fillvalue=[]):
        heights = [round(share, 2) for _, share in points]
        if len(path) != len(heights) or any(abs(have - want) > 0.02 for have, want in zip(path, heights)):
            yield f"a line goes through {path}, not {heights}"


class Play:
    """What is shown, and who looks."""

    def __init__(self, options):
        self.shots = pathlib.Path(options.shots)
        self.stage = Stage(pathlib.Path(options.project), pathlib.Path(options.work), options.binary)
        self.browser = Browser(options.chromium, pathlib.Path(options.work))
        self.url = f"http://{self.stage.address}/"

    def begin(self):
        self.stage.feed("first", 0, FIRST)
        self.stage.run()
        wait_for("three working layers", lambda: self.stage.states() == ["working"] * 3, 60)
        return self.stage.settled()

    def looks(self, scene, check, instead=None, screens=SCREENS):
        """Looks at a scene on these screens; `check` is given what the page was told, which is the run's answer or `instead`."""
        overhear = self.browser.before(OVERHEAR.replace("INSTEAD", json.dumps(instead)))
        numbers = 0
        for screen, scheme in screens:
            width = WIDTHS[screen]
            where = f"{scene}, {screen}, {scheme}"
            self.browser.look(width, scheme)
            self.browser.open(self.url, "window.told !== undefined && document.querySelector('article') !== null")
            seen = self.browser.evaluate(READ)
            check(seen["told"])
            for what, wrong in (
                ("texts", differences(list(expected.texts(seen["told"])), seen["texts"])),
                ("charts", points_differ(seen["told"], seen["paths"])),
                ("manners", seen["wrong"]),
                ("console and requests", self.browser.complaints),
                ("requests elsewhere", [url for url in self.browser.answers if not url.startswith((self.url, "data:"))]),
            ):
                if lines := list(wrong):
                    fail(f"{where}: {what}", *lines)
            if seen["scheme"] != scheme or seen["width"] != width:
                fail(f"{where} was asked for, {seen['scheme']} at {seen['width']} px is shown")
            numbers += sum(any(letter.isdigit() for letter in text) for text in seen["texts"])
            self.browser.screenshot(self.shots / f"{scene}-{screen}-{scheme}.png")
        self.browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=overhear)
        say(f"{scene}: {numbers} texts with numbers on {len(screens)} screens are as they must be")

    def as_told(self, command):
        """A check that the page was told what the command says."""

        def check(told):
            pipeline = copy.deepcopy(told["pipelines"][0])
            for layer in ("fares", "history"):
                pipeline.pop(layer)
            if without_ages(pipeline) != without_ages(command):
                fail("status.json is not what `status --output json` says", json.dumps(pipeline), json.dumps(command))
            if told["version"] != self.stage.version() or told["lake"].removeprefix("file://").rstrip("/") != str(self.stage.lake):
                fail("status.json has another version or lake", told["version"], told["lake"])
            # The command was asked before the page, which may have been told up to two seconds before.
            for here, there in zip(pipeline["layers"], command["layers"]):
                if (here["lag_seconds"] is None) != (there["lag_seconds"] is None) or not -3 < here["lag_seconds"] - there["lag_seconds"] < 60:
                    fail("an age is not what `status` says", here["lag_seconds"], there["lag_seconds"])

        return check

    def away(self):
        """The lake goes away: the page says what is wrong and what to do; then all is well again."""
        with Outage(self.stage.lake):
            self.stage.feed("more", FIRST, MORE)
            wait_for("three layers in trouble", lambda: self.stage.states() == ["retrying"] * 3, 60)
            command = self.stage.status(code=1)

            def check(told):
                pipeline = told["pipelines"][0]
                if [pipeline[key] for key in ("trouble", "next")] != [command[key] for key in ("trouble", "next")]:
                    fail("page and command tell another trouble", pipeline["trouble"], command["trouble"])
                for fare in pipeline["fares"]:
                    if not (fare["why"] and fare["next"]):
                        fail("a layer in trouble does not say why and what to do next", fare)

            self.looks("away", check)
        _, seconds = wait_for("the layers to work again", lambda: self.stage.states() == ["working"] * 3, 60)
        say(f"the layers work again {seconds:.0f} s after the lake was back")


def main():
    parser = argparse.ArgumentParser(prog="page", description=__doc__.split("\n\n", maxsplit=1)[0])
    for name in ("project", "work", "shots", "binary", "chromium"):
        parser.add_argument(f"--{name}", required=True)
    # So that what was started is ended here, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    play = Play(parser.parse_args())
    try:
        command = play.begin()
        play.looks("well", play.as_told(command))
        play.looks("hour", lambda told: None, hour.of(json.loads(play.stage.get("/status.json")), PIPELINE))
        play.away()
        play.looks("again", play.as_told(play.stage.settled()), screens=SCREENS[:1])
        if code := play.stage.end():
            fail(f"the run ended with {code} on SIGTERM")
    finally:
        play.browser.close()
        if play.stage.process and play.stage.process.poll() is None:
            play.stage.process.kill()
            play.stage.process.wait()


if __name__ == "__main__":
    sys.exit(main())
