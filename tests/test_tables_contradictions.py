"""The rules that find contradictions: each on tables made up for it, then all on the shipped paper."""

from typing import Any

import pytest

from glance_bench.tables.contradictions import RULES, Finding, contradictions, routes, speed_ratios
from glance_bench.tables.published import PaperTables, Retention, Row, load_paper
from tests.tables_fixtures import column, make_paper, row, table

ABC = ("a", "b", "c")


def found(paper: PaperTables, rule: str) -> list[Finding]:
    assert rule in RULES
    return [finding for finding in contradictions(paper) if finding.rule == rule]


def two_tables(first: dict[str, Any], second: dict[str, Any]) -> PaperTables:
    tables = [table("table 1", [first], ABC), table("table 2", [second], ABC)]
    return make_paper([first], ABC, tables=tables)


def test_one_configuration_with_two_numbers() -> None:
    paper = two_tables(row("x", [0.1, 0.2, 0.3], steps=8), row("x", [0.1, 0.25, 0.3], steps=8))
    (finding,) = found(paper, "same configuration")
    assert finding.cells == (("table 1", "x", "b"), ("table 2", "x", "b"))
    assert "table 1 prints 0.200" in finding.message and "table 2 prints 0.250" in finding.message


def test_labels_differ_and_the_configuration_is_named() -> None:
    alike = {"steps": 8, "configuration": "it"}
    paper = two_tables(row("x", [0.1, 0.2, 0.3], **alike), row("y", [0.1, 0.2, 0.4], **alike))
    assert len(found(paper, "same configuration")) == 1
    paper = two_tables(row("x", [0.1, 0.2, 0.3], **alike), row("y", [0.1, 0.2, 0.4], steps=8))
    assert not found(paper, "same configuration")


def test_equal_numbers_of_one_configuration_are_no_contradiction() -> None:
    paper = two_tables(row("x", [0.1, 0.2, 0.3], steps=8), row("x", [0.1, 0.2, 0.3], steps=8))
    assert contradictions(paper) == []


@pytest.mark.parametrize("differs", [{"steps": 10}, {"passes": 2}, {"configuration": "other"}])
def test_the_same_numbers_under_two_configurations(differs: dict[str, Any]) -> None:
    plain = {"steps": 8, "configuration": "it"}
    paper = two_tables(row("x", [0.1, 0.2, 0.3], **plain), row("y", [0.1, 0.2, 0.3], **plain | differs))
    (finding,) = found(paper, "same numbers")
    assert {cell[:2] for cell in finding.cells} == {("table 1", "x"), ("table 2", "y")}


def test_few_equal_numbers_are_chance() -> None:
    paper = two_tables(row("x", [0.1, 0.2, None]), row("y", [0.1, 0.2, 0.3]))
    assert not found(paper, "same numbers")
    paper = two_tables(row("x", [0.1, 0.2, 0.3]), row("y", [0.1, 0.2, 0.301]))
    assert not found(paper, "same numbers")


TEACHER = row("t", [0.5, 0.5, 0.5], teacher=True, steps=50)


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([row("s", [0.4, 0.4, 0.65], steps=8)], ["s"]),  # far above in one, below in two
        ([row("s", [0.4, 0.4, 0.501], steps=8)], []),  # above by less than it loses elsewhere
        ([row("s", [0.4, 0.6, 0.6], steps=8)], []),  # above in two
        ([row("s", [0.4, 0.5, 0.6], steps=8)], []),  # equal in one
        ([row("s", [0.4, 0.4, 0.4], steps=8)], []),  # below in all
        (  # its own longer variant is better still: then the score may well rise
            [
                row("s", [0.4, 0.4, 0.65], steps=8, method="m"),
                row("l", [0.6, 0.6, 0.7], steps=10, method="m"),
            ],
            [],
        ),
        (  # above its longer variant too
            [
                row("s", [0.4, 0.4, 0.65], steps=8, method="m"),
                row("l", [0.45, 0.45, 0.48], steps=10, method="m"),
            ],
            ["s"],
        ),
        (  # the longer one of another method does not count
            [
                row("s", [0.4, 0.4, 0.65], steps=8, method="m"),
                row("l", [0.6, 0.6, 0.7], steps=10, method="n"),
            ],
            ["s"],
        ),
    ],
)
def test_a_student_above_its_teacher(rows: list[dict[str, Any]], named: list[str]) -> None:
    paper = make_paper([TEACHER, *rows], ABC)
    assert [f.cells[0] for f in found(paper, "above its teacher")] == [("table 1", n, "c") for n in named]


