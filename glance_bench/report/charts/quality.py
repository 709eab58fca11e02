"""Quality against cost, both with their intervals, and the frontier: samplers that none beats in both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from glance_bench.report.charts.marks import COLOURS, mark
from glance_bench.report.charts.scale import Scale, drawing
from glance_bench.report.text import interval, number, visible

__all__ = ["Cost", "quality_plot"]

WIDTH, HEIGHT = 340, 236
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 12, 40
DODGE = 8  # pixels between samplers of equal cost
APART = 20  # pixels that two labels need between them


@dataclass(frozen=True)
class Cost:
    """What one image costs: a positive value, and the ends of its interval, equal to it where it is exact."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class _Point:
    place: int  # of the sampler on its board
    name: str
    cost: Cost
    cell: Mapping[str, Any]


def quality_plot(
    board: Mapping[str, Any], column: Mapping[str, Any], costs: Mapping[str, Cost], unit: str
) -> Markup:
    """One metric of one board against ``costs`` by sampler (log scale, in ``unit``), with 95 % intervals.

    The band is the reference's interval, the stepped line the frontier. Samplers of equal exact cost stand side by
    side. The page shows the same numbers in its tables, so the drawing is described in a sentence.
    """
    points = [
        _Point(place, row["sampler"], costs[row["sampler"]], row["cells"][column["name"]])
        for place, row in enumerate(board["samplers"])
        if column["name"] in row["cells"]
        and row["sampler"] in costs
        and row["cells"][column["name"]]["value"] is not None
    ]
    if not points:
        return Markup("")
    ends = [point.cell[key] for point in points for key in ("low", "value", "high")]
    known = [end for end in ends if end is not None]
    up = Scale.around(min(known), max(known), HEIGHT - BOTTOM, TOP)
    lows, highs = (point.cost.low for point in points), (point.cost.high for point in points)
    across = Scale(math.log(min(lows)) - 0.25, math.log(max(highs)) + 0.25, LEFT, WIDTH - RIGHT)
    parts = [*_axes(up, across, sorted({point.cost.value for point in points}), unit)]
    parts += _frontier(points, column["better"], up, across)
    for point in points:
        parts += _drawn(point, board, column, up, across, points, unit)
    label = f"{column['title']} against {unit} for {len(points)} samplers of {board['model']}"
    return drawing("quality", WIDTH, HEIGHT, label, parts)


def _axes(up: Scale, across: Scale, costs: Sequence[float], unit: str) -> list[str]:
    parts = []
    for tick in up.ticks():
        y = up(tick)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 7}" y="{y + 3.5:.1f}" text-anchor="end">{tick:g}</text>')
    last = -math.inf
    for cost in costs:
        x = across(math.log(cost))
        parts.append(f'<path class="grid" d="M{x:.1f} {HEIGHT - BOTTOM}v4"/>')
        if x - last > APART:
            at = f'x="{x:.1f}" y="{HEIGHT - BOTTOM + 17}"'
            parts.append(f'<text class="tick" {at} text-anchor="middle">{cost:.2g}</text>')
            last = x
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text class="axis" x="{middle:.1f}" y="{HEIGHT - 5}" text-anchor="middle">{escape(unit)}</text>'
    )
    return parts


def _frontier(points: Sequence[_Point], better: str, up: Scale, across: Scale) -> list[str]:
    """A line through the samplers that no other equals or beats at the same or a lower cost."""
    sign = 1 if better == "higher" else -1
    steps, best = "", -math.inf
    for point in sorted(points, key=lambda p: (p.cost.value, -sign * p.cell["value"])):
        if sign * point.cell["value"] <= best:
            continue
        best = sign * point.cell["value"]
        x, y = across(math.log(point.cost.value)), up(point.cell["value"])
        steps += f"H{x:.1f}V{y:.1f}" if steps else f"M{x:.1f} {y:.1f}"
    return [f'<path class="frontier" d="{steps}H{WIDTH - RIGHT}"/>']


def _drawn(
    point: _Point,
    board: Mapping[str, Any],
    column: Mapping[str, Any],
    up: Scale,
    across: Scale,
    points: Sequence[_Point],
    unit: str,
) -> list[str]:
    cell, cost, colour = point.cell, point.cost, point.place % COLOURS
    exact = cost.low == cost.high
    x = across(math.log(cost.value)) + (_dodge(point, points) if exact else 0)
    title = (
        f"{point.name}: {number(cell['value'], column['decimals'])} ({interval(cell, column['decimals'])})"
    )
    title += f", {cost.value:.3g} {unit}, n {cell['n']}"
    parts = [f"<g><title>{escape(visible(title))}</title>"]
    if cell["low"] is not None and cell["high"] is not None:
        low, high = up(cell["low"]), up(cell["high"])
        if point.name == board["reference"]:
            parts.append(
                f'<rect class="band" x="{LEFT}" width="{WIDTH - RIGHT - LEFT}" y="{high:.1f}" '
                f'height="{max(low - high, 0.5):.1f}"/>'
            )
        parts.append(f'<path class="reach c{colour}" d="M{x:.1f} {low:.1f}V{high:.1f}"/>')
    y = up(cell["value"])
    if not exact:
        left, right = across(math.log(cost.low)), across(math.log(cost.high))
        parts.append(f'<path class="reach c{colour}" d="M{left:.1f} {y:.1f}H{right:.1f}"/>')
    parts.append(f"{mark(point.place, round(x, 1), round(y, 1), 4.6)}</g>")
    return parts


def _dodge(point: _Point, points: Sequence[_Point]) -> float:
    """How far to shift a sampler sideways so that those of equal cost stand beside each other."""
    alike = [other.place for other in points if other.cost == point.cost]
    return (alike.index(point.place) - (len(alike) - 1) / 2) * DODGE
