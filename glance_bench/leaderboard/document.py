"""The leaderboard document: boards, rows and cells, with groups and frontiers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..comparison.differences import ALWAYS, other_references, short
from ..comparison.document import finite
from ..comparison.verdicts import LEVEL
from ..errors import UsageError, near_misses
from .groups import Groups, Pairings, groups_of
from .latency import Measured, Place, latencies_of
from .merge import Board, Column, Entry, boards_of
from .pareto import Point, frontier

if TYPE_CHECKING:
    from ..evidence import Evidence

__all__ = ["SCHEMA", "leaderboard"]

SCHEMA = "glance-bench/leaderboard/1"
ALWAYS_WATCHED = "failed"
SORTS = ("nfe", "latency", "name")
UNKNOWN_SEED = -1  # of images made elsewhere
CELL = ("value", "low", "high", "n", "prompts", "interval", "note")


def leaderboard(
    evidences: Sequence[Evidence],
    *,
    columns: Sequence[str] = (),
    quality: str | None = None,
    hardware: str | None = None,
    sort: str | None = None,
) -> dict[str, Any]:
    """One leaderboard of several runs (see the package's docstring for the document). Deterministic.

    ``columns`` are columns or metrics to show instead of the first headline column of each metric; ``quality`` is the
    column of the frontiers, by default the first shown; ``hardware`` that of the frontier of latency, by default
    the one on which most rows were timed; ``sort`` a column, "nfe", "latency" or "name", by default the quality.
    Raises UsageError for a name that no run has.
    """
    boards = boards_of(evidences)
    _check(boards, columns, quality, hardware, sort)
    made = [_board(board, columns, quality, hardware, sort) for board in boards]
    recipes: dict[str, str] = {}
    for evidence in evidences:
        recipes |= evidence.results["recipes"]
    used = {column["recipe"] for board in made for column in board["columns"]}
    document = {
        "schema": SCHEMA,
        "level": LEVEL,
        "runs": [{"run": e.name, "path": str(e.path), "digest": e.results["digest"]} for e in evidences],
        "recipes": {key: text for key, text in recipes.items() if key in used},
        "boards": made,
    }
    told: dict[str, Any] = finite(document)
    return told


def _check(
    boards: Sequence[Board],
    columns: Sequence[str],
    quality: str | None,
    hardware: str | None,
    sort: str | None,
) -> None:
    every = [column for board in boards for column in board.columns()]
    keys = {column.key for column in every} | {column.name for column in every}
    metrics = {str(column.known["metric"]) for column in every}
    places = {place[0] for board in boards for place in latencies_of(board)}
    asked = [("--columns", name, keys | metrics) for name in columns]
    asked += [("--quality", quality, keys)] if quality is not None else []
    asked += [("--hardware", hardware, places)] if hardware is not None else []
    shown = {name for board in boards for c in _shown(board, columns) for name in (c.key, c.name)}
    asked += [("--sort", sort, shown | set(SORTS))] if sort is not None else []
    for option, name, valid in asked:
        if name not in valid:
            what = "is not shown" if option == "--sort" else "is in none of these runs"
            raise UsageError(f"{option}: {name!r} {what}; {near_misses(str(name), valid)}")


def _board(
    board: Board, wanted: Sequence[str], quality: str | None, hardware: str | None, sort: str | None
) -> dict[str, Any]:
    shown = _shown(board, wanted)
    pairings = Pairings(board)
    groups = {column.key: groups_of(board, column, pairings) for column in shown}
    timed = latencies_of(board)
    place = next((one for one in timed if hardware in (None, one[0])), None)
    by = next((c for c in shown if quality in (None, c.key, c.name) and not c.known["flag"]), None)
    if by is None and quality is not None:
        by = next((column for column in board.columns() if quality in (column.key, column.name)), None)
    told_apart = groups.get(by.key) or groups_of(board, by, pairings) if by else None
    flags = _frontiers(board, by, told_apart, timed.get(place, {}) if place else {})
    rows = [
        {
            "name": entry.name,
            "sampler": entry.sides[0].sampler,
            "runs": entry.runs,
            "title": entry.sides[0].row["title"],
            "images": entry.sides[0].row["images"],
            "nfe": entry.sides[0].row["nfe"]["counted"],
            "stated": bool(entry.sides[0].row.get("stated")),
            "cells": _cells(entry, position, shown, groups),
            "latency": {
                _latency_key(one): _timed(measured[position])
                for one, measured in timed.items()
                if position in measured
            },
            "pareto": flags[position],
        }
        for position, entry in enumerate(board.entries)
    ]
    return {
        "model": board.model,
        "prompt_set": board.prompt_set,
        "testbed": board.testbed,
        "quality": by.key if by else None,
        "hardware": _latency_key(place) if place else None,
        "columns": [_told(column) for column in shown],
        "latency": [{"key": _latency_key(one), "hardware": one[0], "batch_size": one[1]} for one in timed],
        "rows": _sorted(rows, shown, by, _latency_key(place) if place else None, sort),
        "notes": [*_notes(board, shown, groups), *_of_sessions(timed)],
    }


def _shown(board: Board, wanted: Sequence[str]) -> list[Column]:
    """The columns asked for; else the first headline column of each metric, and failures where there are any."""
    every = board.columns()
    if wanted:
        return [c for c in every if {c.key, c.name, c.known["metric"]} & set(wanted)]
    firsts: dict[str, str] = {}
    for column in every:
        if column.known["headline"]:
            firsts.setdefault(column.known["metric"], column.name)
    failing = [
        column
        for column in every
        if column.name == ALWAYS_WATCHED and any(entry.value(column) > 0 for entry in board.entries)
    ]
    return [column for column in every if column.name in firsts.values() or column in failing]


def _cells(
    entry: Entry, place: int, shown: Sequence[Column], groups: Mapping[str, Groups]
) -> dict[str, dict[str, Any]]:
    cells = {}
    for column in shown:
        side = entry.side_with(column)
        if side is not None:
            held = side.cells[column.name]
            cells[column.key] = {key: held[key] for key in CELL if key in held}
            cells[column.key]["group"] = groups[column.key].ranks.get(place)
    return cells


def _frontiers(
    board: Board, quality: Column | None, groups: Groups | None, timed: Mapping[int, Measured]
) -> dict[int, dict[str, str]]:
    """For each row, whether it is on the frontier of quality against NFE and against latency, where it has both."""
    found: dict[int, dict[str, str]] = {place: {} for place in range(len(board.entries))}
    if quality is None or groups is None:
        return found
    for cost in ("nfe", "latency"):
        points = {}
        for place, entry in enumerate(board.entries):
            value = entry.value(quality)
            counted = entry.sides[0].row["nfe"]["counted"]
            if not math.isfinite(value):
                continue
            if cost == "nfe" and counted is not None and not entry.sides[0].row.get("stated"):
                points[place] = Point(value, counted, counted, counted)
            elif cost == "latency" and place in timed:
                own = timed[place]
                points[place] = Point(value, own.value, own.low, own.high)
        for place, flag in frontier(points, quality.known["better"], groups.separated).items():
            found[place][cost] = flag
    return found


def _sorted(
    rows: list[dict[str, Any]],
    shown: Sequence[Column],
    quality: Column | None,
    place: str | None,
    sort: str | None,
) -> list[dict[str, Any]]:
    """Best, cheapest or first in the alphabet on top; rows without the value last."""
    by = next((c for c in shown if sort in (c.key, c.name)), None) if sort not in (None, *SORTS) else quality

    def rank(row: dict[str, Any]) -> tuple[bool, Any, str]:
        if sort == "name":
            return False, row["name"], ""
        if sort == "nfe":
            value = row["nfe"]
        elif sort == "latency":
            value = row["latency"].get(place, {}).get("value")
        else:
            value = None if by is None else row["cells"].get(by.key, {}).get("value")
            if by is not None and value is not None and by.known["better"] == "higher":
                value = -value
        return value is None, 0 if value is None else value, row["name"]

    return sorted(rows, key=rank)


def _told(column: Column) -> dict[str, Any]:
    told = {"key": column.key, "recipe": column.recipe, "title": column.title}
    return told | {
        name: column.known[name] for name in ("name", "metric", "kind", "better", "decimals", "flag")
    }


def _latency_key(place: Place) -> str:
    return f"{place[0]}, batch {place[1]}"


def _timed(measured: Measured) -> dict[str, Any]:
    speedup = measured.speedup
    return {
        **{"value": measured.value, "low": measured.low, "high": measured.high, "n": measured.n},
        "speedup": None
        if speedup is None
        else {"value": speedup.ratio, "low": speedup.low, "high": speedup.high, "n": speedup.n},
    }


def _of_sessions(timed: Mapping[Place, Mapping[int, Measured]]) -> list[str]:
    """Where seconds of one column were not all measured in turn."""
    return [
        f"s/image on {_latency_key(place)}: rows were timed in different sessions; speed-ups are what compares"
        for place, measured in timed.items()
        if len({own.sessions for own in measured.values()}) > 1
    ]


def _notes(board: Board, shown: Sequence[Column], groups: Mapping[str, Groups]) -> list[str]:
    """What must be known before rows of this board are put beside each other."""
    said = []
    sides = [side for entry in board.entries for side in entry.sides]
    for part, title in ALWAYS.items():
        made: dict[str, list[str]] = {}
        for entry in board.entries:
            if (of := entry.sides[0].made_of) is not None:
                made.setdefault(short(of[part]), []).append(entry.name)
        if len(made) > 1:
            said.append(
                f"{title}: " + "; ".join(f"{value}: {', '.join(names)}" for value, names in made.items())
            )
    elsewhere = [entry.name for entry in board.entries if entry.sides[0].made_of is None]
    if elsewhere:
        said.append(f"made elsewhere, what of is not known: {', '.join(elsewhere)}")
    prompts = {
        frozenset(zip(side.images["prompt_id"], side.images["text_sha256"], strict=True)) for side in sides
    }
    if len(prompts) > 1:
        counts = ", ".join(map(str, sorted({len(one) for one in prompts})))
        said.append(f"rows are of different prompts ({counts}): tests use those that both rows have")
    seeds: dict[tuple[str, int], set[int]] = {}
    for side in sides:
        for prompt, index, seed in side.images[["prompt_id", "index", "seed"]].itertuples(
            index=False, name=None
        ):
            seeds.setdefault((prompt, index), set()).add(seed)
    if any(len(one - {UNKNOWN_SEED}) > 1 for one in seeds.values()):
        said.append("rows start from different noise: tests between them are paired by prompt alone")
    firsts = {id(side.evidence): side for side in sides}
    for a, b in pairwise(firsts.values()):
        said += other_references(a, b)
    for column in shown:
        if untested := groups[column.key].untested:
            said.append(
                f"{column.title}: pairs of rows without a paired test, which count as not told apart: "
                f"{len(untested)} ({'; '.join(sorted(set(untested))[:2])})"
            )
        numbers = {
            own.cells[column.name]["n"] for e in board.entries if (own := e.side_with(column)) is not None
        }
        if column.known["kind"] == "corpus" and len(numbers) > 1:
            said.append(f"{column.title}: values of different n are not comparable")
    for note in dict.fromkeys(
        f"{column.title}: {held['note']}"
        for column in shown
        for side in sides
        if (held := side.cells.get(column.name)) and held.get("note")
    ):
        said.append(note)
    return said