def test_lower_is_better_turns_the_sign() -> None:
    lower = {name: column(better="lower") for name in ABC}
    rows = [TEACHER, row("s", [0.6, 0.6, 0.35], steps=8)]
    assert len(found(make_paper(rows, ABC, columns=lower), "above its teacher")) == 1
    rows = [TEACHER, row("s", [0.4, 0.4, 0.65], steps=8)]
    assert not found(make_paper(rows, ABC, columns=lower), "above its teacher")


def test_a_speed_up_in_steps_that_ignores_passes() -> None:
    rows = [
        row("t", [0.5], teacher=True, steps=50, passes=2),
        row("four", [0.4], steps=4),
        row("ten", [0.4], steps=10, passes=2),
    ]
    claims = [{"kind": "speed-up", "text": "fast", "student": "four", "teacher": "t", "times": 12.5}]
    findings = found(make_paper(rows, claims=claims), "passes")
    assert [finding.cells[0][1] for finding in findings] == ["four", "four"]
    assert "12.5x in steps and 25x in model evaluations" in findings[0].message
    assert "holds in steps alone; evaluations give 25x" in findings[1].message


@pytest.mark.parametrize(("times", "wrong"), [(5, False), (5.05, False), (6, True)])
def test_a_claimed_speed_up_against_evaluations(times: float, wrong: bool) -> None:
    rows = [row("t", [0.5], teacher=True, steps=50, passes=2), row("ten", [0.4], steps=10, passes=2)]
    claims = [{"kind": "speed-up", "text": "fast", "student": "ten", "teacher": "t", "times": times}]
    assert bool(found(make_paper(rows, claims=claims), "passes")) is wrong


def test_ratios_need_steps() -> None:
    known = Row.model_validate(row("t", None, steps=50))
    assert speed_ratios(Row.model_validate(row("s", None)), known) is None
    assert speed_ratios(Row.model_validate(row("s", None, steps=4, passes=2)), known) == (12.5, 6.25)


@pytest.mark.parametrize(
    ("percent", "verdict"), [(80.0, "equal"), (80.08, "within rounding"), (80.5, "not equal")]
)
def test_a_retention_claim_is_computed_again(percent: float, verdict: str) -> None:
    claim = {"kind": "retention", "text": "keeps", "student": "s", "teacher": "t", "column": "a"}
    rows = [row("t", [0.5]), row("s", [0.4])]
    paper = make_paper(rows, claims=[claim | {"percent": percent}])
    (stated,) = paper.claims
    assert isinstance(stated, Retention)
    (route,) = routes(paper, stated)
    assert route.value == pytest.approx(80)
    assert (route.low, route.high) == pytest.approx((100 * 0.3995 / 0.5005, 100 * 0.4005 / 0.4995))
    assert route.verdict(percent, 2) == verdict
    assert bool(found(paper, "claim")) is (verdict == "not equal")


def test_a_difference_claim_is_computed_again() -> None:
    claim = {"kind": "difference", "text": "loses", "student": "s", "teacher": "t", "column": "a"}
    rows = [row("t", [0.5]), row("s", [0.4])]
    assert not found(make_paper(rows, claims=[claim | {"less": 0.1}]), "claim")
    assert found(make_paper(rows, claims=[claim | {"less": 0.2}]), "claim")


