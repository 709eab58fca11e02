"""Quality against cost as inline SVG, drawn at build time. Colours come from the page's style sheet.

Every sampler has a mark: shape and colour together, so that neither alone has to carry the meaning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from glance_bench.report.text import interval, number, visible

__all__ = ["mark", "quality_plot", "whisker"]

WIDTH, HEIGHT = 340, 236
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 12, 40
DODGE = 8  # pixels between samplers of equal cost
COLOURS = 8  # the page defines c0 to c7; c0 is the reference's


def mark(index: int, x: float = 6, y: float = 6, size: float = 4.2) -> Markup:
    """The mark of the sampler at place ``index`` of its board, as SVG centred on (x, y) in pixels."""
    s, colour = size, index % COLOURS
    shapes = (
        f"M{x - s:.2f} {y:.2f}a{s} {s} 0 1 0 {2 * s} 0a{s} {s} 0 1 0 {-2 * s} 0Z",  # circle
        _polygon(x, y, [(-1, -1), (1, -1), (1, 1), (-1, 1)], s * 0.88),  # square
        _polygon(x, y, [(0, -1.15), (1.1, 0.85), (-1.1, 0.85)], s),  # triangle
        _polygon(x, y, [(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)], s * 0.95),  # diamond
        _polygon(x, y, [(0, 1.15), (1.1, -0.85), (-1.1, -0.85)], s),  # triangle, point down
        _polygon(x, y, _PLUS, s * 1.1),
        _polygon(x, y, [(math.sin(a), -math.cos(a)) for a in _turns(5)], s * 1.15),  # pentagon
        _polygon(x, y, [((a - b) / 1.3, (a + b) / 1.3) for a, b in _PLUS], s * 1.1),  # diagonal cross
    )
    return Markup(f'<path class="mark c{colour}" d="{shapes[(index + index // COLOURS) % len(shapes)]}"/>')


_PLUS = [
    (-0.35, -1), (0.35, -1), (0.35, -0.35), (1, -0.35), (1, 0.35), (0.35, 0.35),
    (0.35, 1), (-0.35, 1), (-0.35, 0.35), (-1, 0.35), (-1, -0.35), (-0.35, -0.35),
]  # fmt: skip


def whisker(cell: Mapping[str, Any], scale: tuple[float, float], index: int, width: int = 72) -> Markup:
    """Value and interval as a dot on a line, on the scale (least, most) that its column shares; 10 pixels
    high.
    """
    if cell["low"] is None or cell["high"] is None or scale[1] <= scale[0]:
        return Markup("")
    low, value, high = (_between(cell[key], scale, 4, width - 4) for key in ("low", "value", "high"))
    return Markup(
        f'<svg class="whisker" viewBox="0 0 {width} 10" width="{width}" height="10" aria-hidden="true">'
        f'<path class="rail" d="M2 5H{width - 2}"/><path class="reach" d="M{low:.1f} 5H{high:.1f}"/>'
        f"{mark(index, round(value, 1), 5, 3.2)}</svg>"
    )


def quality_plot(board: Mapping[str, Any], column: Mapping[str, Any]) -> Markup:
    """One metric of one board against model evaluations (log scale), with 95 % intervals.

    The band is the reference's interval. Samplers of equal cost stand side by side. The page shows the same
    numbers in the table, so the drawing is described in a sentence for those who cannot see it.
    """
    name = column["name"]
    points = [
        (i, row, row["cells"][name])
        for i, row in enumerate(board["samplers"])
        if name in row["cells"] and row["nfe"]["counted"] is not None  # unknown for some imported images
    ]
    if not points:
        return Markup("")
    ends = [cell[key] for *_, cell in points for key in ("low", "value", "high") if cell[key] is not None]
    least, most = _padded(min(ends), max(ends))
    costs = sorted({row["nfe"]["counted"] for _, row, _ in points})
    across = (math.log(costs[0]) - 0.25, math.log(costs[-1]) + 0.25)
    parts = []
    for tick in _ticks(least, most):
        y = _between(tick, (least, most), HEIGHT - BOTTOM, TOP)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 7}" y="{y + 3.5:.1f}" text-anchor="end">{tick:g}</text>')
    last = -math.inf
    for cost in costs:
        x = _between(math.log(cost), across, LEFT, WIDTH - RIGHT)
        parts.append(f'<path class="grid" d="M{x:.1f} {HEIGHT - BOTTOM}v4"/>')
        if x - last > 20:
            at = f'x="{x:.1f}" y="{HEIGHT - BOTTOM + 17}"'
            parts.append(f'<text class="tick" {at} text-anchor="middle">{cost:g}</text>')
            last = x
    parts.append(
        f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2:.1f}" y="{HEIGHT - 5}" text-anchor="middle">'
        "model evaluations an image</text>"
    )
    for index, row, cell in points:
        x = _between(math.log(row["nfe"]["counted"]), across, LEFT, WIDTH - RIGHT) + _dodge(index, points)
        low, value, high = (
            None if cell[key] is None else _between(cell[key], (least, most), HEIGHT - BOTTOM, TOP)
            for key in ("low", "value", "high")
        )
        ends_of_it = interval(cell, column["decimals"])
        title = f"{row['sampler']}: {number(cell['value'], column['decimals'])} ({ends_of_it})"
        title += f", {row['nfe']['counted']:g} evaluations, n {cell['n']}"
        parts.append(f"<g><title>{escape(visible(title))}</title>")
        if low is not None and high is not None:
            if row["sampler"] == board["reference"]:
                parts.append(
                    f'<rect class="band" x="{LEFT}" width="{WIDTH - RIGHT - LEFT}" y="{high:.1f}" '
                    f'height="{max(low - high, 0.5):.1f}"/>'
                )
            parts.append(f'<path class="reach c{index % COLOURS}" d="M{x:.1f} {low:.1f}V{high:.1f}"/>')
        parts.append(f"{mark(index, round(x, 1), round(value or 0, 1), 4.6)}</g>")
    label = f"{column['title']} against model evaluations for {len(points)} samplers of {board['model']}"
    return Markup(
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(visible(label))}">'
        f"{''.join(parts)}</svg>"
    )


def _dodge(index: int, points: Sequence[tuple[int, Mapping[str, Any], Any]]) -> float:
    """How far to shift a sampler sideways so that those of equal cost stand beside each other."""
    cost = next(row["nfe"]["counted"] for i, row, _ in points if i == index)
    alike = [i for i, row, _ in points if row["nfe"]["counted"] == cost]
    return (alike.index(index) - (len(alike) - 1) / 2) * DODGE


def _between(value: float, scale: tuple[float, float], start: float, end: float) -> float:
    return start + (value - scale[0]) / (scale[1] - scale[0]) * (end - start)


def _padded(least: float, most: float) -> tuple[float, float]:
    margin = 0.06 * (most - least) or max(abs(most) * 0.1, 0.05)
    return least - margin, most + margin


def _ticks(least: float, most: float, wanted: int = 5) -> list[float]:
    """Round numbers between two ends, about ``wanted`` of them."""
    rough = (most - least) / wanted
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    first = math.ceil(least / step)
    return [round(k * step, 12) for k in range(first, math.floor(most / step) + 1)]


def _polygon(x: float, y: float, corners: Sequence[tuple[float, float]], size: float) -> str:
    return "M" + "L".join(f"{x + a * size:.2f} {y + b * size:.2f}" for a, b in corners) + "Z"


def _turns(count: int) -> list[float]:
    return [2 * math.pi * k / count for k in range(count)]
