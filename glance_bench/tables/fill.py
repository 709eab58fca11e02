"""A paper's tables filled from given runs: every cell with what is printed, what is measured, or why it is empty.

Runs of the testbed's models fill tables of their own, which hold no printed number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from glance_bench.evidence import Evidence
from glance_bench.stats.ratios import Ratio

from .claims import check
from .contradictions import contradictions
from .filled import Cell, Filled, FilledTable, TestbedTable
from .measured import find
from .published import Column, PaperTables, Table
from .reasons import Machine, Reason
from .scores import Score, boards, members, retention, score

__all__ = ["fill"]


def fill(paper: PaperTables, evidences: Sequence[Evidence], machine: Machine | None = None) -> Filled:
    """The tables, with what ``evidences`` hold; where two hold the same cell, the later one is taken."""
    machine = machine or Machine()
    given = _named({evidence.results["seal"]: evidence for evidence in evidences}.values())
    tables = tuple(_filled(paper, table, given, machine) for table in paper.tables)
    testbed = tuple(made for table in paper.tables for made in _testbed(paper, table, given))
    claims = tuple(check(paper, claim, tables, given, machine) for claim in paper.claims)
    used = {one.run for one in testbed} | {one.measured[3] for one in claims if one.measured}
    used |= {cell.score.run for one in tables for _, cells in one.rows for cell in cells if cell.score}
    used |= {run for one in tables for _, cells in one.rows for cell in cells for run in cell.passed_over}
    return Filled(
        paper,
        tuple(evidence.name for evidence in given),
        tables,
        testbed,
        claims,
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
                lacking = machine.reason(paper, table, row, column)
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
                    _biased(own.score, column),
                )
            )
        rows.append((row, tuple(cells)))
    return FilledTable(table, tuple(rows))


def _biased(found: Score | None, column: Column) -> bool:
    return (
        found is not None and found.corpus and column.prompts is not None and found.prompts < column.prompts
    )


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
