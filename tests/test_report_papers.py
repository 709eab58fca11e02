"""The Papers view: the tables of the command, in a report, each measured value leading to its images."""

import re
from collections.abc import Mapping
from dataclasses import replace
from html import unescape
from typing import Any

from glance_bench.evidence import Evidence
from glance_bench.report.model import Report
from glance_bench.report.page import environment
from glance_bench.report.text import visible
from glance_bench.report.views import papers
from glance_bench.tables.fill import fill
from glance_bench.tables.published import load_paper
from glance_bench.tables.sections import sections

from .made_evidence import column, evidence
from .view_fixtures import NOISE, Fragment, report_of, shown, stepped


def test_the_paper_s_tables_are_those_of_the_command() -> None:
    report = report_of(stepped())
    ((key, content),) = papers.pieces(report)
    found = Fragment(str(content))
    wanted = sections(fill(load_paper("glance"), [report.sources[0].evidence]))
    sheets = [
        sheet for section in wanted for sheet in section.sheets if section.title not in ("Empty cells",)
    ]
    by_caption = {sheet.caption: sheet for sheet in sheets}
    captions = [str(a["aria-label"]) for a in found.all("div", "scroll")]
    printed = 0
    for caption, table in zip(captions, found.tables, strict=True):
        if caption not in by_caption:
            continue
        sheet = by_caption[caption]
        lines = [line for group in sheet.groups for line in group.lines]
        for row, line in zip(table[1:], lines, strict=True):
            if line[0] in ("printed", "measured", "kept"):
                shown_cells = [" ".join(visible(text).split()) for text in line]
                if line[0] == "printed":
                    assert row[-len(line) :] == shown_cells
                    printed += 1
    assert printed > 10 and key == "papers"
    assert f'data-piece="{key}"' in environment().get_template("papers.html").render(**papers.context(report))
    assert "Contradictions found" in found.text and "Testbed, never comparable with the paper" in found.text


def test_a_report_does_not_speak_of_the_machine_that_made_it() -> None:
    ((_, content),) = papers.pieces(report_of(stepped()))
    text = Fragment(str(content)).text
    assert "no GPU" not in text and "this machine has no" not in text and "not run" in text


def test_the_testbed_is_said_to_stand_apart() -> None:
    found = shown("papers", report_of(stepped()))
    assert "comparable with nothing that a paper prints" in found.text
    assert found.links("prompts") == ["#/prompts?board=0"]
    other = shown("papers", report_of(evidence({"a": {"x": NOISE}}, model="flux.1-dev")))
    assert "TESTBED." not in other.text and "Measured values come from the images of" in other.text
    assert other.links("prompts") == ["#/prompts?board=0"]


CLIP = "clip[vit-l-14-336-quickgelu/openai]"
FID = "fid[inception-2015-12-05,bicubic-aa]"
STEPS = {"teacher-50": 50, "glance-8": 8}


def on_coco(name: str, values: Mapping[str, Mapping[str, Any]], **more: Any) -> Evidence:
    """Evidence of FLUX.1 on the paper's prompts."""
    made = evidence(values, name=name, model="flux.1-dev", made_of=None, **more)
    (board,) = made.results["boards"]
    for row in board["samplers"]:
        row["nfe"]["nominal"] = STEPS[row["sampler"].partition(".")[0]]
    board["prompt_set"] = "coco-10k"
    return replace(
        made, samples=made.samples.assign(prompt_set="coco-10k"), prompts={"coco-10k": made.prompts["set"]}
    )


def measured(report: Report) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """The cells of the tables that lead somewhere: their text, and (address, title, text) of each link."""
    ((_, content),) = papers.pieces(report)
    cells = re.findall(r"<td>((?:(?!</td>).)*<a .*?)</td>", str(content), re.DOTALL)
    link = re.compile(r'<a href="([^"]*)" title="([^"]*)">([^<]*)</a>')
    return [
        (
            " ".join(re.sub("<[^>]*>", "", cell).split()),
            [(unescape(address), title, text) for address, title, text in link.findall(cell)],
        )
        for cell in cells
    ]


def test_every_measured_value_leads_to_the_images_behind_it() -> None:
    made = on_coco(
        "real",
        {"teacher-50": {CLIP: NOISE}, "glance-8": {CLIP: 0.97 * NOISE}},
        columns=[column(CLIP), column(FID, "corpus", "lower")],
        corpus={name: {FID: (30.0, [30.0] * 20)} for name in STEPS},
    )
    drawn = evidence({"teacher-50": {"x": NOISE}, "glance-8": {"x": NOISE}})
    led: dict[tuple[str, str], set[str]] = {}
    for text, ((address, title, inside),) in measured(report_of(drawn, made)):
        assert inside == text
        led.setdefault((address, title), set()).add(text.partition(" ")[0])
    clip = "&sort=worst&metric=clip%5Bvit-l-14-336-quickgelu%2Fopenai%5D"
    teacher, glance, own = (
        f"images of {what}"
        for what in ("teacher-50, flux.1-dev", "glance-8, flux.1-dev", "glance-8, testbed")
    )
    where = {(a, t.partition(" on ")[0].replace("-flux", "")) for a, t in led}
    assert where == {
        ("#/prompts?board=1&sampler=0" + clip, teacher),
        ("#/prompts?board=1&sampler=1" + clip, glance),
        ("#/prompts?board=1&sampler=0", teacher),  # a distance has no worst image
        ("#/prompts?board=1&sampler=1", glance),
        ("#/prompts?board=0&sampler=0&sort=worst&metric=x", teacher.replace("flux.1-dev", "testbed")),
        ("#/prompts?board=0&sampler=1&sort=worst&metric=x", own),
    }
    of_glance = next(texts for (address, _), texts in led.items() if address.endswith("sampler=1" + clip))
    value = 0.97 * NOISE.mean()
    assert {f"{value:.4f}", f"{value - 0.259:+.4f}", "97.0"} <= of_glance  # measured, delta, share kept


def test_seeds_of_an_adapter_are_led_to_one_by_one() -> None:
    made = on_coco("seeds", {name: {CLIP: NOISE} for name in ("teacher-50", "glance-8.s0", "glance-8.s1")})
    made = replace(made, suite={"name": "seeds", "samplers": ["teacher-50", {"name": "glance-8"}]})
    trained = [links for _, links in measured(report_of(made)) if "glance-8" in links[0][1]]
    assert len(trained) == 3  # measured, delta, share kept
    for first, second in trained:
        assert (first[1], second[1]) == tuple(
            f"images of glance-8.s{seed}, flux.1-dev on coco-10k" for seed in (0, 1)
        )
        assert "sampler=1&" in first[0] and "sampler=2&" in second[0] and second[2] == "(2)"
