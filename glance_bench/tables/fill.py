"""A paper's tables filled from given runs: every cell with what is printed, what is measured, or why it is empty.

Runs of the testbed's models fill tables of their own, which hold no printed number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from glance_bench.evidence import Evidence
from glance_bench.stats.ratios import Ratio

from .contradictions import Finding, Route, contradictions, routes, speed_ratios
from .measured import find
from .published import Claim, Difference, PaperTables, Retention, Row, SpeedUp, Table
from .reasons import Machine, Reason
from .scores import Score, boards, members, retention, score

__all__ = ["Cell", "Checked", "Filled", "FilledTable", "TestbedTable", "fill"]


@dataclass(frozen=True)
class Cell:
    """What is printed and what is measured; ``reason`` where nothing is. ``kept`` are shares of the teacher's score."""

    column: str
    printed: float | None
    suspect: str | None
    score: Score | None
    reason: Reason | None
    passed_over: tuple[str, ...] = ()
    printed_kept: float | None = None
    kept: Ratio | None = None

    @property
    def delta(self) -> tuple[float, float | None, float | None] | None:
        """Measured minus printed, with the ends of the measured value's interval."""
        if self.score is None or self.printed is None:
            return None
        low, high = (None if e is None else e - self.printed for e in (self.score.low, self.score.high))
        return self.score.value - self.printed, low, high


