"""Where the browser tests find their browser."""

import os
import shutil

import pytest

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
