"""A headless Chromium that tests talk to over its DevTools protocol.

Decision: the few calls that are needed over websocket-client, which the Kubernetes client brings along, and the
distribution's Chromium. Instead of Playwright, whose package brings a second browser's worth of machinery.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
MISSING = "no Chromium is installed: scripts/system-packages.sh"
_OPTIONS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--remote-debugging-port=0",
    "--window-size=1280,1000",
)
_START_S = 60
_PAGE = re.compile(rb"/Type\s*/Page[^s]")


class Tab:
    """One page. `requests`: everything it asked for; `complaints`: console errors, exceptions, refused content."""

    def __init__(self, url: str) -> None:
        self._socket = websocket.create_connection(url, timeout=120, suppress_origin=True)
        self._numbers = itertools.count(1)
        self._loaded = 0
        self.requests: list[str] = []
        self.complaints: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """Drop the connection."""
        self._socket.close()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command and its result; events that come before it are kept. Raises AssertionError for an error."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = self._next()
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                return dict(message["result"])

    def _next(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._socket.recv())
        method, told = message.get("method"), message.get("params", {})
        if method == "Page.loadEventFired":
            self._loaded += 1
        elif method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(told["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(told["entry"]["text"])
        return message

    def open(self, url: str) -> float:
        """Load a page; seconds until its load event and two drawn frames."""
        before, loaded = time.monotonic(), self._loaded
        self.call("Page.navigate", url=url)
        while self._loaded == loaded:
            self._next()
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
        return time.monotonic() - before

    def run(self, expression: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, expression: str, within_s: float = 20) -> None:
        """Wait until an expression holds. Raises AssertionError when it does not in time."""
        deadline = time.monotonic() + within_s
        while not self.run(f"Boolean({expression})"):
            assert time.monotonic() < deadline, f"{expression} did not come true"
            time.sleep(0.05)

    def type_into(self, selector: str, words: str) -> None:
        """Put the caret into a field and type, as a person would."""
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=words)

    def click(self, selector: str) -> None:
        """Press the mouse in the middle of an element, scrolled into view."""
        one = f"document.querySelector({json.dumps(selector)})"
        self.run(f"{one}.scrollIntoView({{block: 'center'}})")
        found = self.run(f"(box => [box.x + box.width / 2, box.y + box.height / 2])({one}.getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=found[0], y=found[1], button="left", clickCount=1)

    def pdf(self) -> bytes:
        """The page printed on A4, as its own style sheet says."""
        printed = self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        return base64.b64decode(printed["data"])

    def picture(self) -> bytes:
        """What is seen now, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])


def pages(pdf: bytes) -> int:
    """Pages of a PDF that Chromium printed."""
    return len(_PAGE.findall(pdf))


@contextmanager
def browser(*, script: bool = True) -> Iterator[Tab]:
    """A browser with one empty tab; gone afterwards, with its folder. `script`: whether pages may run theirs."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as folder:
        options = [*_OPTIONS, f"--user-data-dir={folder}"]
        options += ["--no-sandbox"] if os.geteuid() == 0 else []
        process = subprocess.Popen(
            [CHROMIUM, *options, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            tab = Tab(_page_url(_port(Path(folder), process)))
            if not script:
                tab.call("Emulation.setScriptExecutionDisabled", value=True)
            try:
                yield tab
            finally:
                tab.close()
        finally:
            process.terminate()
            process.wait(timeout=30)


def _port(folder: Path, process: subprocess.Popen[bytes]) -> int:
    """The port that Chromium chose and wrote down."""
    deadline = time.monotonic() + _START_S
    file = folder / "DevToolsActivePort"
    while not (file.exists() and file.read_text().strip()):
        assert process.poll() is None, "Chromium ended"
        assert time.monotonic() < deadline, "Chromium did not start"
        time.sleep(0.05)
    return int(file.read_text().split()[0])


def _page_url(port: int) -> str:
    deadline = time.monotonic() + _START_S
    while True:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=30) as answer:
            found = [one for one in json.load(answer) if one["type"] == "page"]
        if found:
            return str(found[0]["webSocketDebuggerUrl"])
        assert time.monotonic() < deadline, "Chromium has no page"
        time.sleep(0.05)
