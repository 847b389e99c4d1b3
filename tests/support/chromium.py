"""A headless Chromium, controlled over a pipe: pages, keys, screenshots.

The protocol is documented at https://chromedevtools.github.io/devtools-protocol/. Each message is
JSON and ends with a null byte (`--remote-debugging-pipe`: file descriptor 3 in, 4 out).
"""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--remote-debugging-pipe"),
)
_SECONDS_TO_END = 30
_FRAMES = 300
_LOADED = (
    "new Promise((done) => document.readyState === 'complete' ? done()"
    " : addEventListener('load', done)).then(() => new Promise((done) => setTimeout(done)))"
)
"""An expression that ends after the load event and what its handlers have put off."""


class View(NamedTuple):
    """The size of a window in CSS pixels, its colour scheme, and what a medium is emulated."""

    width: int
    height: int
    scheme: str = "light"
    medium: str = "screen"


DESKTOP = View(1280, 900)
PHONE = View(390, 844)


def find_chromium() -> str | None:
    """Return the path of Chromium; None if it is not installed."""
    return shutil.which("chromium")


class Page:
    """A page in a browser. Errors of the protocol are exceptions."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO) -> None:
        self._requests, self._answers = requests, answers
        self._number, self._session = 0, ""

    def attach(self) -> None:
        """Create the page."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]

    def close_browser(self) -> None:
        """Ask the browser to end; the page is of no use afterwards."""
        self._session = ""
        self.call("Browser.close")

    def call(self, method: str, **parameters: object) -> Mapping[str, Any]:
        """Send a command, and return its result."""
        self._number += 1
        request = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            request["sessionId"] = self._session
        self._requests.write(json.dumps(request).encode() + b"\0")
        self._requests.flush()
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                break
        if "error" in answer:
            raise RuntimeError(f"chromium: {method}: {answer['error']}")
        result: Mapping[str, Any] = answer["result"]
        return result

    def _read(self) -> Mapping[str, Any]:
        content = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("chromium: it ended")
            content += byte
        message: Mapping[str, Any] = json.loads(content)
        return message

    def open(self, address: str) -> None:
        """Load an address anew, and wait until it and its script are complete."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=address)
        self.evaluate(_LOADED)

    def show(self, view: View) -> None:
        """Set the size of the window, the colour scheme and the medium."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=view.width,
            height=view.height,
            deviceScaleFactor=1,
            mobile=view.width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": view.scheme}
        self.call("Emulation.setEmulatedMedia", media=view.medium, features=[scheme])

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript; a promise is awaited."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"chromium: {expression[:80]}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def becomes(self, expression: str, value: object) -> bool:
        """Return whether an expression has a value now or after a few frames."""
        for _ in range(_FRAMES):
            if self.evaluate(expression) == value:
                return True
            self.evaluate("new Promise(requestAnimationFrame)")
        return False

    def press(self, *keys: str) -> None:
        """Press keys one after another; a character is typed."""
        for key in keys:
            text = "\r" if key == "Enter" else key if len(key) == 1 else ""
            code = {"Enter": 13, "Escape": 27, "Tab": 9, " ": 32}.get(key, 0)
            name = {"key": key, "windowsVirtualKeyCode": code}
            down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
            self.call("Input.dispatchKeyEvent", **down, **name)
            self.call("Input.dispatchKeyEvent", type="keyUp", **name)

    def photograph(self, path: Path, *, height: int | None = None) -> None:
        """Write a picture of the window, or of the page down to `height`, in WebP or PNG."""
        options: dict[str, object] = {"format": path.suffix.removeprefix(".")}
        if path.suffix == ".webp":
            options["quality"] = 90
        if height is not None:
            width = self.evaluate("innerWidth")
            clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
            options |= {"captureBeyondViewport": True, "clip": clip}
        content = self.call("Page.captureScreenshot", **options)["data"]
        path.write_bytes(base64.b64decode(content))


@contextmanager
def start_chromium(program: str, profile: Path) -> Iterator[Page]:
    """Run Chromium with a new profile in a directory, and yield a page of it."""
    to_browser, from_browser = os.pipe(), os.pipe()
    ends = (to_browser[0], from_browser[1])

    # The shell gives the two pipes the numbers that Chromium expects.
    script = f'exec "$@" 3<&{ends[0]} 4>&{ends[1]}'
    command = ["bash", "-c", script, "chromium", program, *_FLAGS, f"--user-data-dir={profile}"]
    with (
        os.fdopen(to_browser[1], "wb") as requests,
        os.fdopen(from_browser[0], "rb") as answers,
        subprocess.Popen(command, pass_fds=ends, stderr=subprocess.DEVNULL) as process,
    ):
        for end in ends:
            os.close(end)
        try:
            page = Page(requests, answers)
            page.attach()
            yield page
            page.close_browser()
            process.wait(_SECONDS_TO_END)
        finally:
            process.kill()
