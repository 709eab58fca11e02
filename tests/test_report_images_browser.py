"""The views of images in a real Chromium: what they show is what the run's tables say, and every control works."""

import io
import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect, sync_playwright

from glance_bench.evidence import read_evidence, write_evidence
from glance_bench.prompts import Prompt
from glance_bench.report import render
from tests.browser import ARGUMENTS, Opened, find_chromium
from tests.fake_run import METRICS, SAMPLERS, finish, make_run, prompts_of
from tests.test_report import HOSTILE

pytestmark = pytest.mark.browser

NAMES = list(SAMPLERS)
COUNT = 30
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_playwright() as running:
        opened = running.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = make_run(tmp_path_factory.mktemp("a run #1"), prompts_of(COUNT), black=[("uniform-4", "p001")])
    finish(run)
    return render([run.folder], run.folder / "report").page


@pytest.fixture
def opened(chromium: Any) -> Iterator[Open]:
    """Opens pages at an address of a report; in the end nothing was logged and nothing but files asked for."""
    made: list[Opened] = []

    def open_(file: Path, address: str, **context: Any) -> Page:
        made.append(Opened(chromium, file, f"#/{address}", **context))
        return made[-1].page

    yield open_
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def table(report: Path) -> pd.DataFrame:
    frame = pd.read_parquet(report.parent.parent / "samples.parquet")
    return frame[frame["model"] == "testbed-flux"]


