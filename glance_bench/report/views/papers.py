"""Papers: the printed tables of a paper beside what these runs measured. The tables are a piece of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from markupsafe import Markup

from glance_bench.report.model import Report
from glance_bench.report.page import environment, link
from glance_bench.report.views.prompts import headlines
from glance_bench.tables.fill import fill
from glance_bench.tables.filled import Filled
from glance_bench.tables.published import Column, PaperTables, Row, Table, load_paper
from glance_bench.tables.reasons import Machine, Reason
from glance_bench.tables.scores import Images
from glance_bench.tables.sections import sections
from glance_bench.tables.sheets import Sheet

__all__ = ["TITLE", "context", "pieces"]

TITLE = "Papers"
PAPER = "glance"
PIECE = "papers"
SENTENCE = 40  # characters


def context(report: Report) -> dict[str, Any]:
    """The paper and how its columns were measured; the tables are loaded."""
    paper = _paper()
    return {
        "paper": paper.paper,
        "resolution": paper.resolution,
        "columns": list(paper.columns.values()),
        "piece": PIECE,
        "testbed": [board for board in report.boards if board.results["testbed"]],
        "measured": [board for board in report.boards if not board.results["testbed"]],
    }


def pieces(report: Report) -> Iterator[tuple[str, Markup]]:
    """The filled tables as HTML. Where two runs hold the same cell, the later one is taken."""
    filled = _filled(report)
    shown = [
        {"title": one.title, "about": one.about, "sheets": [(sheet, _wordy(sheet)) for sheet in one.sheets]}
        for one in sections(filled)
    ]
    template = environment().get_template("paper.html")
    yield PIECE, Markup(template.render(sections=shown, links=_Behind(report).links))


def _wordy(sheet: Sheet) -> bool:
    """Whether a sheet holds sentences, which want to be broken, and not numbers."""
    return any(len(text) > SENTENCE for group in sheet.groups for line in group.lines for text in line)


@cache
def _paper() -> PaperTables:
    return load_paper(PAPER)


def _filled(report: Report) -> Filled:
    evidences = [replace(source.evidence, name=source.name) for source in report.sources]
    return fill(_paper(), evidences, _Anywhere())


class _Behind:
    """Where the images behind a measured cell are in a report."""

    def __init__(self, report: Report) -> None:
        self._boards = {
            (board.source.name, board.results["model"], board.results["prompt_set"]): board
            for board in report.boards
        }
        self._sorted = {
            number: {column["name"] for column in columns} for number, columns in headlines(report).items()
        }

    def links(self, images: Sequence[Images]) -> list[tuple[str, str]]:
        """(address, what it shows), worst image first where each has a value of its own."""
        found = []
        for one in images:
            board = self._boards[one.run, one.model, one.prompt_set]
            asked: dict[str, object] = {"board": board.number, "sampler": board.samplers.index(one.sampler)}
            if one.column in self._sorted[board.number]:
                asked |= {"sort": "worst", "metric": one.column}
            found.append((link("prompts", **asked), f"images of {one.sampler}, {board.label}"))
        return found


class _Anywhere(Machine):
    """A report is read on other machines than this: what is missing here says nothing to its reader."""

    def reason(self, paper: PaperTables, table: Table, row: Row, column: Column) -> Reason:
        found = super().reason(paper, table, row, column)
        return found if found.name in ("no card", "no metric") else _NOT_RUN

    def untimed(self, paper: PaperTables, row: Row, column: Column) -> Reason:
        return _NOT_RUN if row.card else super().untimed(paper, row, column)


_NOT_RUN = Reason("not run", ("no run in this report has it",))
