"""Chromium without a window, driven over a pipe in the DevTools protocol: no port, no driver, no package."""

import base64
import json
import os
import pathlib
import select
import subprocess
import time

# However slow the machine, an answer comes within this many seconds.
PATIENCE = 30
FLAGS = [
    "--headless=new",
    "--remote-debugging-pipe",
    # Whoever tests in a container is often root, which Chromium's sandbox refuses; the page is our own.
    "--no-sandbox",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]


class Browser:
    """One page. What it complains of, errors, warnings, requests that fail, is in `complaints`."""

    def __init__(self, program, work):
        to_browser, ours_out = os.pipe()
        ours_in, from_browser = os.pipe()
        # The protocol's pipes are the descriptors 3 and 4 of the process.
        shell = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
        words = ["bash", "-c", shell, program, *FLAGS, f"--user-data-dir={work / 'chromium'}", "about:blank"]
        log = open(pathlib.Path(work) / "chromium.log", "wb")
        environment = {**os.environ, "TZ": "America/New_York", "LANG": "C.UTF-8"}
        self.process = subprocess.Popen(
            words, pass_fds=(to_browser, from_browser), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
        )
        os.close(to_browser)
        os.close(from_browser)
        self.to, self.of, self.rest = ours_out, ours_in, b""
        self.asked, self.session = 0, None
        self.complaints, self.requests, self.answers = [], {}, {}
        pages = self.call("Target.getTargets")["targetInfos"]
        target = next(page["targetId"] for page in pages if page["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        """What a method of the protocol returns."""
        self.asked += 1
        message = {"id": self.asked, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while (answer := self.receive(PATIENCE)).get("id") != self.asked:
            self.note(answer)
        if "error" in answer:
            raise SystemExit(f"chromium refused {method}: {answer['error']}")
        return answer["result"]

    def receive(self, seconds):
        """The next message."""
        until = time.monotonic() + seconds
        while b"\0" not in self.rest:
            if not select.select([self.of], [], [], max(0, until - time.monotonic()))[0]:
                raise SystemExit(f"chromium has not answered for {seconds} s")
            if not (read := os.read(self.of, 1 << 20)):
                raise SystemExit("chromium has ended; chromium.log says why")
            self.rest += read
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def note(self, event):
        """Remembers what is wrong."""
        name, params = event.get("method"), event.get("params", {})
        if name == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(f"console.{params['type']}: {[arg.get('value') for arg in params['args']]}")
        elif name == "Runtime.exceptionThrown":
            self.complaints.append(f"exception: {params['exceptionDetails']}")
        elif name == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"log: {params['entry']['text']} {params['entry'].get('url', '')}")
        elif name == "Network.requestWillBeSent":
            self.requests[params["requestId"]] = params["request"]["url"]
        elif name == "Network.responseReceived":
            response = params["response"]
            self.answers[response["url"]] = response["status"]
            if response["status"] >= 400:
                self.complaints.append(f"request: {response['url']} answered {response['status']}")
        # A page that is left gives up what it asks for.
        elif name == "Network.loadingFailed" and not params.get("canceled"):
            self.complaints.append(f"request: {self.requests.get(params['requestId'])} failed: {params['errorText']}")

    def hear(self, seconds):
        """Listens for what comes unasked."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if b"\0" in self.rest or select.select([self.of], [], [], left)[0]:
                self.note(self.receive(PATIENCE))

    def evaluate(self, script):
        """The value of an expression in the page."""
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise SystemExit(f"the page cannot say {script!r}: {done['exceptionDetails']}")
        return done["result"].get("value")

    def before(self, script):
        """Runs a script in every page before its own. Returns how to take that back."""
        return self.call("Page.addScriptToEvaluateOnNewDocument", source=script)["identifier"]

    def look(self, width, scheme):
        """A screen of this width in CSS pixels; `light` or `dark`."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, url, ready):
        """Loads a page and waits until an expression holds in it."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=url)
        until = time.monotonic() + PATIENCE
        while not self.evaluate(ready):
            if time.monotonic() > until:
                raise SystemExit(f"{url} never came to {ready}: {self.complaints}")
            self.hear(0.1)

    def screenshot(self, path):
        """The whole page as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        taken = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(taken["data"]))

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