def grid(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Values by prompt (in the order of prompts) and sampler."""
    found = table.pivot(index="prompt_id", columns="sampler", values=column)
    return found.loc[[f"p{i:03d}" for i in range(COUNT)], NAMES]


def decimals(report: Path, column: str) -> int:
    columns = json.loads((report.parent.parent / "results.json").read_text(encoding="utf-8"))["columns"]
    return int(next(one["decimals"] for one in columns if one["name"] == column))


def ids(page: Page) -> list[str]:
    view = page.locator("section.view:visible")
    return view.locator(".items .meta > bdi:first-child, .items th small").all_text_contents()


def ordered(keys: pd.Series, ascending: bool = True) -> list[str]:
    """The first page of prompts by key, equal keys in their order. Keys as the page has them, in single precision."""
    kept = keys.astype(np.float32).dropna()
    return list(kept.sort_values(ascending=ascending, kind="stable").index[:24])


def choose(page: Page, name: str, value: str) -> None:
    page.locator(f"section.view:visible [name={name}]").select_option(value)


# ---- prompts ----


def test_a_page_of_prompts_has_every_sampler_from_the_same_noise(
    opened: Open, report: Path, table: pd.DataFrame
) -> None:
    page = opened(report, "prompts")
    expect(page.locator("#view-prompts .row")).to_have_count(24)
    assert ids(page) == [f"p{i:03d}" for i in range(24)]
    assert page.locator("#view-prompts .count").inner_text() == "1 to 24 of 30"
    row = page.locator("#view-prompts .row").nth(3)
    assert row.locator("figcaption").all_text_contents() == NAMES
    seed = table.loc[table["prompt_id"] == "p003", "seed"].unique()
    assert list(seed) == [1003] and "seed 1003" in row.locator(".meta").text_content()
    image = row.locator("img").nth(1)
    image.scroll_into_view_if_needed()
    expect(image).to_have_js_property("naturalWidth", 64)
    assert image.get_attribute("alt").endswith("native-10, seed 1003")  # type: ignore[union-attr]
    assert row.locator(".tile").first.evaluate("e => getComputedStyle(e).position") == "sticky"
    assert row.evaluate("e => getComputedStyle(e).contentVisibility") == "auto"
    assert set(page.locator("#view-prompts img").evaluate_all("a => a.map(e => e.loading)")) == {"lazy"}
    page.get_by_role("button", name="Next →").click()
    expect(page.locator("#view-prompts .row")).to_have_count(6)
    assert page.evaluate("document.activeElement.className") == "items"
    page.go_back()
    expect(page.locator("#view-prompts .row")).to_have_count(24)


def test_tiles_show_the_values_of_the_table_and_how_they_stand(
    opened: Open, report: Path, table: pd.DataFrame
) -> None:
    page = opened(report, "prompts")
    values, digits = grid(table, "truth"), decimals(report, "truth")
    rows = page.locator("#view-prompts .row")
    expect(rows).to_have_count(24)
    marks = {"▲": 0, "▼": 0, "≈": 0, "": 0}
    for number in range(24):
        for place, name in enumerate(NAMES):
            pair = rows.nth(number).locator(".tile").nth(place).locator("dl > div", has_text="Truth").first
            title, value, mark = pair.evaluate("e => [...e.children].map((each) => each.textContent)")
            own, theirs = values[name].iloc[number], values["teacher-50"].iloc[number]
            assert (title, value) == ("Truth", f"{own:.{digits}f}")
            shift = 0 if abs(own - theirs) < 0.5 * 10**-digits else own - theirs
            assert mark == ("" if place == 0 else "▲" if shift > 0 else "▼" if shift < 0 else "≈")
            marks[mark] += 1
    assert marks["▼"] and marks["≈"] and marks[""] == 24


@pytest.mark.parametrize("column", ["truth", "ocr_word_accuracy"])
def test_the_orders_are_those_of_the_table(
    opened: Open, report: Path, table: pd.DataFrame, column: str
) -> None:
    page = opened(
        report, f"prompts?sort=worst&sampler=4&metric={column.replace('[', '%5B').replace(']', '%5D')}"
    )
    values = grid(table, column).astype(np.float32)
    wanted = ordered(values["uniform-4"])
    expect(page.locator("#view-prompts .row")).to_have_count(len(wanted))
    assert ids(page) == wanted
    assert set(page.locator(".tile.chosen figcaption").all_text_contents()) == {"uniform-4"}
    choose(page, "sort", "loss")
    lost = values["uniform-4"] - values["teacher-50"]
    expect(page).to_have_url(re.compile("sort=loss"))
    expect(page.locator("#view-prompts .meta > bdi:first-child").first).to_have_text(ordered(lost)[0])
    assert ids(page) == ordered(lost)
    choose(page, "sort", "spread")
    choose(page, "sampler", "")
    spread = values.max(axis=1) - values.min(axis=1)
    expect(page.locator(".tile.chosen")).to_have_count(0)
    assert ids(page) == ordered(spread, ascending=False)
    choose(page, "sort", "worst")
    worst = ordered(values.drop(columns="teacher-50").min(axis=1))
    expect(page.locator("#view-prompts .meta > bdi:first-child").first).to_have_text(worst[0])
    assert ids(page) == worst


def test_prompts_are_filtered_and_the_address_brings_it_back(
    opened: Open, report: Path, table: pd.DataFrame
) -> None:
    page = opened(report, "prompts")
    rows, count = page.locator("#view-prompts .row"), page.locator("#view-prompts .count")
    signs = sorted(table.loc[table["category"] == "sign", "prompt_id"].unique())
    choose(page, "category", "sign")
    expect(rows).to_have_count(len(signs))
    assert ids(page) == signs
    choose(page, "category", "")
    choose(page, "length", "no text")
    expect(count).to_have_text(f"1 to {COUNT - len(signs)} of {COUNT - len(signs)}")
    choose(page, "length", "")
    texts = {p.id: p.text.lower() for p in prompts_of(COUNT)}
    page.locator("#view-prompts [name=q]").fill("Circle a")
    found = [name for name, text in texts.items() if "circle" in text and "a" in text]
    assert 0 < len(found) < 24
    expect(rows).to_have_count(len(found))
    assert ids(page) == found
    again = opened(report, page.url.split("#/")[1])
    expect(again.locator("#view-prompts .row")).to_have_count(len(found))
    assert again.locator("#view-prompts [name=q]").input_value() == "Circle a"
    page.locator("#view-prompts [name=q]").fill("p007")
    expect(rows).to_have_count(1)
    page.locator("#view-prompts [name=q]").fill("no such words")
    expect(count).to_have_text("Nothing fits.")
    page.get_by_role("button", name="Clear").click()
    expect(rows).to_have_count(24)
    choose(page, "board", "1")
    expect(page.locator("#view-prompts .row a").first).to_have_attribute("href", "#/prompt?board=1&row=0")


def test_only_failures_leaves_black_images_and_large_losses(
    opened: Open, report: Path, table: pd.DataFrame
) -> None:
    page = opened(report, "prompts?failures=1&sampler=1")
    lost = overall(table)["native-10"]
    wanted = list(lost.index[lost >= 2])
    assert 0 < len(wanted) < 24
    expect(page.locator("#view-prompts .row")).to_have_count(len(wanted))
    assert ids(page) == wanted
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("only failures").check()
    page.locator("#view-prompts [name=q]").fill("p001")
    expect(page.locator("#view-prompts .row")).to_have_count(1)
    assert page.locator("#view-prompts .broken").all_inner_texts() == ["\u2717 black image"]


def overall(table: pd.DataFrame) -> pd.DataFrame:
    """The largest drop of each image over headline metrics, each in standard deviations over the board."""
    best = None
    for metric in METRICS:
        for column in metric.columns:  # type: ignore[attr-defined]
            if column.name not in table or not (column.headline or column.name == "failed"):
                continue
            values = grid(table, column.name)
            drop = values.rsub(values["teacher-50"], axis=0) * (1 if column.better == "higher" else -1)
            drop = drop.drop(columns="teacher-50")
            spread = float(np.nanstd(drop.to_numpy()))
            scaled = drop / spread if spread else drop
            best = scaled if best is None else best.combine(scaled, np.fmax)
    assert best is not None
    return best


def test_a_cell_of_the_leaderboard_opens_its_images_worst_first(
    opened: Open, report: Path, table: pd.DataFrame
) -> None:
    page = opened(report, "overview")
    row = page.locator(".leaderboard").first.get_by_role("row").filter(has_text="uniform-8")
    row.locator("a[title^=CLIP]").click()
    expect(page.locator("#view-prompts [name=metric]")).to_have_value("clip[fake]")
    expect(page.locator("#view-prompts .tile.chosen")).to_have_count(24)
    assert ids(page) == ordered(grid(table, "clip[fake]")["uniform-8"])


def test_nothing_is_slow_over_ten_thousand_prompts_and_ten_samplers(opened: Open, report: Path) -> None:
    page = opened(report, "prompts")
    spent, right = page.evaluate(
        """() => {
          const values = Float32Array.from({ length: 100000 }, (_, i) => ((i * 7919) % 10007) / 97 - 50);
          values[5] = NaN;
          const rows = Uint32Array.from({ length: 10000 }, (_, i) => i), all = Uint32Array.from(values.keys());
          const spent = [];
          let found;
          for (let turn = 0; turn < 5; turn++) {
            let from = performance.now();
            found = GB.ranked(all, (place) => values[place]);
            spent.push(performance.now() - from);
            from = performance.now();
            GB.ranked(rows, (row) => {
              let low = NaN;
              for (let s = 0; s < 10; s++) {
                const v = values[s * 10000 + row];
                if (v < low || Number.isNaN(low)) low = v;
              }
              return low;
            });
            spent.push(performance.now() - from);
          }
          const wanted = [...all].filter((i) => i !== 5).sort((a, b) => values[a] - values[b] || a - b);
          return [spent, found.length === 99999 && wanted.every((place, at) => place === found[at])];
        }"""
    )
    assert right
    assert np.median(spent[1::2]) < 50, spent  # a value of every sampler, for 10,000 rows
    assert np.median(spent[::2]) < 150, spent  # all 100,000 images, as failures are ranked


# ---- one prompt ----


def test_a_prompt_is_walked_through_with_keys_and_with_the_buttons_that_name_them(
    opened: Open, report: Path
) -> None:
    page = opened(report, "prompts?category=sign")
    expect(page.locator("#view-prompts .row")).to_have_count(10)
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert (
        page.evaluate("document.activeElement.closest('.row').querySelector('.meta bdi').textContent")
        == "p005"
    )
    page.keyboard.press("Enter")
    view = page.locator("#view-prompt")
    expect(view.locator(".count")).to_have_text("2 of 10")  # of the list that one came from
    page.keyboard.press("j")
    expect(view.locator(".meta bdi").first).to_have_text("p008")
    view.get_by_role("button", name="Previous prompt").click()
    expect(view.locator(".meta bdi").first).to_have_text("p005")

    right = view.locator("[name=sampler]")
    expect(right).to_have_value("1")
    page.keyboard.press("l")
    expect(right).to_have_value("2")
    page.keyboard.press("h")
    expect(right).to_have_value("1")
    page.keyboard.press("5")
    expect(right).to_have_value("4")
    assert view.locator(".tile.chosen .named").inner_text() == "uniform-4"
    assert view.locator("button[aria-pressed=true] .named").all_inner_texts() == ["uniform-4"]
    assert "sampler=4" in page.url
    for key, mode in (("s", "slider"), ("d", "diff"), ("b", "blink"), ("b", "side")):
        page.keyboard.press(key)
        expect(view.locator(".stage")).to_have_attribute("data-mode", mode)
    page.keyboard.press("?")
    told = page.locator("dialog dt").all_inner_texts()
    assert {"j", "k", "h", "l", "b", "s", "d", "?", "1", "6"} <= set(told)
    page.keyboard.press("j")  # not while the dialog is open
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_be_hidden()
    expect(view.locator(".meta bdi").first).to_have_text("p005")

    page.goto(page.url.split("#")[0] + "#/prompts")
    page.locator("#view-prompts [name=q]").press("j")
    page.locator("#view-prompts [name=q]").press("?")
    assert page.locator("#view-prompts [name=q]").input_value() == "j?"
    assert page.locator("dialog[open]").count() == 0


def transforms(view: Locator) -> list[str]:
    found = view.locator(".pane img").evaluate_all("all => all.map((e) => getComputedStyle(e).transform)")
    return [str(one) for one in found]


def test_two_images_are_zoomed_and_moved_together(opened: Open, report: Path) -> None:
    page = opened(report, "prompt?board=0&row=3&sampler=4")
    view = page.locator("#view-prompt")
    expect(view.locator(".pane img")).to_have_count(2)
    assert view.locator(".pane .named").all_inner_texts() == ["teacher-50", "uniform-4"]
    expect(view.locator(".pane img").first).to_have_js_property("naturalWidth", 64)
    still = transforms(view)
    assert still == ["matrix(1, 0, 0, 1, 0, 0)"] * 2
    view.get_by_role("button", name="enlarge").click()
    larger = transforms(view)
    assert larger[0] == larger[1] and larger[0].startswith("matrix(1.5, 0, 0, 1.5, -")
    view.locator(".stage").focus()
    page.keyboard.press("ArrowLeft")
    moved = transforms(view)
    assert moved[0] == moved[1] != larger[0]
    pane = view.locator(".pane").nth(1)
    pane.scroll_into_view_if_needed()
    box = pane.bounding_box()
    assert box
    page.keyboard.press("0")
    assert transforms(view) == still
    x, y = box["x"] + box["width"] / 4, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.wheel(0, -100)
    expect(view.locator(".pane img").first).to_have_css("transform", re.compile(r"matrix\(1\.2, "))
    a, _, _, _, e, f = (float(n) for n in transforms(view)[1][7:-1].split(","))
    assert a == pytest.approx(1.2) and e == pytest.approx(
        -0.2 * box["width"] / 4, abs=1
    )  # what is below the pointer stays
    assert f == pytest.approx(-0.2 * box["height"] / 2, abs=1)
    page.mouse.down()
    page.mouse.move(x - 20, y)
    page.mouse.up()
    dragged = transforms(view)
    assert dragged[0] == dragged[1] and float(dragged[0][7:-1].split(",")[4]) == pytest.approx(e - 20, abs=1)


def pixels(part: Locator) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(part.screenshot())).convert("RGB"))


def test_slider_difference_and_blinking(opened: Open, report: Path) -> None:
    page = opened(report, "prompt?board=0&row=3&sampler=4&mode=slider")
    view = page.locator("#view-prompt")
    second = view.locator(".pane").nth(1)
    edge = view.get_by_role("slider", name="Where they meet")
    expect(second).to_have_css("clip-path", "inset(0px 0px 0px 50%)")
    edge.focus()
    page.keyboard.press("Home")
    expect(second).to_have_css("clip-path", "inset(0px 0px 0px 0%)")
    view.get_by_role("button", name="Difference").click()
    expect(second).to_have_css("mix-blend-mode", "difference")
    expect(view.get_by_role("slider", name="Brightness")).to_be_visible()
    choose_with = view.locator("[name=with]")
    choose_with.select_option("4")  # the same image on both sides: its difference is black all over
    view.locator(".pane img").first.evaluate("e => e.decode()")
    view.locator(".pane img").nth(1).evaluate("e => e.decode()")
    assert pixels(view.locator(".stage"))[20:-20, 20:-20].max() == 0
    choose_with.select_option("0")
    view.locator(".pane img").first.evaluate("e => e.decode()")
    assert pixels(view.locator(".stage"))[20:-20, 20:-20].max() > 50

    view.get_by_role("button", name="Blink").click()
    expect(view.get_by_label("on its own")).to_be_checked()
    stage = view.locator(".stage")
    expect(stage).to_have_class("stage swapped")
    expect(second).to_have_css("visibility", "visible")
    view.get_by_role("button", name="Swap").click()
    expect(view.get_by_label("on its own")).not_to_be_checked()
    before = stage.get_attribute("class")
    page.wait_for_timeout(900)
    assert stage.get_attribute("class") == before


def test_who_asked_for_less_motion_swaps_by_hand(opened: Open, report: Path) -> None:
    page = opened(report, "prompt?board=0&row=3&mode=blink", reduced_motion="reduce")
    stage = page.locator("#view-prompt .stage")
    expect(page.locator("#view-prompt .pane img")).to_have_count(2)
    page.wait_for_timeout(900)
    assert stage.get_attribute("class") == "stage"
    page.keyboard.press("x")
    assert stage.get_attribute("class") == "stage swapped"


def test_the_detail_page_says_how_to_make_the_image_again(opened: Open, report: Path) -> None:
    page = opened(report, "prompt?board=0&row=11&sampler=4")
    again = page.locator("#view-prompt .again")
    expect(again.locator("code")).to_have_text(
        "glance-bench run fake --samplers uniform-4 -o runs/again --limit 12"
    )
    assert again.locator(".who").inner_text() == "uniform-4, seed 1011"
    files = page.locator("#view-prompt .tile a").evaluate_all("all => all.map((e) => e.href)")
    assert len(files) == len(NAMES) and all(file.endswith(".png") for file in files)


def test_strips_are_placed_by_the_noise_that_was_left(opened: Open, tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "run", prompts_of(3), models=["testbed-flux"], samplers=["teacher-50", "uniform-4"]
    )
    finish(run)
    report = render([run.folder], run.folder / "report").page
    file = "../" + str(run.records()["image"].iloc[0])
    steps = [
        [(1.0, "slow"), (0.5, "fast"), (0.48, "fast"), (0.1, "fast")],
        [(1.0, ""), (0.5, ""), (0.49, ""), (0.48, "")],
    ]
    strips = [
        [
            {"sigma": sigma, "step": i, "adapter": adapter, "file": file}
            for i, (sigma, adapter) in enumerate(own)
        ]
        for own in steps
    ]
    text = report.read_text(encoding="utf-8")
    assert '"strips":[]' in text
    report.write_text(text.replace('"strips":[]', '"strips":[1]'), encoding="utf-8")
    place = report.parent / "data" / "b0" / "strips" / "1.js"
    place.parent.mkdir(exist_ok=True)
    place.write_text(f'GB.put("b0/strips/1",{json.dumps(strips)});', encoding="utf-8")

    page = opened(report, "prompt?row=0")
    expect(page.locator("#view-prompt .count")).to_have_text("1 of 3")
    assert page.locator("#view-prompt .way").is_hidden()
    page.keyboard.press("j")
    lanes = page.locator("#view-prompt .lane")
    expect(lanes).to_have_count(2)
    assert lanes.locator(".named").all_inner_texts() == ["teacher-50", "uniform-4"]
    first, second = (
        [
            float(left)
            for left in lanes.nth(lane)
            .locator("figure")
            .evaluate_all("all => all.map((e) => parseFloat(e.style.left))")
        ]
        for lane in range(2)
    )
    assert first[0] == second[0] == 0 and first[1] == second[1]  # the same noise level, one below the other
    assert first[3] == pytest.approx(1.8 * first[1])
    assert second[3] == second[2] + 76 == second[1] + 2 * 76  # pictures do not lie on each other
    assert first[2] == second[3]
    assert lanes.nth(0).locator("figcaption").all_inner_texts() == [
        "\u03c3 1.00 slow",
        "\u03c3 0.50 fast",
        "\u03c3 0.48 fast",
        "\u03c3 0.10 fast",
    ]
    colours = (
        lanes.nth(0)
        .locator("figure")
        .evaluate_all("all => all.map((e) => getComputedStyle(e).borderTopColor)")
    )
    assert colours[0] != colours[1] == colours[2] == colours[3]


# ---- failures ----


def shown_failures(page: Page) -> list[tuple[str, str]]:
    """(sampler, prompt id) of every item."""
    items = page.locator("#view-failures .row")
    return [
        (
            items.nth(i).locator("figcaption").nth(1).text_content(),
            items.nth(i).locator(".meta bdi").first.text_content(),
        )
        for i in range(items.count())
    ]


def worst_first(lost: pd.DataFrame) -> list[tuple[str, str]]:
    kept = lost.astype(np.float32).T.stack()  # by sampler, then by prompt
    kept = kept[kept > 0].sort_values(ascending=False, kind="stable")
    return [(str(sampler), str(name)) for sampler, name in kept.index]


def test_failures_are_ranked_by_what_is_lost(opened: Open, report: Path, table: pd.DataFrame) -> None:
    page = opened(report, "failures")
    expect(page.locator("#view-failures .row")).to_have_count(24)
    lost = overall(table).reindex(columns=NAMES[1:])
    keys = [lost.loc[name, sampler] for sampler, name in shown_failures(page)]
    best = sorted(lost.to_numpy()[lost.to_numpy() > 0], reverse=True)[:24]
    assert keys == pytest.approx(best, rel=1e-5)
    first = page.locator("#view-failures .row").first
    assert first.locator(".drop").inner_text() == f"▼ {best[0]:.1f} standard deviations"
    assert first.locator("figcaption").all_text_contents()[0] == "teacher-50"

    values = grid(table, "truth")
    drop = values.rsub(values["teacher-50"], axis=0).drop(columns="teacher-50").reindex(columns=NAMES[1:])
    choose(page, "metric", "truth")
    choose(page, "sampler", "4")
    wanted = worst_first(drop[["uniform-4"]])
    expect(page.locator("#view-failures .count")).to_have_text(
        f"1 to {min(24, len(wanted))} of {len(wanted)}"
    )
    assert shown_failures(page) == wanted[:24]
    assert "metric=truth" in page.url and "sampler=4" in page.url

    reference = values["teacher-50"]
    too = set(reference[reference < reference.mean() / 2].index)
    page.get_by_label("hide what the reference failed too").check()
    left = [one for one in wanted if one[1] not in too]
    expect(page.locator("#view-failures .count")).to_have_text(f"1 to {min(24, len(left))} of {len(left)}")


def test_failures_say_why_and_their_summary_leads_to_them(opened: Open, report: Path) -> None:
    page = opened(report, "failures?sampler=4")
    expect(page.locator("#view-failures .row")).to_have_count(24)
    told = json.loads(
        (report.parent / "data" / "b0" / "failures.js")
        .read_text(encoding="utf-8")
        .split(",", 1)[1]
        .rstrip(";)\n")
    )
    sampler, name = shown_failures(page)[0]
    causes = told["causes"][f"4/{int(name[1:])}"]
    assert sampler == "uniform-4" and causes
    assert page.locator("#view-failures .row").first.locator(".why li").all_inner_texts() == causes
    sentences = page.locator("#view-failures .sentences a")
    assert sentences.all_inner_texts() == [one["text"] for one in told["sentences"]]
    assert sentences.count() > 0
    sentence = told["sentences"][0]
    sentences.first.click()
    expect(page.locator("#view-failures [name=metric]")).to_have_value(sentence["column"])
    chosen = page.locator("#view-failures [name=sampler]").evaluate("e => e.selectedOptions[0].textContent")
    assert chosen == sentence["sampler"]


# ---- text ----


DIFFERENCES = [
    ("PARK", "GARK", [["del", "P"], ["ins", "G"], ["", "ARK"]]),
    ("OPEN", "open!", [["", "open!"]]),
    ("OPEN", "0PEN", [["del", "O"], ["ins", "0"], ["", "PEN"]]),
    (
        "GRAND OPENING TODAY",
        "GRAND OPNING",
        [["", "GRAND OP"], ["del", "E"], ["", "NING "], ["del", "TODAY"]],
    ),
    ("SALE", "x / SALE", [["ins", "x"], ["", " SALE"]]),
    ("CAT", "DOG", [["del", "CAT"], ["ins", "DOG"]]),
    ("OPEN", "", [["del", "OPEN"], ["", " "], ["i", "nothing read"]]),
    (
        "\u8425\u4e1a\u65f6\u95f4",
        "\u8425\u4e1a\u65e5\u95f4",
        [["", "\u8425\u4e1a"], ["del", "\u65f6"], ["ins", "\u65e5"], ["", "\u95f4"]],
    ),
    ("<b>", "<i>", [["del", "<b>"], ["ins", "<i>"]]),
]


def test_wanted_against_read(opened: Open, report: Path) -> None:
    page = opened(report, "text")
    for wanted, read, pieces in DIFFERENCES:
        found = page.evaluate(
            """([wanted, read]) => [...GB.compared(wanted, read).childNodes]
                 .map((e) => [e.nodeType === 3 ? "" : e.tagName.toLowerCase(), e.textContent])""",
            [wanted, read],
        )
        assert found == pieces
    long = "word " * 2000, "wort " * 2000
    assert (
        page.evaluate(
            "([a, b]) => { const from = performance.now(); GB.compared(a, b); return performance.now() - from; }",
            long,
        )
        < 200
    )


def test_texts_are_listed_and_a_heading_puts_the_worst_first(
    opened: Open, report: Path, table: pd.DataFrame
) -> None:
    page = opened(report, "text")
    rows = page.locator("#view-text tbody tr")
    asked = [f"p{i:03d}" for i in range(2, COUNT, 3)]
    expect(rows).to_have_count(len(asked))
    assert ids(page) == asked
    values = grid(table, "ocr_word_accuracy")
    for number, name in enumerate(asked):
        for place, sampler in enumerate(NAMES):
            cell = rows.nth(number).locator("td").nth(place)
            value = values.loc[name, sampler]
            assert cell.locator("small").inner_text().split()[-1] == f"{value:.3f}"
            assert (cell.locator("del").count() == 0) == (value == 1)
    heads = page.locator("#view-text thead th")
    assert heads.all_inner_texts() == ["WANTED", *NAMES] or heads.all_inner_texts() == ["Wanted", *NAMES]
    page.get_by_role("button", name="uniform-4").click()
    expect(heads.nth(5)).to_have_attribute("aria-sort", "ascending")
    assert page.locator("#view-text [aria-sort=ascending]").count() == 1
    assert ids(page) == ordered(values.loc[asked, "uniform-4"])
    assert page.evaluate("document.activeElement.textContent") == "uniform-4"
    page.get_by_role("button", name="uniform-4").click()
    expect(heads.nth(5)).to_have_attribute("aria-sort", "none")
    assert ids(page) == asked


# ---- all of them ----


def test_narrow_screens_do_not_scroll_sideways(opened: Open, report: Path) -> None:
    page = opened(report, "prompts", viewport={"width": 390, "height": 800})
    for view in ("prompts", "prompt?row=2", "failures", "text"):
        page.goto(f"{report.as_uri()}#/{view}")
        expect(page.locator("section.view:visible h1")).to_be_visible()
        expect(page.locator("section.view:visible :is(.row, .tile, tbody tr)").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_hostile_texts_stay_text(opened: Open, tmp_path: Path) -> None:
    prompts = [Prompt(f"p{i}", text, text[:40], (text[:60],)) for i, text in enumerate(HOSTILE)]
    run = make_run(tmp_path / "run", prompts, models=["testbed-flux"])
    finish(run)
    report = render([run.folder], run.folder / "report").page
    page = opened(report, "prompts")
    rows = page.locator("#view-prompts .row")
    expect(rows).to_have_count(len(HOSTILE))
    assert rows.locator(".prompt").all_text_contents()[:2] == list(HOSTILE[:2])
    long = rows.nth(6)
    shut = long.locator(".prompt").evaluate("e => e.clientHeight")
    long.get_by_role("button", name="Show all").click()
    assert long.locator(".prompt").evaluate("e => e.clientHeight") > 3 * shut
    for number in range(len(HOSTILE)):
        page.goto(f"{report.as_uri()}#/prompt?row={number}&mode=diff")
        expect(page.locator("#view-prompt .meta > bdi").first).to_have_text(f"p{number}")
    for view in ("failures", "text"):
        page.goto(f"{report.as_uri()}#/{view}")
        expect(page.locator(f"#view-{view} .items > *").first).to_be_visible()
    assert page.locator("[onerror], main script").count() == 0


def test_without_images_the_values_are_still_there(opened: Open, report: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    write_evidence(read_evidence(report.parent.parent), kept)
    page = opened(render([kept], tmp_path / "report").page, "prompts?sort=worst&sampler=4")
    rows = page.locator("#view-prompts .row")
    expect(rows).to_have_count(24)
    assert set(rows.first.locator(".absent").all_inner_texts()) == {"not kept"}
    rows.first.get_by_role("link").first.click()
    expect(page.locator("#view-prompt .tile dd").first).to_be_visible()
    assert page.locator("#view-prompt .compared").is_hidden()
    page.goto(page.url.split("#")[0] + "#/text")
    expect(page.get_by_text("Nothing here has read the text of an image.")).to_be_visible()


def test_one_sampler_has_nothing_to_fail_against(opened: Open, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", prompts_of(3), models=["testbed-flux"], samplers=["uniform-4"])
    finish(run)
    report = render([run.folder], run.folder / "report").page
    page = opened(report, "failures")
    expect(page.locator("#view-failures .count")).to_have_text("Nothing fits.")
    page.goto(f"{report.as_uri()}#/prompts?sort=loss&failures=1")
    expect(page.locator("#view-prompts .count")).to_have_text("Nothing fits.")
    page.goto(f"{report.as_uri()}#/prompt?row=2")
    expect(page.locator("#view-prompt .pane img")).to_have_count(2)
    assert not math.isnan(float(page.locator("#view-prompt dl dd").first.inner_text()))
