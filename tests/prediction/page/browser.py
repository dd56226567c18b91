"""A headless Chromium, driven by its own protocol over two pipes: no further packages."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.places import HANG

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """One tab; `heard` collects what the page asked for and complained of.

    Args:
        profile: A folder for the browser's own files.
    """

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM
        theirs_in, self._out = _pipe()
        self._in, theirs_out = _pipe()

        def connect() -> None:
            os.dup2(theirs_in, 3)
            os.dup2(theirs_out, 4)

        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        quiet = ["--disable-extensions", "--disable-background-networking", "--disable-component-update"]
        command = [CHROMIUM, *options, *quiet, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
        self._process = subprocess.Popen(
            command, preexec_fn=connect, pass_fds=(3, 4), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._count, self._received, self._session = 0, b"", ""
        self.heard: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """Ends the browser."""
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def call(self, method: str, **settings: Any) -> Any:
        """Calls a method of the protocol and waits for its result."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": settings}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            self.heard.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def run(self, script: str) -> Any:
        """The value of an expression on the page, awaited."""
        done = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Waits until an expression holds."""
        end = time.monotonic() + HANG
        while not self.run(condition):
            assert time.monotonic() < end, f"still not: {condition}"
            time.sleep(0.05)

    def open(self, url: str) -> None:
        """Opens a page and waits until it is loaded."""
        self.call("Page.navigate", url=url)
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    def choose_file(self, selector: str, path: Path) -> None:
        """Chooses a file in a file input, as a click and the system's dialog would."""
        node = self.call("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")
        self.call("DOM.setFileInputFiles", files=[str(path)], objectId=node["result"]["objectId"])

    def resize(self, width: int, height: int, mobile: bool = False, dark: bool = False) -> None:
        """The window's size in CSS pixels, and the colours the user prefers."""
        settings = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self.call("Emulation.setDeviceMetricsOverride", **settings)
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def screenshot(self, path: Path) -> None:
        """Takes a picture of the whole page."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def requests(self) -> list[str]:
        """Where the page asked for something."""
        events = self.events("Network.requestWillBeSent")
        return [event["request"]["url"] for event in events]

    def events(self, *methods: str) -> list[dict[str, Any]]:
        """What was heard of the methods."""
        return [event["params"] for event in self.heard if event.get("method") in methods]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            assert select.select([self._in], [], [], HANG)[0], "the browser does not answer"
            piece = os.read(self._in, 1 << 20)
            assert piece, "the browser ended"
            self._received += piece
        text, _, self._received = self._received.partition(b"\0")
        answer: dict[str, Any] = json.loads(text)
        return answer


def _pipe() -> Sequence[int]:
    """The ends of a pipe, with numbers that are not those the browser expects."""
    ends = []
    for end in os.pipe():
        ends.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10))
        os.close(end)
    return ends
