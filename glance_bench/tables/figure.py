"""A paper's bar figure drawn again: printed bars, and beside them the measured ones with their intervals.

One panel a benchmark, one pair of bars a row. Printed bars are filled, measured ones are hatched outlines, so that they
differ without colour. A distance on part of the prompts is left out. The same numbers give the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from glance_bench.errors import UsageError
from glance_bench.report.text import visible

from .filled import Cell, Filled, FilledTable
from .published import Column, PaperTables, Row

__all__ = ["Format", "draw", "figure_format"]

Format = Literal["svg", "pdf", "png"]
FORMATS: dict[str, Format] = {".svg": "svg", ".pdf": "pdf", ".png": "png"}
COLOURS = ("#31688e", "#d1495b", "#35805a", "#8a6bbe")  # one a family
STYLE = {
    "svg.hashsalt": "glance-bench",
    "font.size": 8,
    "text.parse_math": False,  # a dollar sign in a label is one
    "hatch.linewidth": 0.6,
}
ACROSS, PANEL = 3, (3.0, 2.3)  # panels a line, and the size of one in inches
BAR = 0.38
DATES = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}


def figure_format(paper: PaperTables, path: Path) -> Format:
    """What the file's name asks for. Raises UsageError for another format, and where the paper has no figure."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"{path}: a figure is written as {', '.join(FORMATS)}")
    if not any(table.figure for table in paper.tables):
        raise UsageError(f"{paper.paper.id}: none of its tables is marked as a figure")
    return FORMATS[path.suffix.lower()]


def draw(filled: Filled, format: Format) -> bytes:
    """The first table that is marked as a figure, as the bytes of a file."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    table = next(table for table in filled.tables if table.table.figure)
    families = list(filled.paper.families)
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **STYLE}):
        down = -(-len(table.table.columns) // ACROSS)
        size = (PANEL[0] * ACROSS, PANEL[1] * down + 0.6)
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(down, ACROSS, squeeze=False).ravel()
        for axis, name in zip(axes, table.table.columns, strict=False):
            _panel(axis, filled.paper.columns[name], list(_bars(table, name)), families)
        for axis in axes[len(table.table.columns) :]:
            axis.remove()
        figure.suptitle(
            visible(
                f"{filled.paper.paper.title}, {table.table.id}: printed, and measured with 95 % intervals"
            )
        )
        _legend(figure, axes[0])
        sink = io.BytesIO()
        figure.savefig(sink, format=format, dpi=150, metadata=DATES[format])
    return sink.getvalue()


def _bars(table: FilledTable, name: str) -> Iterator[tuple[Row, Cell]]:
    for row, cells in table.rows:
        yield row, next(cell for cell in cells if cell.column == name)


def _panel(axis: Any, column: Column, bars: list[tuple[Row, Cell]], families: list[str]) -> None:
    values = [cell.printed for _, cell in bars if cell.printed is not None]
    values += [cell.score.value for _, cell in bars if cell.score is not None and not cell.biased]
    beside = BAR / 2 if any(cell.score and not cell.biased for _, cell in bars) else 0.0
    top = max(values, default=1.0)
    for place, (row, cell) in enumerate(bars):
        colour = COLOURS[families.index(row.family) % len(COLOURS)]
        if cell.printed is not None:
            (bar,) = axis.bar(place - beside, cell.printed, BAR, color=colour)
            bar.set_gid(f"printed-{place}")
            _label(axis, place - beside, cell.printed, cell.printed, column)
        if cell.score is not None and not cell.biased:
            x, value, low, high = place + beside, cell.score.value, cell.score.low, cell.score.high
            (bar,) = axis.bar(x, value, BAR, facecolor="white", edgecolor=colour, hatch="////")
            bar.set_gid(f"measured-{place}")
            if low is not None and high is not None:
                ends = [[max(0.0, value - low)], [max(0.0, high - value)]]
                axis.errorbar(x, value, yerr=ends, color="black", capsize=2, lw=0.8)
                top = max(top, high)
            _label(axis, x, value, value if high is None else max(value, high), column)
    better = "higher is better" if column.better == "higher" else "lower is better"
    axis.set_title(visible(f"{column.benchmark} {column.title} ({better})"), fontsize=8)
    axis.set_xticks(
        range(len(bars)), [visible(row.label) for row, _ in bars], rotation=20, ha="right", fontsize=6
    )
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_xlim(-0.6, len(bars) - 0.4)
    axis.set_ylim(min(0.0, *values, 0.0), 1.25 * top if top > 0 else 1)


def _label(axis: Any, x: float, value: float, above: float, column: Column) -> None:
    """A number over its bar and its interval, upright so that neighbours have room."""
    axis.annotate(
        f"{value:.{column.decimals}f}",
        (x, above),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        rotation=90,
        fontsize=6,
    )


def _legend(figure: Any, axis: Any) -> None:
    from matplotlib.patches import Patch

    printed = Patch(facecolor="0.5", label="printed in the paper")
    measured = Patch(facecolor="white", edgecolor="0.3", hatch="////", label="measured by given runs")
    figure.legend(handles=[printed, measured], loc="outside lower center", ncols=2, frameon=False)
