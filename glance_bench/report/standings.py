"""The leaderboard of several runs in each of its formats: text, Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from glance_bench.report.escaping import csv_text, latex
from glance_bench.report.sections import Section, as_lines, as_markdown, as_renderable
from glance_bench.report.text import interval, number, times

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["csv_table", "latex_tables", "lines", "markdown", "table"]

NONE = "\u2013"
Rows = list[list[str]]
LEGEND = (
    "Values with 95 % intervals; n counts images, and prompts are what is resampled.",
    "In brackets the rank of a row's group: rows of one group are not told apart from its best by the paired test, "
    "adjusted by Holm over all pairs of rows.",
    "Pareto: yes, no other row costs at most as much and is at least as good; no, such a row is told apart as better "
    "and surely costs no more; perhaps, the intervals leave it open.",
    "s/image: median seconds for one image; speed-ups are medians of ratios within a session.",
)


def lines(document: Mapping[str, Any]) -> list[str]:
    """Aligned lines without colour."""
    return as_lines(_sections(document))


def table(document: Mapping[str, Any]) -> RenderableType:
    """For ``rich.console.Console().print``."""
    return as_renderable(_sections(document))


def markdown(document: Mapping[str, Any]) -> list[str]:
    """The lines of a Markdown document."""
    return ["# Leaderboard", "", *as_markdown(_sections(document))]


def csv_table(document: Mapping[str, Any]) -> str:
    """One table of all boards; numbers as they are, an empty cell for none.

    For each column its value, then low, high, n and group; for each hardware seconds and speed-up likewise.
    """
    facts = ["model", "prompt set", "testbed", "row", "sampler", "runs", "images", "NFE"]
    keys = list(dict.fromkeys(c["key"] for board in document["boards"] for c in board["columns"]))
    places = list(dict.fromkeys(p["key"] for board in document["boards"] for p in board["latency"]))
    head = [*facts, "pareto NFE", "pareto latency"]
    head += [csv_text(f"{key}{part}") for key in keys for part in ("", " low", " high", " n", " group")]
    head += [
        csv_text(f"{quantity} {place}{part}")
        for place in places
        for quantity in ("s/image", "speed-up")
        for part in ("", " low", " high", " n")
    ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    for board in document["boards"]:
        for row in board["rows"]:
            made: list[Any] = [csv_text(board["model"]), csv_text(board["prompt_set"]), board["testbed"]]
            made += [csv_text(row["name"]), csv_text(row["sampler"]), csv_text("; ".join(row["runs"]))]
            made += [row["images"], row["nfe"], row["pareto"].get("nfe"), row["pareto"].get("latency")]
            for key in keys:
                cell = row["cells"].get(key, {})
                made += [cell.get(name) for name in ("value", "low", "high", "n", "group")]
            for place in places:
                timed = row["latency"].get(place, {})
                for cell in (timed, timed.get("speedup") or {}):
                    made += [cell.get(name) for name in ("value", "low", "high", "n")]
            writer.writerow(made)
    return text.getvalue()


def latex_tables(document: Mapping[str, Any]) -> str:
    """A ``table`` environment a board, for a document with ``booktabs`` and the font encoding T1."""
    made = [
        "% needs \\usepackage[T1]{fontenc} and \\usepackage{booktabs}",
        *(f"% {line}" for line in LEGEND),
    ]
    for board in document["boards"]:
        rows = _rows(board)
        columns = "l" + "r" * (len(rows[0]) - 1)
        made += ["\\begin{table}", "\\centering", f"\\caption{{{latex(_heading(board))}}}"]
        made += [f"\\begin{{tabular}}{{{columns}}}", "\\toprule"]
        made += [" & ".join(latex(cell) for cell in rows[0]) + " \\\\", "\\midrule"]
        made += [" & ".join(latex(cell) for cell in row) + " \\\\" for row in rows[1:]]
        made += ["\\bottomrule", "\\end{tabular}"]
        made += [f"\\par\\footnotesize {latex(note)}" for note in _notes(board)]
        made += ["\\end{table}", ""]
    return "\n".join(made)


def _sections(document: Mapping[str, Any]) -> Iterator[Section]:
    boards = document["boards"]
    for board in boards:
        rows, narrow = _rows(board), _rows(board, spread=False)
        yield Section(_heading(board), rows, notes=_notes(board), narrow=narrow)
    yield Section("How to read this", notes=list(LEGEND))
    said = [f"{run['run']}: {run['path']}, results digest {run['digest'][:12]}" for run in document["runs"]]
    if len({board["testbed"] for board in boards}) > 1:
        said.append(
            "The testbed's boards stand apart: their numbers are never put beside those of other models."
        )
    yield Section("Made of", notes=said)


def _heading(board: Mapping[str, Any]) -> str:
    label = " (TESTBED)" if board["testbed"] else ""
    return f"{board['model']} on {board['prompt_set']}{label}"


def _rows(board: Mapping[str, Any], spread: bool = True) -> Rows:
    """Heading and rows: sampler, NFE, each column's value with interval and group, latency, frontiers.

    Without ``spread`` intervals are left out, and the n of latencies.
    """
    counts = {column["key"]: _count(board["rows"], column["key"]) for column in board["columns"]}
    head = ["sampler", "NFE"]
    for column in board["columns"]:
        n = counts[column["key"]]
        head.append(column["title"] + (f" n={n}" if n and spread else ""))
    several = len(board["latency"]) > 1
    for place in board["latency"]:
        where = f" on {place['key']}" if several else ""
        head += [f"s/image{where}", f"speed-up{where}"]
    costs = [cost for cost in ("nfe", "latency") if any(cost in row["pareto"] for row in board["rows"])]
    head += [{"nfe": "Pareto NFE", "latency": "Pareto s"}[cost] for cost in costs]
    rows = [head]
    for row in board["rows"]:
        nfe = NONE if row["nfe"] is None else f"{row['nfe']:g}" + (" stated" if row["stated"] else "")
        made = [row["name"], nfe]
        for column in board["columns"]:
            made.append(_cell(row["cells"].get(column["key"]), column, counts[column["key"]] is None, spread))
        for place in board["latency"]:
            made += _latency(row["latency"].get(place["key"]), spread)
        made += [row["pareto"].get(cost, NONE) for cost in costs]
        rows.append(made)
    return rows


def _count(rows: Sequence[Mapping[str, Any]], key: str) -> int | None:
    """The n of a column when all its cells have the same; None when they have not, and say it themselves."""
    counts = {row["cells"][key]["n"] for row in rows if key in row["cells"]}
    return int(counts.pop()) if len(counts) == 1 else None


def _cell(cell: Mapping[str, Any] | None, column: Mapping[str, Any], counted: bool, spread: bool) -> str:
    if cell is None or cell["value"] is None:
        return NONE
    group = f" ({cell['group']})" if cell["group"] is not None else ""
    ends = _ends(cell, column["decimals"]) if spread else ""
    n = f" n={cell['n']}" if counted else ""
    return f"{number(cell['value'], column['decimals'])}{group}" + (f" {ends}" if ends else "") + n


def _latency(timed: Mapping[str, Any] | None, spread: bool) -> list[str]:
    if timed is None:
        return [NONE, NONE]
    if not spread:
        speedup = timed["speedup"]
        return [number(timed["value"], 3), times(speedup["value"] if speedup else None)]
    ends = interval(timed)
    seconds = f"{number(timed['value'], 3)}" + (f" {ends}" if ends else "") + f" n={timed['n']}"
    speedup = timed["speedup"]
    if speedup is None:
        return [seconds, NONE]
    ends = f" {number(speedup['low'], 2)}{NONE}{number(speedup['high'], 2)}" if speedup["low"] else ""
    return [seconds, f"{times(speedup['value'])}{ends} n={speedup['n']}"]


def _ends(cell: Mapping[str, Any], decimals: int) -> str:
    """The interval; in words where a dash beside a minus sign could not be read."""
    if cell["low"] is None or cell["high"] is None or cell["low"] >= 0:
        return interval(cell, decimals)
    return f"{number(cell['low'], decimals)} to {number(cell['high'], decimals)}"


def _notes(board: Mapping[str, Any]) -> list[str]:
    known = {column["key"]: column["title"] for column in board["columns"]}
    said = ["; ".join(f"{column['title']}: {column['name']}" for column in board["columns"])]
    if board["quality"]:
        said.append(f"Pareto: frontier of {known.get(board['quality'], board['quality'])}")
    if board["hardware"]:
        said.append(f"Pareto s: on {board['hardware']}")
    return [*said, *board["notes"]]
