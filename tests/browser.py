"""A real Chromium without a window, driven by chromedriver over its own protocol (W3C WebDriver): JSON over HTTP.

with browser() as page:
    page.open("http://127.0.0.1:8080/#/runs")
    page.wait_for("document.querySelector('h1')")
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

DRIVER, CHROMIUM = shutil.which("chromedriver"), shutil.which("chromium")
SECONDS = 20.0
needs_browser = pytest.mark.skipif(
    DRIVER is None or CHROMIUM is None, reason="chromium and chromedriver are not installed (apt: chromium-driver)"
)


class Page:
    """The one page of a browser."""

    def __init__(self, driver: str, options: dict[str, Any]) -> None:
        self._base = driver
        made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": options}})
        self._base = f"{driver}/session/{made['sessionId']}"

    def _ask(self, method: str, path: str, content: Any = None) -> Any:
        body = None if content is None else json.dumps(content).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"{self._base}{path}", body, headers, method=method)  # noqa: S310  the driver's
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)["value"]

    def open(self, address: str) -> None:
        """Go to an address."""
        self._ask("POST", "/url", {"url": address})

    def run(self, script: str) -> Any:
        """Return what an expression of JavaScript gives."""
        return self._ask("POST", "/execute/sync", {"script": f"return ({script});", "args": []})

    def wait_for(self, script: str, seconds: float = SECONDS) -> Any:
        """Return what an expression gives as soon as it is something; fail after a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.run(script)
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds:g} seconds: {script}; the page says: {self.text()[:600]}")

    def text(self) -> str:
        """Return what is to be read on the page."""
        return str(self.run("document.body.innerText"))

    def click(self, selector: str) -> None:
        """Click on an element."""
        found = self._ask("POST", "/element", {"using": "css selector", "value": selector})
        self._ask("POST", f"/element/{next(iter(found.values()))}/click", {})

    def press(self, *keys: str) -> None:
        """Press keys one after the other."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def resize(self, width: int, height: int) -> None:
        """Give the view these many pixels."""
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    def dark(self, dark: bool) -> None:
        """Prefer dark colours, or light ones."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.command("Emulation.setEmulatedMedia", features=features)

    def command(self, name: str, **params: Any) -> Any:
        """Give a command of Chromium's own protocol."""
        return self._ask("POST", "/goog/cdp/execute", {"cmd": name, "params": params})

    def errors(self) -> list[str]:
        """Return what the page complained of since the last time."""
        entries = self._ask("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Save what is to be seen as a PNG."""
        content = self.command("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(content))

    def close(self) -> None:
        """Close the browser."""
        self._ask("DELETE", "")


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """Run a browser whose profile is in a folder."""
    assert DRIVER is not None
    process = subprocess.Popen(
        [DRIVER, "--port=0"], stdout=subprocess.PIPE, text=True, env={**os.environ, "HOME": str(folder)}
    )
    try:
        arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={folder / 'profile'}",
            "--no-proxy-server",
        ]
        options = {
            "goog:chromeOptions": {"args": arguments, "binary": CHROMIUM},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        page = Page(f"http://127.0.0.1:{_port(process)}", options)
        try:
            yield page
        finally:
            page.close()
    finally:
        process.terminate()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    for line in process.stdout:
        if "started successfully on port" in line:
            return int(line.split()[-1].rstrip("."))
    raise AssertionError("chromedriver did not start")
