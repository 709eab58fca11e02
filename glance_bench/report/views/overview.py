"""Overview: what was run, what to look at first, the leaderboards, quality against cost, and how it was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from glance_bench.report.charts.marks import whisker
from glance_bench.report.charts.quality import Cost, quality_plot
from glance_bench.report.flags import flagged
from glance_bench.report.model import Board, Report
from glance_bench.report.text import latencies, number

__all__ = ["TITLE", "context"]

TITLE = "Overview"


def context(report: Report) -> dict[str, Any]:
    """Boards with what a leaderboard shows of them, warnings, recipes."""
    boards = report.boards
    evidences = [source.evidence for source in report.sources]
    return {
        "boards": [_board(board) for board in boards],
        "sentences": [(board, one) for board in boards for one in board.failures["sentences"]],
        "summary": _summary(report),
        "warnings": [
            f"{board.label}, {line}."
            for board in boards
            for line in flagged(board.source.evidence.results, board.results)
        ],
        "columns": list({c["name"]: c for e in evidences for c in e.results["columns"]}.values()),
        "recipes": {id: text for e in evidences for id, text in e.results["recipes"].items()},
        "waiting": {metric: what for e in evidences for metric, what in e.results.get("waiting", {}).items()},
    }


def _summary(report: Report) -> dict[str, Any]:
    """What was run, for the sentence at the top."""
    boards = report.boards
    return {
        "subtitle": " · ".join(
            str(s.evidence.suite["title"]) for s in report.sources if s.evidence.suite.get("title")
        ),
        "models": list(dict.fromkeys(board.results["model"] for board in boards)),
        "samplers": list(dict.fromkeys(name for board in boards for name in board.samplers)),
        "references": list(dict.fromkeys(board.reference for board in boards)),
        "sets": list(dict.fromkeys(board.results["prompt_set"] for board in boards)),
        "prompts": sorted({board.results["prompts"] for board in boards}),
        "with_text": sorted({board.results["with_text"] for board in boards}),
        "images": sum(len(board.samples) for board in boards),
        "failed": sum(_failed(board) for board in boards),
        "sizes": sorted({size for board in boards for size in _sizes(board)}),
        "testbed": list(dict.fromkeys(b.results["model"] for b in boards if b.results["testbed"])),
        "digests": [(source.name, source.evidence.results["digest"][:12]) for source in report.sources],
    }


def _failed(board: Board) -> int:
    cells = [row["cells"].get("failed") for row in board.results["samplers"]]
    return sum(round(cell["value"] * cell["n"]) for cell in cells if cell)


def _sizes(board: Board) -> set[str]:
    if board.records is None or "width" not in board.records:
        return set()
    pairs = set(zip(board.records["width"], board.records["height"], strict=True))
    return {f"{width} \u00d7 {height}" for width, height in pairs}


def _board(board: Board) -> dict[str, Any]:
    """Columns with scale and n, rows of cells, plots, latencies."""
    results = board.source.evidence.results
    rows = board.results["samplers"]
    columns = []
    for column in board.columns:
        cells = [row["cells"][column["name"]] for row in rows if column["name"] in row["cells"]]
        failures = column["name"] == "failed" and any(cell["value"] for cell in cells)
        if not (column["headline"] or failures):
            continue
        ends = [e for cell in cells for e in (cell["low"], cell["value"], cell["high"]) if e is not None]
        counts = sorted({cell["n"] for cell in cells})
        columns.append(
            {
                **column,
                "scale": (min(ends), max(ends)) if ends else (0.0, 0.0),
                "n": counts[0] if len(counts) == 1 else None,
                "notes": sorted({cell["note"] for cell in cells if "note" in cell}),
                "images": column["name"] in board.samples,
            }
        )
    first = {column["metric"]: column for column in reversed(columns) if column["headline"]}
    timing = latencies(results)
    shown = []
    for index, row in enumerate(rows):
        timed = timing.get((board.results["model"], row["sampler"]))
        cells = [_cell(row["cells"].get(column["name"]), column, index) for column in columns]
        is_reference = row["sampler"] == board.reference
        shown.append({**row, "is_reference": is_reference, "timed": timed, "shown": cells})
    hardware = sorted({row["timed"]["hardware"] for row in shown if row["timed"]})
    return {
        **board.results,
        "number": board.number,
        "label": board.label,
        "columns": columns,
        "rows": shown,
        "plots": _plots(board, [c for c in columns if first.get(c["metric"]) is c], shown),
        "hardware": hardware[0] if hardware else None,
        "repeats": max((row["timed"]["n"] for row in shown if row["timed"]), default=0),
    }


def _plots(
    board: Board, columns: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]
) -> list[tuple[str, list[tuple[Mapping[str, Any], Markup]]]]:
    """Each metric against evaluations, and where latency was measured against seconds with their quartiles."""
    counted = {row["sampler"]: row["nfe"]["counted"] for row in rows if row["nfe"]["counted"]}
    costs = {"model evaluations an image": {name: Cost(nfe, nfe, nfe) for name, nfe in counted.items()}}
    timed = {row["sampler"]: row["timed"]["components"].get("total") for row in rows if row["timed"]}
    costs["seconds an image"] = {
        name: Cost(total["median"], total["q25"], total["q75"]) for name, total in timed.items() if total
    }
    drawn = {
        unit: [(c, quality_plot(board.results, c, by, unit)) for c in columns]
        for unit, by in costs.items()
        if by
    }
    return list(drawn.items())


def _cell(cell: Mapping[str, Any] | None, column: Mapping[str, Any], index: int) -> tuple[Any, ...]:
    """(column, cell, its drawing, its verdict), the last three None for a sampler without a value."""
    if cell is None:
        return column, None, None, None
    return column, cell, whisker(cell, column["scale"], index), _verdict(cell, column)


def _verdict(cell: Mapping[str, Any], column: Mapping[str, Any]) -> tuple[str, str] | None:
    """(symbol, sentence) for the paired difference from the reference; None without one."""
    against = cell.get("against_reference")
    if not against or against["low"] is None:
        return None
    ends = f"{number(against['low'], column['decimals'])} to {number(against['high'], column['decimals'])}"
    shift = f"{against['difference']:+.{column['decimals']}f} ({ends}) over {against['n']} pairs"
    if against["low"] <= 0 <= against["high"]:
        return "\u2248", f"no difference from the reference shown: {shift}"
    if (against["difference"] > 0) == (column["better"] == "higher"):
        return "\u25b2", f"better than the reference: {shift}"
    return "\u25bc", f"worse than the reference: {shift}"
