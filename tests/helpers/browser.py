"""Chromium without a window, spoken to through two pipes: pages at a width of one's choice, and what they ask for."""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
"""The browser that is installed here, None without one."""

WAIT = 90.0
"""Seconds to wait for an answer."""


class Browser:
    """A browser, and the events that it tells."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read, self._number, self._rest = write, read, 0, b""
        self.events: list[dict[str, Any]] = []
        self._session = ""

    def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Call a method of the developer protocol and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": arguments}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            found = self._next()
            if found.get("id") == self._number:
                assert "error" not in found, found["error"]
                return dict(found["result"])
            self.events.append(found)
        raise TimeoutError(method)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._read, 1 << 20)
            assert more, "the browser has gone"
            self._rest += more
        text, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(text))

    def open(self, file: Path, width: int, height: int = 900, *, dark: bool = False, media: str = "screen",
             scripts: bool = True) -> None:  # fmt: skip
        """Open a file in a tab as wide as that."""
        self._session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._session, self.events = session, []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.call("Page.navigate", url=file.resolve().as_uri())
        end = time.monotonic() + WAIT
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events) and time.monotonic() < end:
            self.events.append(self._next())

    def value(self, script: str) -> Any:
        """Value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def picture(self, file: Path, selector: str | None = None) -> None:
        """Save what is seen as a PNG, or the whole page, or one element."""
        clip = {}
        if selector is not None:
            box = self.value(
                f"(function(){{var b=document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
                "return {x:b.x+scrollX,y:b.y+scrollY,width:b.width,height:b.height}})()"
            )
            clip = {"clip": {**box, "scale": 1}}
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, **clip)
        file.write_bytes(base64.b64decode(found["data"]))

    def told(self) -> list[str]:
        """Errors and warnings of the console, and requests other than for the file itself."""
        lines = []
        for event in self.events:
            name, about = event.get("method"), event.get("params", {})
            if name == "Runtime.exceptionThrown":
                lines.append(f"exception: {about['exceptionDetails']}")
            elif name == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning"):
                lines.append(f"console: {about['args']}")
            elif name == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
                lines.append(f"log: {about['entry']['text']}")
            elif name == "Network.requestWillBeSent" and not about["request"]["url"].startswith("file:"):
                lines.append(f"request: {about['request']['url']}")
        return lines


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Start the browser with every host unresolvable, and end it."""
    assert BROWSER is not None
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()

    def connect() -> None:  # the browser reads from 3 and writes to 4; the ends it gets may be those very numbers
        reading, writing = os.dup(theirs_in), os.dup(theirs_out)
        os.dup2(reading, 3)
        os.dup2(writing, 4)

    command = [
        BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run",
        "--host-resolver-rules=MAP * ~NOTFOUND", "--disable-background-networking", "--disable-component-update",
        "--disable-dev-shm-usage", f"--user-data-dir={folder / 'profile'}", "about:blank",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, preexec_fn=connect,
                               close_fds=False)  # fmt: skip
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(ours_out, ours_in)
    finally:
        process.terminate()
        process.wait(30)
        os.close(ours_out)
        os.close(ours_in)
