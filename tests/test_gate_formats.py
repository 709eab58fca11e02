"""What becomes of a gate's document in each format, and which margins columns have."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

import pytest
from pydantic import ValidationError

from glance_bench.gate import github, junit, markdown, text
from glance_bench.gate.document import document
from glance_bench.gate.judge import judge
from glance_bench.gate.settings import GateBlock, GateSettings, default_margin, margin_amount
from glance_bench.yamlfile import read_yaml
from tests.gate_fixtures import edited, evidence

SUITE = """name: ci
judge: qwen
samplers:
  - teacher-50
  - cards/mine.yaml
  - {like: glance-8, adapters: new}
  - {like: glance-8, adapters: new, name: own}
metrics: [clip, "dpg[judge]"]
profiles:
  large:
    metrics:
      - hps
      - clip
    judge: other
gate:
  speed: {margin: 4%}
  margins:
    hps: 1%
"""


def column(**changes: Any) -> dict[str, Any]:
    return {
        **{"name": "x", "metric": "x", "kind": "sample", "better": "higher", "flag": False, "headline": True},
        **{"description": "some score", **changes},
    }


@pytest.mark.parametrize(
    ("changes", "margin"),
    [
        ({}, "2%"),
        ({"description": "share of images that are right"}, 0.02),
        ({"kind": "corpus", "better": "lower"}, "5%"),
        ({"kind": "corpus"}, 0.02),
        ({"kind": "pair", "metric": "psnr"}, 0.5),
    ],
)
def test_margins_by_kind_of_column(changes: dict[str, Any], margin: float | str) -> None:
    assert default_margin(column(**changes)) == margin
    assert GateSettings().margin_of(column(**changes)) == margin


def test_a_margin_of_the_column_comes_before_that_of_its_metric() -> None:
    settings = GateSettings.model_validate(
        {"margins": {"ocr": "3 %", "ocr_exact": 1}, "failures": {"margin": 0.05}}
    )
    assert settings.margin_of(column(name="ocr_exact", metric="ocr")) == 1.0
    assert settings.margin_of(column(name="ocr_edit", metric="ocr")) == "3%"
    assert settings.margin_of(column(name="black", metric="health", flag=True)) == 0.05
    assert margin_amount("3%", -0.5) == pytest.approx(0.015) and margin_amount(0.2, 7) == 0.2


def test_headlines_flags_and_named_columns_are_gated() -> None:
    settings = GateSettings(margins={"aside": 0.1}, leave_out=["ocr"])
    assert settings.gates(column()) and settings.gates(column(flag=True, headline=False))
    assert settings.gates(column(name="aside", headline=False))
    assert not settings.gates(column(name="other", headline=False))
    assert not settings.gates(column(name="ocr_exact", metric="ocr"))


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({"margins": {"clip": "two"}}, "a margin is a number such as 0.02"),
        ({"margins": {"clip": -0.1}}, "a margin is a number such as 0.02"),
        ({"margins": {"clip": True}}, "a margin is a number such as 0.02"),
        ({"margins": {"clip": float("nan")}}, "a margin is a number such as 0.02"),
        ({"speed": {"margin": 3}}, "expected a share between 0 and 100%"),
        ({"level": 95}, "a level is between 0.5 and 1"),
    ],
)
def test_wrong_settings_are_told_in_words(block: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        GateSettings.model_validate(block)


def test_settings_survive_their_own_json() -> None:
    given = {
        "gate": {
            "margins": {"clip": "2%", "x": 0.1},
            "speed": {"margin": "3%", "absolute": 0.2},
            "noise": "fresh",
        }
    }
    settings = GateBlock.model_validate(given).settings
    assert settings.speed is not None and (settings.speed.margin, settings.speed.absolute) == (0.03, 0.2)
    assert GateSettings.model_validate(settings.model_dump(mode="json")) == settings
    assert GateBlock.model_validate({"name": "ci"}).settings == GateSettings()


@pytest.mark.parametrize(
    ("check", "profile", "line"),
    [
        ({"column": "hps", "metric": "hps"}, "large", 18),
        ({"column": "clip", "metric": "clip", "sampler": "teacher-50"}, None, 4),
        ({"column": "clip", "metric": "clip", "sampler": "mine"}, None, 5),
        ({"column": "speed", "metric": "", "sampler": "glance-8+new", "kind": "speed"}, None, 6),
        ({"column": "speed", "metric": "", "sampler": "own", "kind": "speed"}, None, 7),
        ({"column": "clip", "metric": "clip", "sampler": "gone"}, "large", 13),
        ({"column": "dpg", "metric": "dpg[qwen]", "sampler": "gone"}, None, 8),
        ({"column": "speed", "metric": "", "sampler": "gone", "kind": "speed"}, None, 16),
        ({"column": "black", "metric": "health", "sampler": "gone", "kind": "failures"}, None, 15),
    ],
)
def test_the_line_that_an_annotation_is_on(
    tmp_path: Path, check: dict[str, Any], profile: str | None, line: int
) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    tree = read_yaml(tmp_path / "suite.yaml")
    assert github.line_in_suite(tree, profile, {"sampler": "s", "kind": "metric", **check}) == line


def gate(verdict: str = "fail", **changes: Any) -> dict[str, Any]:
    """A document with one check of the given verdict, whose names and texts are hostile."""
    evil = "e\x00v\x1bil\ufffe ::error::x, 100% <i> & \ud800 ]]> `b` |\n::y"
    base = evidence()
    found = document(judge(base, base, GateSettings()), base, base, GateSettings(), "fail")
    (one,) = [c for c in found["checks"] if (c["sampler"], c["column"]) == ("slowfast-10", "truth")]
    one |= {
        "verdict": verdict,
        "sampler": evil,
        "title": evil,
        "message": evil,
        "prompt_set": evil,
        **changes,
    }
    overall = "pass" if verdict == "informational" else verdict
    one["moved"] = [{"prompt_id": evil, "text": evil, "baseline": 1.0, "run": 0.5}]
    return {**found, "checks": [one], "exit_code": 1, "notes": [evil], "verdict": overall}


def test_xml_holds_whatever_names_hold() -> None:
    root = xml.fromstring(junit.junit(gate()))
    (case,) = root.iter("testcase")
    assert "v\ufffdil\ufffd ::error::x, 100% <i> & \ufffd ]]> `b`" in (case.get("name") or "") + (
        case.get("classname") or ""
    )
    assert root.get("failures") == "1" and next(root.iter("failure")).get("type") == "regression"


@pytest.mark.parametrize(
    ("verdict", "on_inconclusive", "element"),
    [("fail", "pass", "failure"), ("inconclusive", "fail", "error"), ("inconclusive", "warn", "skipped"),
     ("informational", "fail", "skipped"), ("pass", "fail", "system-out")],
)  # fmt: skip
def test_every_verdict_has_its_element(verdict: str, on_inconclusive: str, element: str) -> None:
    root = xml.fromstring(junit.junit({**gate(verdict), "on_inconclusive": on_inconclusive}))
    (case,) = root.iter("testcase")
    assert [child.tag for child in case] == [element]


def test_an_annotation_is_one_line_escaped_as_github_does() -> None:
    first, last = github.lines(gate(), Path("suites/ci.yaml"), None)
    assert first.startswith("::error file=suites/ci.yaml,line=1,title=Fail%3A e\\x00v\\x1bil")
    properties, _, told = first.removeprefix("::error ").partition("::")
    assert "," not in properties.split("title=")[1] and ":" not in properties.split("title=")[1]
    assert "100%25" in told and "\n" not in first and "\x1b" not in first
    assert not last.startswith("::")
    (warning, _) = github.lines({**gate("inconclusive"), "exit_code": 0}, None, None)
    assert warning.startswith("::warning title=")


def test_markdown_cells_stay_cells() -> None:
    lines = list(markdown.lines(gate()))
    (row,) = [line for line in lines if line.startswith("| \u274c fail")]
    assert len(row.replace("\\|", "").split("|")) == len(markdown.HEAD) + 2
    assert "<i>" not in "".join(lines) and "&lt;i&gt;" in row and "\x1b" not in "".join(lines)


def test_text_has_no_control_characters() -> None:
    shown = "\n".join(text.lines(gate()))
    assert "\x1b" not in shown and "\x00" not in shown and "\\x1b" in shown


def test_differences_are_in_every_format() -> None:
    base = evidence()
    run = edited(base, lambda d: d.update(suite="nightly"))
    found = document(judge(base, run, GateSettings()), base, run, GateSettings(), "pass")
    assert found["exit_code"] == 4 and found["differences"][0]["run"] == "nightly"
    for lines in (text.lines(found), markdown.lines(found), github.lines(found, None, None)):
        assert "nightly" in "\n".join(lines)
    assert b"nightly" in junit.junit(found)
