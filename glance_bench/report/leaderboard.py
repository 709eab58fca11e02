"""The leaderboard in the terminal: one table a board, aligned plain lines where there is no terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from glance_bench.report.flags import flagged
from glance_bench.report.text import evaluations, interval, latencies, number, times, visible

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

__all__ = ["lines", "table"]

MARKS = {"best": "*", "tied": "="}
METRICS_SHOWN = 4  # the first column of each of so many metrics; the page has them all


def table(results: Mapping[str, Any]) -> RenderableType:
    """The boards as tables for ``rich.console.Console().print``. Intervals go where the console is too
    narrow.
    """
    return _Leaderboard(results)


class _Leaderboard:
    def __init__(self, results: Mapping[str, Any]) -> None:
        self._results = results

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.table import Table
        from rich.text import Text

        for board in self._results["boards"]:
            for spread, gap in ((True, 2), (True, 1), (False, 2), (False, 1)):
                heading, rows = _board(self._results, board, spread)
                if sum(_widths(rows)) + gap * (len(rows[0]) - 1) <= options.max_width:
                    break
            made = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0))
            for i, (name, count) in enumerate(zip(rows[0], rows[1], strict=True)):
                title = Text(name).append(f"\n{count}", style="dim")
                made.add_column(title, justify="left" if i == 0 else "right", no_wrap=True)
            for row in rows[2:]:
                style = "dim" if row[0] == visible(board["reference"]) else ""
                made.add_row(*(Text(cell, style=style) for cell in row))
            yield Text(heading, style="bold")
            yield made
            if warnings := _warnings(self._results, board):
                yield Text("\n".join(warnings), style="yellow")
            yield Text("")
        yield Text("\n".join(_legend(self._results)), style="dim")


def lines(results: Mapping[str, Any]) -> list[str]:
    """The boards as aligned lines without colour."""
    made: list[str] = []
    for board in results["boards"]:
        heading, rows = _board(results, board, spread=True)
        widths = _widths(rows)
        made.append(heading)
        for row in rows:
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            made.append("  ".join(cells).rstrip())
        made += [*_warnings(results, board), ""]
    return [*made, *_legend(results)]


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]


def _board(results: Mapping[str, Any], board: Mapping[str, Any], spread: bool) -> tuple[str, list[list[str]]]:
    """Heading and rows of one board. The first row names the columns, the second says how many images stand
    behind each. ``spread`` adds intervals."""
    columns = _columns(results, board)
    timing = latencies(results)
    timed = any((board["model"], row["sampler"]) in timing for row in board["samplers"])
    header = ["sampler", "NFE", *(column["title"] for column in columns)]
    counts = ["", "", *(f"n={_n(board, column['name'])}" for column in columns)]
    header += ["s/image", "speed-up"] if timed else []
    counts += ["", ""] if timed else []
    rows = [header, counts]
    for row in board["samplers"]:
        cells = [visible(row["sampler"]), evaluations(row)]
        for column in columns:
            cell = row["cells"].get(column["name"])
            if cell is None:
                cells.append(number(None))
                continue
            if column["name"] == "failed":
                cells.append(str(round(cell["value"] * cell["n"])))
                continue
            mark = MARKS.get(cell.get("rank", ""), " ")
            ends = " " + _short(interval(cell, column["decimals"])) if spread else ""
            cells.append(f"{number(cell['value'], column['decimals'])}{mark}{ends}")
        if timed:
            measured = timing.get((board["model"], row["sampler"]))
            total = measured["components"].get("total") if measured else None
            stated = row.get("stated", {}).get("seconds")
            said = f"{number(stated['median'], 2)} stated" if stated else number(None)
            cells.append(number(total["median"], 2) if total else said)
            cells.append(times(measured["speedup"] if measured else None))
        rows.append(cells)
    label = "TESTBED, " if board["testbed"] else ""
    heading = f"{board['model']} on {board['prompt_set']} ({label}{board['prompts']} prompts"
    return visible(f"{heading}, {board['with_text']} with text)"), rows


def _short(ends: str) -> str:
    """An interval below one without its zeros: .75-.87. Beside a larger end, .16 would look like a torn number."""
    return re.sub(r"(?<!\d)0\.", ".", ends) if not re.search(r"[1-9]\d*\.", ends) else ends


def _columns(results: Mapping[str, Any], board: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The first headline column of each metric, and the failure rate when something failed."""
    chosen = []
    metrics: set[str] = set()
    for column in results["columns"]:
        name = column["name"]
        present = [row["cells"][name] for row in board["samplers"] if name in row["cells"]]
        if not present:
            continue
        if column["headline"] and column["metric"] not in metrics and len(metrics) < METRICS_SHOWN:
            metrics.add(column["metric"])
            chosen.append(column)
        elif name == "failed" and any(cell["value"] for cell in present):
            chosen.append(column)
    return chosen


def _n(board: Mapping[str, Any], name: str) -> str:
    """How many images a column's values are made of: one number, or the least and the most."""
    counts = sorted({row["cells"][name]["n"] for row in board["samplers"] if name in row["cells"]})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"


def _warnings(results: Mapping[str, Any], board: Mapping[str, Any]) -> list[str]:
    """The board's flags that are not zero, a line each."""
    return [visible(f"! {line}") for line in flagged(results, board)]


def _legend(results: Mapping[str, Any]) -> list[str]:
    names: dict[str, str] = {}
    for board in results["boards"]:
        names |= {column["title"]: column["name"] for column in _columns(results, board)}
    reference = ", ".join(dict.fromkeys(str(board["reference"]) for board in results["boards"]))
    said = [
        "; ".join(f"{title}: {name}" for title, name in names.items()),
        f"Values with 95 % intervals. * best besides {reference}, = not told apart from that best.",
        f"results digest {results['digest'][:12]}",
    ]
    waiting: dict[str, list[str]] = {}
    for metric, what in results.get("waiting", {}).items():
        waiting.setdefault(what, []).append(metric)
    said += ["", "Not measured here:"] if waiting else []
    said += [f"  {', '.join(metrics)}: {what}" for what, metrics in waiting.items()]
    return list(map(visible, said))
