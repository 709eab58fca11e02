"""Every view of a report under axe-core: nothing serious for people who do not see, or do not use a mouse."""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from glance_bench.report.model import load
from glance_bench.report.site import write_report
from tests.browser import ARGUMENTS, Opened, find_chromium
from tests.fake_run import finish, make_run, prompts_of

pytestmark = pytest.mark.browser

SERIOUS = ("serious", "critical")
# The style sheet is already in the page; axe would ask for it again and be refused by the policy.
RUN = """async () => (await axe.run(document, {preload: false})).violations.map(
  ({impact, id, nodes}) => [impact, id, nodes.slice(0, 3).map((node) => node.html.slice(0, 120))]
)"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_playwright() as running:
        opened = running.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = make_run(tmp_path_factory.mktemp("run"), prompts_of(5), black=[("uniform-4", "p001")])
    finish(run)
    return write_report(load([run.folder]), run.folder / "report").page


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (390, "light")])
def test_axe_finds_nothing_serious(chromium: Any, file: Path, width: int, scheme: str) -> None:
    opened = Opened(
        chromium, file, viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True
    )
    page = opened.page
    page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    found = {}
    addresses = [link.get_attribute("href") for link in page.locator("nav a").all()]
    assert len(addresses) == 10
    for address in [*addresses, "#/prompt?board=0&row=2"]:
        page.evaluate("(address) => { location.hash = address; }", address)
        page.wait_for_timeout(250)
        serious = [one for one in page.evaluate(RUN) if one[0] in SERIOUS]
        if serious:
            found[address] = serious
    opened.close()
    assert found == {}
