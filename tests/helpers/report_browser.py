"""A headless Chromium, driven over a pipe by the DevTools protocol: no package, no open port."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LOADED_SECONDS, ANSWER_SECONDS = 60, 60  # CI machines are slow at the first start


def executable() -> str | None:
    """The browser on this machine, $GENAI_CHROMIUM first."""
    named = os.environ.get("GENAI_CHROMIUM")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page in one browser. Whatever it asks of a network goes to a dead port, and is noted.

    Attributes:
        requests: addresses the page asked for, itself and data: not counted.
        said: errors and lines of its console, broken policies included.
    """

    def __init__(self, profile: Path) -> None:
        command = [
            executable() or "chromium",
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--force-device-scale-factor=1",
            "--proxy-server=127.0.0.1:9",  # port 9 discards: no request can succeed
            f"--user-data-dir={profile}",
            "--remote-debugging-pipe",  # reads descriptor 3, writes 4
        ]
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        shell = ["bash", "-c", f'exec "$@" 3<&{to_read} 4>&{to_write}', "bash", *command]
        self._process = subprocess.Popen(
            shell,
            pass_fds=(to_read, to_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._buffer, self._next, self._events = b"", 0, []
        self._session: str | None = None
        self.requests: list[str] = []
        self.said: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """End the browser, whatever state it is in."""
        self._session = None
        try:
            self.call("Browser.close")
            self._process.wait(10)
        except Exception:
            self._process.kill()
            self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command and return its result."""
        self._next += 1
        message = {"id": self._next, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + ANSWER_SECONDS
        while True:
            answer = self._receive(end)
            if answer.get("id") == self._next:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self._note(answer)

    def open(self, path: Path, width: int = 1100, height: int = 800, dark: bool = False) -> None:
        """Show a file in a window of this size and wait until all of it is there."""
        self.requests.clear()
        self.said.clear()
        self.window(width, height)
        self.media("screen", dark)
        self._events.clear()
        self.call("Page.navigate", url=path.absolute().as_uri())
        end = time.monotonic() + LOADED_SECONDS
        while "Page.loadEventFired" not in self._events:
            self._note(self._receive(end))

    def window(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def media(self, kind: str, dark: bool = False) -> None:
        """``screen`` or ``print``, light or dark."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=kind, features=[scheme])

    def value(self, expression: str) -> Any:
        """What an expression of JavaScript gives on the page, whose own policy forbids scripts."""
        asked = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer = self.call("Runtime.evaluate", **asked)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def picture(self, whole: bool = False) -> bytes:
        """The window, or the whole page, as PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        return base64.b64decode(shot["data"])

    def printed(self) -> bytes:
        """The page as PDF, A4."""
        self.media("print")
        size = {"paperWidth": 8.27, "paperHeight": 11.69, "preferCSSPageSize": True}
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True, **size)["data"])

    def _receive(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._read], [], [], left)[0]:
                raise TimeoutError("the browser does not answer")
            part = os.read(self._read, 1 << 20)
            if not part:
                raise RuntimeError("the browser has ended")
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(line)

    def _note(self, event: dict[str, Any]) -> None:
        method, params = event.get("method", ""), event.get("params", {})
        self._events.append(method)
        if method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            own = params["type"] == "Document" and url.startswith("file:")
            if not own and not url.startswith("data:"):
                self.requests.append(url)
        elif method == "Runtime.consoleAPICalled":
            self.said.append(str(params["args"]))
        elif method == "Log.entryAdded":
            self.said.append(params["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.said.append(str(params["exceptionDetails"]))
        elif method == "Page.javascriptDialogOpening":
            self.said.append(f"dialog: {params['message']}")
