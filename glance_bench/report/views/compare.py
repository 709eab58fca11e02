"""Compare: two samplers of a board beside each other. Each pair, either way round, is a piece of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations, groupby
from typing import Any

from markupsafe import Markup

from glance_bench.comparison import compare_each, sides_of
from glance_bench.comparison.pairing import Pairing, pair
from glance_bench.report.charts.forest import forest, shares, standardised
from glance_bench.report.comparison import noise, values, verdict
from glance_bench.report.model import Board, Report
from glance_bench.report.page import environment, link

__all__ = ["TITLE", "context", "pairs"]

TITLE = "Compare"
Places = tuple[int, int]


def context(report: Report) -> dict[str, Any]:
    """The boards on which there is nothing to compare."""
    return {"alone": [board for board in report.boards if len(board.samplers) < 2]}


def pairs(report: Report) -> Iterator[tuple[str, Markup]]:
    """``b0/pair/1-3`` is sampler 3 of board 0 against sampler 1, as HTML; ``b0/pair/3-1`` the other way round.

    Pairs with the board's reference are cut into slices, the others are not: that would take as long again for each.
    """
    template = environment().get_template("pair.html")
    for board in report.boards:
        first = _first_rows(board)
        for (i, j), document in _documents(board):
            shown = {"one": None} if document is None else _shown(board, i, j, document, first)
            content = template.render(board=board, a=i, b=j, **shown)
            yield f"b{board.number}/pair/{i}-{j}", Markup(content)


def _documents(board: Board) -> Iterator[tuple[Places, dict[str, Any] | None]]:
    """The comparison of each two samplers, B - A for the places (A, B); None where no prompt is in both."""
    sides = [side for side in sides_of(board.source.evidence) if side.board is board.results]
    paired: list[Places] = []
    apart: list[Places] = []

    def pairings() -> Iterator[Pairing]:
        for places in combinations(range(len(sides)), 2):
            pairing = pair(*(sides[place] for place in places))
            (paired if len(pairing.images) else apart).append(places)
            if len(pairing.images):
                yield pairing

    def with_reference(pairing: Pairing) -> bool:
        return board.reference in (pairing.a.sampler, pairing.b.sampler)

    both = list(compare_each(pairings(), sliced=with_reference))
    for (i, j), (there, back) in zip(paired, both, strict=True):
        yield (i, j), there
        yield (j, i), back
    for i, j in apart:
        yield (i, j), None
        yield (j, i), None


def _shown(
    board: Board, i: int, j: int, document: Mapping[str, Any], first: Mapping[str, int]
) -> dict[str, Any]:
    """What the template shows of a comparison of the samplers at places ``i`` (A) and ``j`` (B)."""
    one = document["comparisons"][0]
    metrics = [_effect(board, i, j, row) for row in one["metrics"]]
    slices = [_effect(board, i, j, row) for row in one["slices"]]
    titles = {row["column"]: row for row in one["metrics"]}
    used = {row["verdict"] for key in ("metrics", "slices", "latency") for row in one[key]}
    return {
        "one": one,
        "noise": noise(one["pairing"]),
        "metrics": metrics,
        "forest": forest(one["metrics"]),
        "undrawn": [row["title"] for row in one["metrics"] if standardised(row) is None],
        "slicings": [
            (
                name,
                list(rows),
                forest([{**r["row"], "title": f"{r['row']['slice']}: {r['row']['title']}"} for r in rows]),
            )
            for name, rows in _grouped(slices)
        ],
        "moved": [_moved(moved, titles[moved["column"]], first) for moved in one["moved"]],
        "families": {family["name"]: family["tests"] for family in document["families"]},
        "meanings": [(word, meaning) for word, meaning in document["verdicts"].items() if word in used],
        "reference": board.samplers.index(board.reference) in (i, j),
    }


def _grouped(slices: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    return [(name, list(rows)) for name, rows in groupby(slices, key=lambda shown: shown["row"]["slicing"])]


def _effect(board: Board, i: int, j: int, row: Mapping[str, Any]) -> dict[str, Any]:
    """An effect with its cells as text, its bar, and the address of the images behind it."""
    counts = (row["wins"], row["ties"], row["losses"])
    return {
        "row": row,
        "cells": values(row),
        "bar": "" if None in counts else shares(*counts),
        "verdict": verdict(row) if "slice" not in row else row["verdict"],
        "href": _samples(board, i, j, row["column"]),
    }


def _samples(board: Board, i: int, j: int, column: str) -> str:
    """The images behind a difference: by their loss where one side is the reference, else B's worst ones first."""
    reference = board.samplers.index(board.reference)
    if column not in board.samples:  # a number of a whole set has no value an image
        return link("prompts", board=board.number, sampler=j)
    sort = "loss" if reference in (i, j) else "worst"
    return link("prompts", board=board.number, sort=sort, metric=column, sampler=i if j == reference else j)


def _first_rows(board: Board) -> dict[str, int]:
    """The number of each prompt's first row."""
    return {prompt: place for place, (prompt, _) in reversed(list(enumerate(board.rows)))}


def _moved(moved: Mapping[str, Any], row: Mapping[str, Any], first: Mapping[str, int]) -> dict[str, Any]:
    """Prompts that moved most, each with the number of its first row."""
    return {
        "title": row["title"],
        "decimals": row["decimals"],
        "both": [
            (word, [{**entry, "place": first[entry["prompt"]]} for entry in moved[word]])
            for word in ("worse", "better")
            if moved[word]
        ],
    }
