"""Finds what given runs hold for the cells of a paper's tables.

A run holds a cell when it has the family's model (never the testbed's) on the column's prompts, the row's card or
sampler among its own, and one of the column's metrics. It must have been made as printed: as many model evaluations,
images of the same size. Where several runs hold a cell, the one given last is taken, and the others are named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glance_bench.evidence import Evidence

from .published import Column, PaperTables, Row, Table
from .scores import Score, boards, mean_score, members, score

__all__ = ["Found", "find"]


@dataclass(frozen=True)
class Found:
    """What runs hold for one cell: the score taken, the runs passed over for it, and why others were refused."""

    score: Score | None = None
    passed_over: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


def find(paper: PaperTables, table: Table, row: Row, column: Column, evidences: Sequence[Evidence]) -> Found:
    """The measured value of a cell in the paper's unit, from the last of ``evidences`` that holds it."""
    if column.mean_of:
        return _mean(paper, table, row, column, evidences)
    held: list[Score] = []
    refused: list[str] = []
    waiting: list[str] = []
    for evidence in reversed(evidences):
        for board, rows in _rows(paper, table, row, column, evidence):
            if complaint := _unlike(paper, row, rows):
                refused.append(f"{evidence.name}: {complaint}")
                continue
            scores = (score(evidence, board, rows, name) for name in column.metrics)
            taken = next((one for one in scores if one is not None), None)
            if taken is not None:
                held.append(taken.times(column.scale))
            else:
                told = evidence.results.get("waiting", {})
                waiting += [f"{evidence.name}: {n} {told[n]}" for n in column.metrics if n in told]
    others = tuple(dict.fromkeys(one.run for one in held[1:]))
    return Found(held[0] if held else None, others, tuple(refused), tuple(waiting))


def _mean(paper: PaperTables, table: Table, row: Row, column: Column, evidences: Sequence[Evidence]) -> Found:
    """All parts must come from one run."""
    of_runs = [
        [find(paper, table, row, paper.columns[name], [evidence]) for name in column.mean_of]
        for evidence in reversed(evidences)
    ]
    whole = [[part.score for part in parts if part.score is not None] for parts in of_runs]
    held = [scores for scores in whole if len(scores) == len(column.mean_of)]
    said = [part for parts in of_runs for part in parts]
    title = f"mean of {', '.join(paper.columns[name].title for name in column.mean_of)}"
    return Found(
        mean_score(held[0], title).times(column.scale) if held else None,
        tuple(dict.fromkeys(scores[0].run for scores in held[1:])),
        tuple(dict.fromkeys(r for part in said for r in part.refused)),
        tuple(dict.fromkeys(w for part in said for w in part.waiting)),
    )


def _rows(
    paper: PaperTables, table: Table, row: Row, column: Column, evidence: Evidence
) -> list[tuple[Mapping[str, Any], list[Mapping[str, Any]]]]:
    own_suite = table.ablation in (None, evidence.suite.get("name"))
    names = [row.sampler] if row.sampler and own_suite else []
    names += [row.card] if row.card else []
    model = paper.families[row.family].model
    found = []
    for board in boards(evidence, testbed=False):
        if (board["model"], board["prompt_set"]) == (model, column.prompt_set):
            own = next((rows for name in names if (rows := members(evidence, board, name))), None)
            if own:
                found.append((board, own))
    return found


def _unlike(paper: PaperTables, row: Row, rows: Sequence[Mapping[str, Any]]) -> str:
    """How a run's sampler differs from the printed row; "" where nothing is known to."""
    for own in rows:
        nominal = own["nfe"]["nominal"]
        if None not in (row.evaluations, nominal) and nominal != row.evaluations:
            return f"{own['sampler']} has {nominal:g} evaluations, {row.label} has {row.evaluations}"
        size = (own.get("made_of") or {}).get("resolution")
        if size is not None and paper.resolution is not None and set(size) != {paper.resolution}:
            return f"its images have {' x '.join(map(str, size))} pixels, the paper's {paper.resolution}"
    return ""
