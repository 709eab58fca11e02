"""Speed: seconds for one image by component, how much faster than the reference, and on what it was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glance_bench.comparison import sides_of
from glance_bench.comparison.latency import Latency, latencies
from glance_bench.report.charts.stages import PARTS, key, stages
from glance_bench.report.model import Board, Report

__all__ = ["TITLE", "context"]

TITLE = "Speed"
Place = tuple[str, int]  # hardware and batch size


def context(report: Report) -> dict[str, Any]:
    """A model of a source at a time: prompt sets share its latencies."""
    models = {(board.source.name, board.results["model"]): board for board in reversed(report.boards)}
    return {"models": [_model(board) for board in reversed(models.values())], "parts": PARTS, "key": key}


def _model(board: Board) -> dict[str, Any]:
    results = board.source.evidence.results
    timed: dict[Place, dict[str, Any]] = {}
    for row in results["timing"]:
        if row["model"] == board.results["model"]:
            timed.setdefault((row["hardware"], row["batch_size"]), {})[row["sampler"]] = row
    ratios = _ratios(board)
    return {
        "board": board,
        "title": f"{board.results['model']}, {board.source.name}",
        "places": [_place(board, place, rows, ratios) for place, rows in timed.items()],
        "stated": [row for row in board.results["samplers"] if row.get("stated")],
        "untimed": [name for name in board.samplers if not any(name in rows for rows in timed.values())],
    }


def _ratios(board: Board) -> dict[tuple[str, Place], Latency]:
    """The ratio of each sampler's seconds to the reference's, with its interval over blocks."""
    sides = {s.sampler: s for s in sides_of(board.source.evidence) if s.board is board.results}
    reference = sides[board.reference]
    return {
        (name, (one.hardware, one.batch_size)): one
        for name, side in sides.items()
        if name != board.reference
        for one in latencies(reference, side)[0]
    }


def _place(
    board: Board,
    place: Place,
    timed: Mapping[str, Mapping[str, Any]],
    ratios: Mapping[tuple[str, Place], Latency],
) -> dict[str, Any]:
    frame = board.source.evidence.timing
    own = frame[
        (frame["model"] == board.results["model"])
        & (frame["hardware"] == place[0])
        & (frame["batch_size"] == place[1])
    ]
    evaluations = own.groupby("sampler")["evaluations"].median()
    peaks = own.groupby("sampler")["peak_gib"].max().dropna() if "peak_gib" in own else {}
    rows = []
    for number, name in enumerate(board.samplers):
        if name not in timed:
            continue
        components, counted = timed[name]["components"], float(evaluations.get(name, 0))
        denoise = components.get("denoise")
        rows.append(
            {
                "number": number,
                "sampler": name,
                "components": components,
                "n": timed[name]["n"],
                "evaluations": counted,
                "each": denoise["median"] / counted if denoise and counted else None,
                "ratio": ratios.get((name, place)),
                "peak": peaks.get(name),
            }
        )
    return {
        "hardware": place[0],
        "batch": place[1],
        "rows": rows,
        "memory": any(row["peak"] is not None for row in rows),
        "drawn": stages(rows),
        "sessions": sorted(map(str, own["session"].unique())),
        "prompts": int(own["prompt_id"].nunique()),
    }