def test_a_printed_mean_beside_its_parts() -> None:
    columns = {"a": column(), "b": column(), "all": column(metrics=[], mean_of=["a", "b"], decimals=1)}
    for printed, wrong in (
        (0.3, False),
        (0.4, False),
        (0.5, True),
    ):  # the mean is 0.35: either digit rounds to it
        tables = [
            table("table 1", [row("x", [0.3, 0.4])], ["a", "b"]),
            table("table 2", [row("x", [printed])], ["all"]),
        ]
        assert bool(found(make_paper([], columns=columns, tables=tables), "parts")) is wrong


def test_a_claim_on_a_mean_takes_both_ways() -> None:
    columns = {"a": column(), "b": column(), "all": column(metrics=[], mean_of=["a", "b"], decimals=1)}
    tables = [
        table("table 1", [row("t", [0.5, 0.5]), row("s", [0.3, 0.5])], ["a", "b"]),
        table("table 2", [row("t", [0.5]), row("s", [0.4])], ["all"]),
    ]
    claim = {
        "kind": "retention",
        "text": "keeps",
        "student": "s",
        "teacher": "t",
        "column": "all",
        "percent": 80,
    }
    paper = make_paper([], columns=columns, tables=tables, claims=[claim])
    (stated,) = paper.claims
    assert isinstance(stated, Retention)
    assert [(r.table, round(r.value, 6)) for r in routes(paper, stated)] == [("table 1", 80), ("table 2", 80)]


def test_the_shipped_paper() -> None:
    """What a reader finds by hand, and no more."""
    by_rule: dict[str, list[Finding]] = {}
    paper = load_paper("glance")
    for finding in contradictions(paper):
        by_rule.setdefault(finding.rule, []).append(finding)
    assert {rule: len(findings) for rule, findings in by_rule.items()} == {
        "same configuration": 2,
        "same numbers": 1,
        "above its teacher": 1,
        "passes": 2,
        "claim": 1,
    }
    pairs = [{(t, r) for t, r, _ in finding.cells} for finding in by_rule["same configuration"]]
    assert {("table 3", "Slow3 + Fast5"), ("table 5", "Slow3 + Fast5")} in pairs
    assert {("table 3", "Slow3 + Fast5"), ("table 2", "Glance (Qwen) 8")} in pairs
    assert {c[:2] for c in by_rule["same numbers"][0].cells} == {
        ("table 2", "LoRA (Qwen) uniform"),
        ("table 3", "Single (uniform)"),
    }
    assert by_rule["above its teacher"][0].cells == (("table 1", "Glance (FLUX) 8", "hpsv2.vqa"),)
    assert [f.cells[0][1] for f in by_rule["passes"]] == ["Qwen-Image-Lightning", "pi-Flow (Qwen)"]
    assert (
        "25x in model evaluations; beside it Glance (Qwen) 10 is claimed at 5x"
        in by_rule["passes"][1].message
    )
    assert "92.60 % of its teacher on OneIG-Bench: table 2 gives 92.24 %" in by_rule["claim"][0].message


def test_what_the_file_suspects_is_not_looked_at() -> None:
    paper = load_paper("glance")
    bare = paper.model_copy(update={"tables": [t.model_copy(update={"suspect": []}) for t in paper.tables]})
    assert contradictions(bare) == contradictions(paper)


def test_what_the_retention_claims_come_from() -> None:
    claims = [claim for claim in load_paper("glance").claims if isinstance(claim, Retention)]
    verdicts = {
        claim.column: {
            route.table: route.verdict(claim.percent, 2) for route in routes(load_paper("glance"), claim)
        }
        for claim in claims
    }
    assert verdicts == {  # 92.24 and 92.59, 99.68 twice, 96.70: none is printed to the last digit
        "oneig.overall": {"table 2": "not equal", "figure 4": "within rounding"},
        "hpsv2.hpsv2_1": {"table 1": "within rounding", "figure 4": "within rounding"},
        "geneval.overall": {"figure 4": "within rounding"},
    }
