"""The page in a real Chromium, opened from the disk: it works, asks for nothing else, lets nothing act."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect, sync_playwright

from glance_bench import results
from glance_bench.prompts import Prompt
from glance_bench.report import render
from tests.browser import find_chromium
from tests.fake_run import METRICS, SAMPLERS, make_run, prompts_of
from tests.test_report import HOSTILE

pytestmark = pytest.mark.browser

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_playwright() as running:
        opened = running.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS)
        yield opened
        opened.close()


class Opened:
    """A page, what it logged and what it asked for."""

    def __init__(self, chromium: Any, file: Path, **context: Any) -> None:
        self.context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append("dialog"), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = make_run(tmp_path_factory.mktemp("a run #1"), prompts_of(30), black=[("uniform-4", "p001")])
    return render(run, results.build(run, METRICS), run.folder / "report")


@pytest.fixture
def opened(chromium: Any, file: Path) -> Iterator[Opened]:
    made = Opened(chromium, file)
    yield made
    assert made.said == []
    assert made.asked and all(url.startswith("file:") for url in made.asked)
    made.context.close()


def names(opened: Opened, board: int = 0) -> list[str]:
    return opened.page.locator(".leaderboard").nth(board).locator("tbody th span").all_inner_texts()


def rows(opened: Opened) -> list[str]:
    return opened.page.locator("#gallery .prompt").all_text_contents()


def test_images_load_and_stay_sharp(opened: Opened) -> None:
    image = opened.page.locator("#gallery img").first
    image.scroll_into_view_if_needed()
    expect(image).to_have_js_property("naturalWidth", 64)
    assert image.evaluate("e => getComputedStyle(e).imageRendering") == "pixelated"
    assert image.evaluate("e => e.clientWidth") == 128
    assert opened.page.locator("#gallery .row").count() == 24
    first = opened.page.locator("#gallery .row").first
    assert first.locator("figcaption").all_inner_texts() == list(SAMPLERS)
    assert first.locator(".tile").first.evaluate("e => getComputedStyle(e).position") == "sticky"


def test_headings_sort_and_restore(opened: Opened) -> None:
    head = opened.page.locator(".leaderboard").first.get_by_role("button", name="NFE")
    head.click()
    assert names(opened) == [
        "uniform-4",
        "uniform-8",
        "native-10",
        "uniform-10",
        "slowfast-10-base",
        "teacher-50",
    ]
    cell = opened.page.locator(".leaderboard th[aria-sort=ascending]")
    assert cell.count() == 1
    head.click()
    assert names(opened)[0] == "teacher-50" and names(opened)[-1] == "uniform-4"
    head.click()
    assert names(opened) == list(SAMPLERS)
    opened.page.locator(".leaderboard").first.get_by_role("button", name="Truth", exact=True).click()
    assert names(opened)[0] == "teacher-50" and names(opened)[-1] == "uniform-4"
    assert names(opened, 1) == list(SAMPLERS)


def test_a_cell_opens_its_images_worst_first(opened: Opened) -> None:
    cell = "button.open[data-column='ocr_word_accuracy'][data-sampler='4'][data-board='1']"
    opened.page.locator(cell).click()
    assert opened.page.locator("#board").input_value() == "1"
    assert (opened.page.locator("#column").input_value(), opened.page.locator("#sampler").input_value()) == (
        "ocr_word_accuracy",
        "4",
    )
    assert opened.page.locator("#gallery .row").count() == 10  # the prompts with text
    chosen = opened.page.locator("#gallery .row").first.locator(".tile.chosen figcaption")
    assert chosen.all_inner_texts() == ["uniform-4"]
    scores = opened.page.locator(".tile.chosen dd.sorted").all_text_contents()
    assert scores == sorted(scores)
    assert "order=worst" in opened.page.url


def test_filters_and_pages(opened: Opened) -> None:
    page = opened.page
    assert page.locator("#count").inner_text() == "Rows 1 to 24 of 30."
    page.locator("#next").click()
    assert page.locator("#gallery .row").count() == 6 and page.locator("#next").is_disabled()
    page.locator("#category").select_option("sign")
    assert page.locator("#count").inner_text() == "Rows 1 to 10 of 10."
    assert all("OPEN" in text for text in rows(opened))
    page.locator("#find").fill("no such words")
    assert page.locator("#count").inner_text() == "No prompt fits."
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#gallery .row")).to_have_count(24)
    page.locator("#board").select_option("1")
    page.locator("#order").select_option("drop")
    page.locator("#sampler").select_option("4")
    worst = page.locator("#gallery .row").first.locator(".tile").nth(4)
    assert worst.locator(".down").count() > 0


def test_state_in_the_address_comes_back(chromium: Any, file: Path, opened: Opened) -> None:
    opened.page.locator("#category").select_option("pair")
    again = Opened(chromium, file)
    again.page.goto(opened.page.url)
    again.page.reload()
    assert again.page.locator("#category").input_value() == "pair"
    assert rows(again) == rows(opened)
    again.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_screens_do_not_scroll_sideways(chromium: Any, file: Path, scheme: str) -> None:
    made = Opened(chromium, file, viewport={"width": 380, "height": 800}, color_scheme=scheme)
    assert made.page.evaluate("document.documentElement.scrollWidth") == 380
    paper = made.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    made.page.locator("#theme").click()
    assert made.page.evaluate("getComputedStyle(document.body).backgroundColor") != paper
    assert made.said == []
    made.context.close()


def test_hostile_prompts_stay_text(chromium: Any, tmp_path: Path) -> None:
    prompts = [Prompt(f"p{i}", text, text[:40], (text[:60],)) for i, text in enumerate(HOSTILE)]
    run = make_run(tmp_path, prompts, models=["testbed-flux"])
    made = Opened(chromium, render(run, results.build(run, METRICS), tmp_path / "report"))
    expect(made.page.locator("#gallery .row")).to_have_count(len(HOSTILE))
    shown = rows(made)
    assert shown[0] == HOSTILE[0] and shown[1] == HOSTILE[1]
    assert made.page.locator("#gallery img[onerror], #gallery script").count() == 0
    long = made.page.locator("#gallery .row").nth(6)
    folded = long.locator(".prompt").evaluate("e => e.clientHeight")
    long.get_by_role("button", name="Show all").click()
    assert long.locator(".prompt").evaluate("e => e.clientHeight") > 3 * folded
    assert made.said == [] and all(url.startswith("file:") for url in made.asked)
    made.context.close()
