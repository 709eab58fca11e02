"""Where the browser tests find their browser, and a page that remembers what it logged and asked for."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str:
    """Path of the system's Chromium, for Playwright's ``executable_path``.

    Without one the calling test is skipped, or fails where GLANCE_BENCH_REQUIRE_BROWSER=1 says that there
    must be one (as .ci/run does).
    """
    for name in NAMES:
        if path := shutil.which(name):
            return path
    reason = f"no Chromium on this machine: none of {', '.join(NAMES)} is on PATH"
    if os.environ.get("GLANCE_BENCH_REQUIRE_BROWSER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


class Opened:
    """A page opened from the disk, what it logged and what it asked for."""

    def __init__(self, chromium: Any, file: Path, address: str = "", **context: Any) -> None:
        self.context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append("dialog"), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri() + address)

    def close(self) -> None:
        """Asserts that nothing was logged and that nothing but files and data in the page was asked for."""
        self.context.close()
        assert self.said == []
        assert self.asked and all(url.startswith(("file:", "data:")) for url in self.asked)
