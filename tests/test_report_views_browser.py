"""The views that are made at build time in a real Chromium: pairs are chosen and exchanged, tables load, charts fit."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect, sync_playwright

from glance_bench.comparison import compare, two_samplers
from glance_bench.evidence import read_evidence
from glance_bench.report.model import load
from glance_bench.report.site import Options, write_report
from tests.browser import ARGUMENTS, Opened, find_chromium
from tests.fake_run import SAMPLERS, finish, make_run, prompts_of

pytestmark = pytest.mark.browser

NAMES = list(SAMPLERS)
VIEWS = ("compare", "speed", "papers", "schedule", "training", "provenance")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_playwright() as running:
        opened = running.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_run(tmp_path_factory.mktemp("a run #1"), prompts_of(18), black=[("uniform-4", "p001")])
    finish(made)
    return made.folder


@pytest.fixture(scope="module")
def file(run: Path) -> Path:
    return write_report(load([run]), run / "report").page


@pytest.fixture
def opened(chromium: Any, file: Path) -> Iterator[Opened]:
    made = Opened(chromium, file)
    yield made
    made.close()


def differences(run: Path, a: str, b: str, model: str = "testbed-flux") -> list[str]:
    """What the column B - A should show."""
    document = compare(two_samplers(read_evidence(run), a, b))
    (one,) = (one for one in document["comparisons"] if one["model"] == model)
    return [f"{row['delta']:+.{row['decimals'] + 1}f}" for row in one["metrics"]]


def shown(opened: Opened) -> list[str]:
    return opened.page.locator("#pair .effects").first.locator("tbody tr td:nth-child(4) a").all_inner_texts()


def test_pairs_are_chosen_exchanged_and_addressed(opened: Opened, run: Path) -> None:
    page = opened.page
    page.get_by_role("link", name="Compare", exact=True).click()
    heading = page.locator("#pair h2")
    expect(heading).to_have_text(f"{NAMES[1]} against teacher-50")
    assert shown(opened) == differences(run, "teacher-50", NAMES[1])
    page.locator("#pair-b").select_option(label="uniform-4")
    expect(heading).to_have_text("uniform-4 against teacher-50")
    assert "a=teacher-50" in page.url and "b=uniform-4" in page.url
    assert shown(opened) == differences(run, "teacher-50", "uniform-4")
    page.locator("#pair-swap").click()
    expect(heading).to_have_text("teacher-50 against uniform-4")
    assert shown(opened) == differences(run, "uniform-4", "teacher-50")
    page.locator("#pair-b").select_option(label="uniform-4")  # which A is: the two change places
    expect(heading).to_have_text("uniform-4 against teacher-50")
    page.locator("#pair-board").select_option("1")
    expect(page.locator("#pair")).to_contain_text("testbed-qwen")
    page.go_back()
    expect(page.locator("#pair")).to_contain_text("testbed-flux")
    expect(heading).to_have_text("uniform-4 against teacher-50")


def test_a_difference_opens_its_images(opened: Opened, file: Path) -> None:
    page = opened.page
    page.goto(f"{file.as_uri()}#/compare?board=0&a=teacher-50&b=uniform-4")
    page.locator("#pair .effects a").first.click()
    expect(page.locator("#view-prompts")).to_be_visible()
    asked = page.locator("#view-prompts form")
    expect(asked.locator("[name=metric]")).to_have_value("truth")
    expect(asked.locator("[name=sort]")).to_have_value("loss")
    expect(asked.locator("[name=sampler]")).to_have_value(str(NAMES.index("uniform-4")))
    page.go_back()
    page.locator("#pair details summary", has_text="Truth").last.click()
    page.locator("#pair .moved a").first.click()
    expect(page.locator("#view-prompt")).to_be_visible()


def test_an_address_brings_its_pair_and_a_wrong_one_another(opened: Opened, file: Path) -> None:
    page = opened.page
    page.goto(f"{file.as_uri()}#/compare?board=1&a=native-10&b=uniform-8")
    expect(page.locator("#pair h2")).to_have_text("uniform-8 against native-10")
    expect(page.locator("#pair")).to_contain_text("testbed-qwen")
    page.goto(f"{file.as_uri()}#/compare?board=9&a=no-such&b=teacher-50")
    expect(page.locator("#pair h2")).to_have_text(f"{NAMES[1]} against teacher-50")


def test_tables_of_a_paper_load_when_they_are_asked_for(opened: Opened, file: Path) -> None:
    page = opened.page
    assert not any("papers" in address for address in opened.asked)
    page.goto(f"{file.as_uri()}#/papers")
    expect(page.locator("#paper h2").first).to_have_text("Printed and measured")
    assert page.locator("#paper table").count() > 4
    cell = page.locator("#paper section").last.locator("td a[title*='uniform-8']").first
    cell.click()
    asked = page.locator("#view-prompts form")
    expect(asked.locator("[name=sampler]")).to_have_value(str(NAMES.index("uniform-8")))
    expect(asked.locator("[name=sort]")).to_have_value("worst")
    expect(page.locator("#view-prompts .row").first).to_be_visible()


def test_every_chart_has_a_table_behind_it(opened: Opened, file: Path) -> None:
    page = opened.page
    for name in ("speed", "compare"):
        page.goto(f"{file.as_uri()}#/{name}")
        section = page.locator(f"#view-{name}")
        expect(section.locator("svg.plot").first).to_be_visible()
        assert section.locator("details table").count() >= section.locator("svg.plot").count()
    page.goto(f"{file.as_uri()}#/schedule?board=1")
    expect(page.locator("#view-schedule")).to_contain_text("its images were made elsewhere")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_screens_do_not_scroll_sideways(chromium: Any, file: Path, scheme: str) -> None:
    made = Opened(chromium, file, viewport={"width": 390, "height": 800}, color_scheme=scheme)
    for name in VIEWS:
        made.page.goto(f"{file.as_uri()}#/{name}")
        expect(made.page.locator(f"#view-{name} h1")).to_be_visible()
        if name in ("compare", "papers"):
            expect(made.page.locator(f"#view-{name} table").last).to_be_attached()
        assert made.page.evaluate("document.documentElement.scrollWidth") == 390, name
    made.close()


def test_one_file_has_the_pairs_inside(chromium: Any, run: Path, tmp_path: Path) -> None:
    page = write_report(load([run]), tmp_path / "one.html", Options(single_file=True)).page
    made = Opened(chromium, page)
    made.page.goto(f"{page.as_uri()}#/compare?board=0&a=teacher-50&b=uniform-4")
    expect(made.page.locator("#pair h2")).to_have_text("uniform-4 against teacher-50")
    assert shown(made) == differences(run, "teacher-50", "uniform-4")
    made.close()