@dataclass(frozen=True)
class FilledTable:
    """One of the paper's tables: its rows, each with a cell a column."""

    table: Table
    rows: tuple[tuple[Row, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class TestbedTable:
    """The rows of one of the paper's tables as a testbed model gives them. ``columns`` are as in results.json.

    ``rows`` are (label of the paper's row, sampler, evaluations, cells), a cell a column: the score and the share of
    the reference's score, None where there is none.
    """

    __test__ = False  # no test, whatever pytest makes of its name

    table: str
    run: str
    model: str
    prompt_set: str
    reference: str
    columns: tuple[Mapping[str, Any], ...]
    rows: tuple[tuple[str, str, float | None, tuple[tuple[Score | None, Ratio | None], ...]], ...]


@dataclass(frozen=True)
class Checked:
    """A claim, what the printed cells make of it, and what was measured (a number, its ends, the run) or why not."""

    claim: Claim
    routes: tuple[Route, ...] = ()
    ratios: tuple[float, float] | None = None  # of a speed-up: by steps, by model evaluations
    measured: tuple[float, float | None, float | None, str] | None = None
    reason: Reason | None = None


@dataclass(frozen=True)
class Filled:
    """Everything that ``glance-bench tables`` shows."""

    paper: PaperTables
    runs: tuple[str, ...]
    tables: tuple[FilledTable, ...]
    testbed: tuple[TestbedTable, ...]
    claims: tuple[Checked, ...]
    findings: tuple[Finding, ...]
    unused: tuple[str, ...]  # runs that fill nothing


def fill(paper: PaperTables, evidences: Sequence[Evidence], machine: Machine | None = None) -> Filled:
    """The tables, with what ``evidences`` hold; where two hold the same cell, the later one is taken."""
    machine = machine or Machine()
    given = _named({evidence.results["seal"]: evidence for evidence in evidences}.values())
    tables = tuple(_filled(paper, table, given, machine) for table in paper.tables)
    testbed = tuple(made for table in paper.tables for made in _testbed(paper, table, given))
    used = {one.run for one in testbed}
    used |= {cell.score.run for one in tables for _, cells in one.rows for cell in cells if cell.score}
    used |= {run for one in tables for _, cells in one.rows for cell in cells for run in cell.passed_over}
    return Filled(
        paper,
        tuple(evidence.name for evidence in given),
        tables,
        testbed,
        tuple(_checked(paper, claim, tables) for claim in paper.claims),
        tuple(contradictions(paper)),
        tuple(evidence.name for evidence in given if evidence.name not in used),
    )


def _named(evidences: Iterable[Evidence]) -> list[Evidence]:
    """Runs of equal names are told apart by their folders."""
    given = list(evidences)
    names = [evidence.name for evidence in given]
    return [e if names.count(e.name) == 1 else replace(e, name=f"{e.name} ({e.path})") for e in given]


def _filled(paper: PaperTables, table: Table, evidences: Sequence[Evidence], machine: Machine) -> FilledTable:
    found = {
        (row.label, name): find(paper, table, row, paper.columns[name], evidences)
        for row in table.rows
        for name in table.columns
    }
    rows = []
    for row in table.rows:
        teacher = table.teacher(row.family)
        cells = []
        for name in table.columns:
            column, own = paper.columns[name], found[row.label, name]
            printed, kept = table.value(row, name), None
            above = None if teacher is None or row is teacher else table.value(teacher, name)
            if teacher is not None and row is not teacher and column.better == "higher":
                kept = _kept(own.score, found[teacher.label, name].score)
            lacking = None
            if own.score is None:
                lacking = machine.reason(paper, row, column)
                if own.refused:
                    lacking = Reason("not comparable", own.refused)
                elif own.waiting:
                    lacking = Reason("no weights", own.waiting)
            share = column.better == "higher" and printed is not None and above
            cells.append(
                Cell(
                    name,
                    printed,
                    table.suspicion(row, name),
                    own.score,
                    lacking,
                    own.passed_over,
                    printed / above if share and printed is not None and above else None,
                    kept,
                )
            )
        rows.append((row, tuple(cells)))
    return FilledTable(table, tuple(rows))


def _kept(student: Score | None, teacher: Score | None) -> Ratio | None:
    """Only inside one run are they the same prompts with the same noise."""
    if student is None or teacher is None or student.run != teacher.run:
        return None
    return retention(student, teacher)


def _testbed(paper: PaperTables, table: Table, evidences: Sequence[Evidence]) -> Iterator[TestbedTable]:
    """A table for each testbed board that has one of the table's students.

    Runs of an ablation suite fill that suite's table and no other, both models; other runs fill the other tables, each
    model the rows of its own family.
    """
    ablations = {one.ablation for one in paper.tables if one.ablation}
    for evidence in evidences:
        suite = evidence.suite.get("name")
        if table.ablation != suite and (table.ablation or suite in ablations):
            continue
        for board in boards(evidence, testbed=True):
            rows = []
            for row in table.rows:
                if not table.ablation and paper.families[row.family].testbed != board["model"]:
                    continue
                name = row.sampler if table.ablation else row.card
                if name and (own := members(evidence, board, name)):
                    rows.append((row.label, name, own))
            reference = str(board["reference"])
            if all(name == reference for _, name, _ in rows):
                continue
            if all(name != reference for _, name, _ in rows):
                rows.insert(0, ("teacher", reference, members(evidence, board, reference)))
            yield _testbed_table(table, evidence, board, rows)


def _testbed_table(
    table: Table,
    evidence: Evidence,
    board: Mapping[str, Any],
    rows: Sequence[tuple[str, str, list[Mapping[str, Any]]]],
) -> TestbedTable:
    reference = members(evidence, board, board["reference"])
    held = {name for _, _, own in rows for sampler in own for name in sampler["cells"]}
    columns = [c for c in evidence.results["columns"] if c["headline"] and c["name"] in held]
    made = []
    for label, name, own in rows:
        cells = []
        for column in columns:
            found = score(evidence, board, own, column["name"])
            kept = None
            if found is not None and name != board["reference"] and column["better"] == "higher":
                against = score(evidence, board, reference, column["name"]) if reference else None
                kept = retention(found, against) if against else None
            cells.append((found, kept))
        made.append((label, name, own[0]["nfe"]["counted"], tuple(cells)))
    return TestbedTable(
        table.id,
        evidence.name,
        str(board["model"]),
        str(board["prompt_set"]),
        str(board["reference"]),
        tuple(columns),
        tuple(made),
    )


def _checked(paper: PaperTables, claim: Claim, tables: Sequence[FilledTable]) -> Checked:
    if isinstance(claim, SpeedUp):
        for filled in tables:
            student, teacher = filled.table.row(claim.student), filled.table.row(claim.teacher)
            if student and teacher and (ratios := speed_ratios(student, teacher)):
                return Checked(claim, ratios=ratios)
        return Checked(claim)
    if not isinstance(claim, Retention | Difference):
        return Checked(claim)
    again = tuple(routes(paper, claim))
    lacking = None
    for filled in tables:
        cells = {row.label: {c.column: c for c in own}.get(claim.column) for row, own in filled.rows}
        own, above = cells.get(claim.student), cells.get(claim.teacher)
        if own is None or above is None:
            continue
        lacking = lacking or own.reason or above.reason
        if own.score is None or above.score is None:
            continue
        if isinstance(claim, Retention):
            kept = own.kept
            if kept is not None and math.isfinite(kept.value):
                return Checked(claim, again, measured=(*_percent(kept), own.score.run))
        else:
            return Checked(claim, again, measured=(*_less(own.score, above.score), own.score.run))
    return Checked(claim, again, reason=lacking)


def _percent(kept: Ratio) -> tuple[float, float | None, float | None]:
    low, high = (100 * end if math.isfinite(end) else None for end in (kept.low, kept.high))
    return 100 * kept.value, low, high


def _less(student: Score, teacher: Score) -> tuple[float, float | None, float | None]:
    """Teacher minus student, paired by prompt where both have values by prompt; else without an interval."""
    from glance_bench import stats

    apart = teacher.value - student.value
    if student.by_prompt is not None and teacher.by_prompt is not None and student.run == teacher.run:
        both = student.by_prompt.index.intersection(teacher.by_prompt.index)
        if len(both) > 1:
            paired = stats.paired_bootstrap(teacher.by_prompt[both], student.by_prompt[both])
            return apart, paired.low, paired.high
    above, below = teacher.replicates, student.replicates
    if above is not None and below is not None and len(above) == len(below):
        interval = stats.jackknife_interval(apart, above - below)
        return apart, interval.low, interval.high
    return apart, None, None
