"""Filled tables as sheets of plain text, which each format then only escapes and lays out.

Nothing here is escaped: labels, names and reasons may come from anybody's file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

from glance_bench.stats.ratios import Ratio

from .filled import Cell, Filled, FilledTable, TestbedTable
from .published import Column
from .scores import Images, Score

__all__ = [
    "MARK",
    "TESTBED",
    "Group",
    "Measured",
    "Section",
    "Sheet",
    "kept_table",
    "number",
    "printed_table",
    "span",
    "testbed_table",
]

TESTBED = "Testbed, never comparable with the paper"
NOWHERE = "printed nowhere"
MARK = "\u2020"  # a dagger: suspect
ARROWS = {"higher": "\u2191", "lower": "\u2193"}


class Measured(str):
    """The text of a measured cell with the images behind it, for a format that can lead to them."""

    images: tuple[Images, ...]

    def __new__(cls, text: str, images: tuple[Images, ...]) -> Measured:
        made = super().__new__(cls, text)
        made.images = images
        return made


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


def number(value: float | None, decimals: int, *, sign: bool = False) -> str:
    """A value with fixed decimals; "" for none."""
    return "" if value is None or not isfinite(value) else f"{value:{'+' if sign else ''}.{decimals}f}"


def span(low: float | None, high: float | None, decimals: int, *, sign: bool = False) -> str:
    """`` [low, high]`` with a space before it; "" where there is no interval."""
    ends = [number(end, decimals, sign=sign) for end in (low, high)]
    return f" [{', '.join(ends)}]" if all(ends) else ""


def printed_table(filled: Filled, table: FilledTable) -> Sheet:
    """A table of the paper: printed, measured and delta, a line each."""
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
    text = f"{number(score.value, decimals)}{span(score.low, score.high, decimals)} n={score.n}"
    return Measured(text, score.images)


def _delta(cell: Cell, column: Column) -> str:
    if cell.delta is None or cell.score is None:
        return ""
    value, low, high = cell.delta
    decimals = column.decimals + 1
    text = number(value, decimals, sign=True) + span(low, high, decimals, sign=True)
    return Measured(text, cell.score.images)


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
        told = ": a distance grows as images get fewer, so there is no delta" if cell.biased else ""
        yield f"part of the benchmark, {cell.score.prompts} of {column.prompts} prompts{told}"
    if cell.score.seeds > 1:
        yield f"mean of {cell.score.seeds} training seeds"
    if cell.score.failed:
        yield f"{cell.score.failed} images failed (black or not finite) and are scored as they are"
    if cell.score.note:
        yield cell.score.note


def kept_table(filled: Filled, table: FilledTable) -> Sheet | None:
    """Shares of the teacher's score; None where no teacher is in the table."""
    names = [name for name in table.table.columns if filled.paper.columns[name].better == "higher"]
    groups = []
    for row, cells in table.rows:
        shown = [cell for cell in cells if cell.column in names]
        if all(cell.printed_kept is None and cell.kept is None for cell in shown):
            continue
        lines = [("printed", *(_share(cell.printed_kept) for cell in shown))]
        if any(cell.kept for cell in shown):
            lines.append(("measured", *(_ratio(cell.kept, cell.score) for cell in shown)))
        groups.append(Group((row.label,), tuple(lines)))
    if not groups:
        return None
    head = ("sampler", "", *(_heading(filled.paper.columns[name]) for name in names))
    return Sheet(f"{table.table.id.capitalize()}: share of the teacher's score", head, tuple(groups))


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _ratio(kept: Ratio | None, score: Score | None) -> str:
    if kept is None or score is None or not isfinite(kept.value):
        return ""
    return Measured(f"{100 * kept.value:.1f} %{span(100 * kept.low, 100 * kept.high, 1)}", score.images)


def testbed_table(table: TestbedTable) -> Sheet:
    """The same rows as a testbed model gives them."""
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
            lines.append(("kept", *(_ratio(kept, found) for found, kept in both)))
        nfe = "" if evaluations is None else f"{evaluations:g}"
        groups.append(Group((name, label, nfe), tuple(lines)))
    names = ", ".join(f"{column['title']}: {column['name']}" for column in table.columns)
    notes = [f"{names}. Kept: against {table.reference}."]
    for _, sampler, _, cells in table.rows:
        if failed := max((found.failed for found, _ in cells if found is not None), default=0):
            notes.append(
                f"{sampler}: {failed} images failed (black or not finite) and are scored as they are."
            )
    if any(found is not None and found.seeds > 1 for *_, cells in table.rows for found, _ in cells):
        notes.append(
            "Measured intervals are over seeds and prompts, those of kept over prompts alone, of the seeds' mean."
        )
    headings = [f"{column['title']} {ARROWS[column['better']]}" for column in table.columns]
    return Sheet(
        f"{table.table.capitalize()} on {table.model}, {table.prompt_set} (run {table.run})",
        ("sampler", "in the place of", "NFE", "", *headings),
        tuple(groups),
        tuple(notes),
    )
