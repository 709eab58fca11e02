"""A missing browser must not hide the browser tests where one is required."""

import pytest

from tests.browser import NAMES, find_chromium


@pytest.fixture
def no_browser(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))


def test_finds_the_browser_on_path(no_browser, monkeypatch, tmp_path):
    fake = tmp_path / NAMES[-1]
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o755)
    assert find_chromium() == str(fake)


def test_missing_browser_skips_by_default(no_browser, monkeypatch):
    monkeypatch.delenv("GLANCE_BENCH_REQUIRE_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="chromium"):
        find_chromium()


def test_missing_browser_fails_where_it_is_required(no_browser, monkeypatch):
    monkeypatch.setenv("GLANCE_BENCH_REQUIRE_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="chromium"):
        find_chromium()
