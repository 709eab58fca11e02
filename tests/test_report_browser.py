"""A report in a real Chromium, opened from the disk: it works, asks for nothing else, lets nothing act."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect, sync_playwright

from glance_bench.prompts import Prompt
from glance_bench.report.model import load
from glance_bench.report.site import Options, write_report
from tests.browser import ARGUMENTS, Opened, find_chromium
from tests.fake_run import SAMPLERS, finish, make_run, prompts_of
from tests.report_files import floats_of, page_of, piece
from tests.test_report import HOSTILE

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_playwright() as running:
        opened = running.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = make_run(tmp_path_factory.mktemp("a run #1"), prompts_of(30), black=[("uniform-4", "p001")])
    finish(run)
    return write_report(load([run.folder]), run.folder / "report").page


@pytest.fixture
def opened(chromium: Any, file: Path) -> Iterator[Opened]:
    made = Opened(chromium, file)
    yield made
    made.close()


def names(opened: Opened, board: int = 0) -> list[str]:
    return opened.page.locator(".leaderboard").nth(board).locator("tbody th span").all_inner_texts()


def test_headings_sort_and_restore(opened: Opened) -> None:
    heading = opened.page.locator(".leaderboard").first.get_by_role("columnheader", name="NFE")
    before = names(opened)
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert names(opened)[0] == "uniform-4" and names(opened)[-1] == "teacher-50"
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending" and names(opened)[0] == "teacher-50"
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "none" and names(opened) == before == list(SAMPLERS)


def test_one_view_at_a_time_and_an_address_for_each(opened: Opened, file: Path) -> None:
    shown = "section.view:visible"
    assert opened.page.locator(shown).evaluate_all("all => all.map((one) => one.id)") == ["view-overview"]
    for link in opened.page.locator("nav a").all():
        name = link.get_attribute("data-view")
        link.click()
        expect(opened.page.locator(f"#view-{name}")).to_be_visible()
        assert opened.page.locator(shown).count() == 1
        expect(link).to_have_attribute("aria-current", "page")
        assert opened.page.url == f"{file.as_uri()}#/{name}"
    opened.page.goto(f"{file.as_uri()}#/no-such-view")
    expect(opened.page.locator("#view-overview")).to_be_visible()


def test_pieces_arrive_whole(opened: Opened, file: Path) -> None:
    for board in page_of(file.parent).index["boards"]:
        for place, column in enumerate(board["columns"]):
            if column["images"]:
                got = opened.page.evaluate(
                    "async ([board, name]) => Array.from(await GB.values(board, name))",
                    [board["number"], column["name"]],
                )
                wanted = floats_of(piece(file.parent, f"b{board['number']}/values/{place}"))
                np.testing.assert_array_equal(np.array(got, dtype=np.float32), wanted)
    prompts = opened.page.evaluate("GB.prompts(0)")
    assert [prompt["id"] for prompt in prompts] == [f"p{i:03d}" for i in range(30)]
    images = opened.page.evaluate("GB.images(0, 1)")
    assert images[list(SAMPLERS).index("uniform-4")]["state"] == "black"


def test_a_missing_piece_is_said(chromium: Any, file: Path, tmp_path: Path) -> None:
    opened = Opened(chromium, file)
    told = opened.page.evaluate("GB.chunk('b9/prompts').catch((error) => error.message)")
    assert told == "data/b9/prompts.js is not there"
    opened.said.clear()
    opened.close()


def test_pictures_of_a_folder_elsewhere_and_of_a_single_file(chromium: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", prompts_of(3), models=("testbed-flux",))
    finish(run)
    report = load([run.folder])
    for out, options in ((tmp_path / "out", Options()), (tmp_path / "one.html", Options(single_file=True))):
        opened = Opened(chromium, write_report(report, out, options).page)
        sizes = opened.page.evaluate(
            """async () => {
              const [prompts, images] = [await GB.prompts(0), await GB.images(0, 2)];
              const shown = images.map((image, sampler) => GB.picture(0, 2, sampler, image, prompts[2]));
              document.body.append(...shown);
              shown.forEach((one) => { one.loading = "eager"; });
              await new Promise((done) => setTimeout(done, 300));
              await Promise.all(shown.map((one) => one.decode()));
              return shown.map((one) => [one.naturalWidth, one.alt.slice(-25)]);
            }"""
        )
        assert [size for size, _ in sizes] == [64] * 6 and sizes[0][1].endswith("teacher-50, seed 1002")
        opened.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_screens_do_not_scroll_sideways(chromium: Any, file: Path, scheme: str) -> None:
    opened = Opened(chromium, file, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    for link in opened.page.locator("nav a").all():
        opened.page.goto(f"{file.as_uri()}{link.get_attribute('href')}")
        opened.page.wait_for_timeout(150)
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= 360, link.get_attribute("href")
    opened.close()


def test_hostile_text_stays_text_in_every_view(chromium: Any, tmp_path: Path) -> None:
    prompts = [Prompt(f"p{i}<b>", text, f"c{i}</td>", (text,)) for i, text in enumerate(HOSTILE)]
    run = make_run(tmp_path / "run", prompts)
    finish(run)
    file = write_report(load([run.folder]), run.folder / "report").page
    opened = Opened(chromium, file)
    for link in opened.page.locator("nav a").all():
        opened.page.goto(f"{file.as_uri()}{link.get_attribute('href')}")
        opened.page.wait_for_timeout(200)
        assert opened.page.locator("main script, main img[src='x'], main iframe").count() == 0
    opened.close()
