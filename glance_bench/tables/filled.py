"""The filled tables of a paper, as ``fill`` makes them and the formats show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from glance_bench.stats.ratios import Ratio

from .contradictions import Finding, Route
from .published import Claim, PaperTables, Row, Table
from .reasons import Reason
from .scores import Images, Score

__all__ = ["Cell", "Checked", "Filled", "FilledTable", "TestbedTable"]


@dataclass(frozen=True)
class Cell:
    """What is printed and what is measured; ``reason`` where nothing is. ``kept`` are shares of the teacher's score.

    ``biased``: a distance between sets of images, from a part of the benchmark's prompts. It grows as images get fewer,
    so it stands in its cell but is not subtracted from the printed one.
    """

    column: str
    printed: float | None
    suspect: str | None
    score: Score | None
    reason: Reason | None
    passed_over: tuple[str, ...] = ()
    printed_kept: float | None = None
    kept: Ratio | None = None
    biased: bool = False

    @property
    def delta(self) -> tuple[float, float | None, float | None] | None:
        """Measured minus printed, with the ends of the measured value's interval."""
        if self.score is None or self.printed is None or self.biased:
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
    """A claim, what the printed cells make of it, and what was measured (a number, its ends, the run) or why not.

    ``images`` are the student's that a measured score comes from; none for a time.
    """

    claim: Claim
    routes: tuple[Route, ...] = ()
    ratios: tuple[float, float] | None = None  # of a speed-up: by steps, by model evaluations
    measured: tuple[float, float | None, float | None, str] | None = None
    reason: Reason | None = None
    images: tuple[Images, ...] = ()


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
