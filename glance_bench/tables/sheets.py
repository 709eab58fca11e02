"""Filled tables as sheets of plain text, which each format then only escapes and lays out.

Nothing here is escaped: labels, names and reasons may come from anybody's file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

from glance_bench.stats.ratios import Ratio

from .contradictions import RULES
from .fill import Cell, Checked, Filled, FilledTable, TestbedTable
from .published import Column, Difference, Retention, SpeedUp
from .reasons import REASONS
from .scores import Score

__all__ = ["TESTBED", "Group", "Section", "Sheet", "number", "sections", "span"]

TESTBED = "Testbed, never comparable with the paper"
NOWHERE = "printed nowhere"
MARK = "\u2020"  # a dagger: suspect
ARROWS = {"higher": "\u2191", "lower": "\u2193"}


@dataclass(frozen=True)
class Group:
    """The lines of one row: ``heads`` stand once, at the left; a line has what it holds, then a text a column."""

    heads: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Sheet:
    """One table of text. ``head`` names the columns of heads and lines alike; ``notes`` stand below."""

    caption: str
    head: tuple[str, ...]
    groups: tuple[Group, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """A heading, a paragraph and sheets."""

    title: str
    about: str
    sheets: tuple[Sheet, ...]


def sections(filled: Filled) -> list[Section]:
    """Everything that is shown, in order; a section without sheets says so in its paragraph."""
    given = f"Runs: {', '.join(filled.runs)}." if filled.runs else "No run was given."
    if filled.unused:
        given += f" Nothing in these tables is held by: {', '.join(filled.unused)}."
    kept = [sheet for table in filled.tables if (sheet := _kept(filled, table)) is not None]
    testbed = [_testbed(table) for table in filled.testbed]
    found = [_findings(filled)] if filled.findings else []
    suspects = _suspects(filled)
    return [
        Section(
            "Printed and measured",
            f"{filled.paper.paper.title} ({filled.paper.paper.id}). {given} Measured values have 95 % intervals; "
            f"delta is measured minus printed. {MARK} marks suspect cells.",
            tuple(_table(filled, table) for table in filled.tables),
        ),
        Section(
            "Retention",
            "Student / teacher for each benchmark where higher is better: from the printed cells, and measured as "
            "a ratio of means paired by prompt, with its 95 % interval.",
            tuple(kept),
        ),
        Section(
            "Claims",
            "What the text claims, what printed cells give (with what their rounding allows), and what was measured.",
            (_claims(filled),) if filled.claims else (),
        ),
        Section(
            "Suspect cells",
            "Named by whoever typed the numbers out; nothing was corrected.",
            (suspects,) if suspects.groups else (),
        ),
        Section(
            "Contradictions found",
            "By rules that read the printed cells and claims and nothing else."
            if found
            else "The rules found none.",
            tuple(found),
        ),
        Section("Empty cells", "Why they are empty, and what would fill them.", tuple(_empty(filled))),
        Section(
            TESTBED,
            "Tiny models and drawn scenes in the paper's rows. The columns are the testbed's own; kept is the share "
            "of the teacher's score."
            if testbed
            else "No given run is of the testbed's models, or none has these samplers.",
            tuple(testbed),
        ),
    ]


def number(value: float | None, decimals: int, *, sign: bool = False) -> str:
    """A value with fixed decimals; "" for none."""
    return "" if value is None or not isfinite(value) else f"{value:{'+' if sign else ''}.{decimals}f}"


def span(low: float | None, high: float | None, decimals: int, *, sign: bool = False) -> str:
    """`` [low, high]`` with a space before it; "" where there is no interval."""
    ends = [number(end, decimals, sign=sign) for end in (low, high)]
    return f" [{', '.join(ends)}]" if all(ends) else ""


def _table(filled: Filled, table: FilledTable) -> Sheet:
    columns = [filled.paper.columns[name] for name in table.table.columns]
    trained = any(row.data or row.gpu_hours is not None for row, _ in table.rows)
    head = ["sampler", "method", "NFE", *(["data", "GPU hours"] if trained else []), ""]
    groups = []
    for row, cells in table.rows:
        hours = "" if row.gpu_hours is None else f"{row.gpu_hours:g}"
        heads = [row.label, row.method or "", row.nfe, *([row.data or "", hours] if trained else [])]
        both = list(zip(cells, columns, strict=True))
        lines = [
            ("printed", *(_printed(cell, column) for cell, column in both)),
            ("measured", *(_measured(cell, column) for cell, column in both)),
        ]
        if any(cell.delta for cell in cells):
            lines.append(("delta", *(_delta(cell, column) for cell, column in both)))
        groups.append(Group(tuple(heads), tuple(lines)))
    return Sheet(
        f"{table.table.id.capitalize()}. {table.table.caption}",
        (*head, *(_heading(column) for column in columns)),
        tuple(groups),
        tuple(_notes(filled, table)),
    )


def _heading(column: Column) -> str:
    return f"{column.benchmark} {column.title} {ARROWS[column.better]}"


def _printed(cell: Cell, column: Column) -> str:
    if cell.printed is None:
        return NOWHERE
    return number(cell.printed, column.decimals) + (f" {MARK}" if cell.suspect else "")


def _measured(cell: Cell, column: Column) -> str:
    if cell.score is None:
        return cell.reason.name if cell.reason else ""
    return _score(cell.score, column.decimals + 1)


def _score(score: Score, decimals: int) -> str:
    return f"{number(score.value, decimals)}{span(score.low, score.high, decimals)} n={score.n}"


def _delta(cell: Cell, column: Column) -> str:
    if cell.delta is None:
        return ""
    value, low, high = cell.delta
    decimals = column.decimals + 1
    return number(value, decimals, sign=True) + span(low, high, decimals, sign=True)


def _notes(filled: Filled, table: FilledTable) -> Iterator[str]:
    """What a reader must know of single cells: suspicion, which run, part of the prompts, seeds, notes of metrics."""
    for suspect in table.table.suspect:
        if suspect.row is None:
            where = filled.paper.columns[suspect.column].title if suspect.column else table.table.id
            yield f"{MARK} {where}: {suspect.why}"
    told: dict[str, list[str]] = {}
    for row, cells in table.rows:
        for cell in cells:
            column = filled.paper.columns[cell.column]
            if cell.suspect:
                told.setdefault(f"{MARK} {row.label}: {cell.suspect}", []).append(column.title)
            for said in _about(cell, column):
                told.setdefault(said, []).append(f"{row.label} {column.title}")
    for said, cells_of in told.items():
        yield said if said.startswith(MARK) else f"{said}: {', '.join(cells_of)}"


def _about(cell: Cell, column: Column) -> Iterator[str]:
    if cell.score is None:
        return
    yield f"from run {cell.score.run}, {cell.score.metric}"
    if cell.passed_over:
        yield f"the run given last is taken, not {', '.join(cell.passed_over)}"
    if column.prompts and cell.score.prompts < column.prompts and not column.mean_of:
        yield f"part of the benchmark, {cell.score.prompts} of {column.prompts} prompts"
    if cell.score.seeds > 1:
        yield f"mean of {cell.score.seeds} training seeds"
    if cell.score.note:
        yield cell.score.note


def _kept(filled: Filled, table: FilledTable) -> Sheet | None:
    names = [name for name in table.table.columns if filled.paper.columns[name].better == "higher"]
    groups = []
    for row, cells in table.rows:
        shown = [cell for cell in cells if cell.column in names]
        if all(cell.printed_kept is None and cell.kept is None for cell in shown):
            continue
        lines = [("printed", *(_share(cell.printed_kept) for cell in shown))]
        if any(cell.kept for cell in shown):
            lines.append(("measured", *(_ratio(cell.kept) for cell in shown)))
        groups.append(Group((row.label,), tuple(lines)))
    if not groups:
        return None
    head = ("sampler", "", *(_heading(filled.paper.columns[name]) for name in names))
    return Sheet(f"{table.table.id.capitalize()}: share of the teacher's score", head, tuple(groups))


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _ratio(kept: Ratio | None) -> str:
    if kept is None or not isfinite(kept.value):
        return ""
    return f"{100 * kept.value:.1f} %{span(100 * kept.low, 100 * kept.high, 1)}"


def _claims(filled: Filled) -> Sheet:
    groups = [Group((checked.claim.text,), (_claim(filled, checked),)) for checked in filled.claims]
    return Sheet(
        "Claims and their numbers",
        ("claim", "of", "claimed", "from the printed cells", "measured"),
        tuple(groups),
    )


def _claim(filled: Filled, checked: Checked) -> tuple[str, ...]:
    claim = checked.claim
    if isinstance(claim, SpeedUp):
        steps, evaluations = checked.ratios or (None, None)
        told = "" if steps is None else f"{steps:g}x in steps, {evaluations:g}x in model evaluations"
        return claim.student, f"{claim.times:g}x", told, "see the timing of a run"
    if not isinstance(claim, Retention | Difference):
        return "", "", "no table has it", ""
    retained = isinstance(claim, Retention)
    decimals = 2 if retained else filled.paper.columns[claim.column].decimals
    unit = " %" if retained else ""
    claimed = claim.percent if isinstance(claim, Retention) else claim.less
    again = [
        f"{r.table}: {r.value:.{decimals}f}{unit} ({r.low:.{decimals}f} to {r.high:.{decimals}f}), "
        f"{r.verdict(claimed, decimals)}"
        for r in checked.routes
    ]
    measured = checked.reason.name if checked.reason else ""
    if checked.measured is not None:
        value, low, high, run = checked.measured
        measured = f"{number(value, decimals)}{unit}{span(low, high, decimals)} ({run})"
    return (
        claim.student,
        f"{claimed:.{decimals}f}{unit}",
        "; ".join(again) or "no table prints both",
        measured,
    )


def _suspects(filled: Filled) -> Sheet:
    found = {cell for finding in filled.findings for cell in finding.cells}
    groups = []
    for table in filled.paper.tables:
        for s in table.suspect:
            title = filled.paper.columns[s.column].title if s.column else "all"
            named = any(
                t == table.id and s.row in (None, row) and (s.column is None or column in (None, s.column))
                for t, row, column in found
            )
            by = "yes" if named else "no"
            groups.append(Group((table.id,), ((s.row or "all", title, s.why, by),)))
    head = ("table", "row", "column", "why", "a rule names it too")
    return Sheet("Suspect cells by name", head, tuple(groups))


def _findings(filled: Filled) -> Sheet:
    groups = _merged((RULES[finding.rule], (finding.message,)) for finding in filled.findings)
    return Sheet("Contradictions found by program", ("rule", "found"), groups)


def _merged(rows: Iterable[tuple[str, tuple[str, ...]]]) -> tuple[Group, ...]:
    """A group for each head, its lines in their order."""
    lines: dict[str, list[tuple[str, ...]]] = {}
    for head, line in rows:
        lines.setdefault(head, []).append(line)
    return tuple(Group((head,), tuple(own)) for head, own in lines.items())


def _empty(filled: Filled) -> Iterator[Sheet]:
    names: dict[str, int] = {}
    whys: dict[tuple[str, str], int] = {}
    for table in filled.tables:
        for _, cells in table.rows:
            for cell in cells:
                if cell.reason is not None:
                    names[cell.reason.name] = names.get(cell.reason.name, 0) + 1
                    for why in cell.reason.why:
                        whys[cell.reason.name, why] = whys.get((cell.reason.name, why), 0) + 1
    if not names:
        return
    counted = [Group((name,), ((str(names[name]), REASONS[name]),)) for name in REASONS if name in names]
    yield Sheet("Reasons", ("shown", "cells", "meaning"), tuple(counted))
    listed = sorted(whys.items(), key=lambda item: list(REASONS).index(item[0][0]))
    groups = _merged((name, (str(count), why)) for (name, why), count in listed)
    yield Sheet("What stands in the way", ("shown", "cells", "what"), groups)


def _testbed(table: TestbedTable) -> Sheet:
    groups = []
    for label, sampler, evaluations, cells in table.rows:
        both: Sequence[tuple[Score | None, Ratio | None]] = cells
        seeds = max((found.seeds for found, _ in both if found is not None), default=1)
        name = f"{sampler} ({seeds} seeds)" if seeds > 1 else sampler
        lines = [
            (
                "measured",
                *(
                    "" if found is None else _score(found, column["decimals"])
                    for (found, _), column in zip(both, table.columns, strict=True)
                ),
            )
        ]
        if any(kept is not None for _, kept in both):
            lines.append(("kept", *(_ratio(kept) for _, kept in both)))
        nfe = "" if evaluations is None else f"{evaluations:g}"
        groups.append(Group((label, name, nfe), tuple(lines)))
    names = ", ".join(f"{column['title']}: {column['name']}" for column in table.columns)
    headings = [f"{column['title']} {ARROWS[column['better']]}" for column in table.columns]
    return Sheet(
        f"{table.table.capitalize()} on {table.model}, {table.prompt_set} (run {table.run})",
        ("row of the paper", "sampler", "NFE", "", *headings),
        tuple(groups),
        (f"{names}. Kept: against {table.reference}.",),
    )
