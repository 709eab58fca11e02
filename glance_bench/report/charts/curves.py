"""Lines over a common axis: losses of training, errors along a trajectory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from glance_bench.report.charts.marks import COLOURS, mark
from glance_bench.report.charts.scale import Scale, drawing
from glance_bench.report.text import visible

__all__ = ["Line", "curves", "thinned"]

WIDTH, HEIGHT = 460, 270
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 40
MARKS = 12  # symbols on a line, so that it can be told from the others without its colour
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """A line of (x, y) points, its name, and the number of its mark. ``pieces``: not joined from one to the next."""

    name: str
    number: int
    pieces: Sequence[Points]


def curves(lines: Sequence[Line], across: str, up: str, *, falling: bool = False) -> Markup:
    """The lines from y = 0 upwards; ``falling``: the axis begins at its largest value. "" for no point at all."""
    points = [point for line in lines for piece in line.pieces for point in piece]
    if not points:
        return Markup("")
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    margin = 0.03 * (last - first) or 0.5
    ends = (LEFT, WIDTH - RIGHT)
    x_scale = Scale(first - margin, last + margin, *(reversed(ends) if falling else ends))
    y_scale = Scale(0.0, 1.06 * max(y for _, y in points) or 1.0, HEIGHT - BOTTOM, TOP)
    parts = []
    for tick in y_scale.ticks(5):
        y = y_scale(tick)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in x_scale.ticks(6):
        x = x_scale(tick)
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{tick:g}</text>'
        )
    for line in lines:
        parts.append(f"<g><title>{escape(visible(line.name))}</title>")
        for piece in line.pieces:
            at = [(x_scale(x), y_scale(y)) for x, y in piece]
            way = "L".join(f"{x:.1f} {y:.1f}" for x, y in at)
            parts.append(f'<path class="line c{line.number % COLOURS}" d="M{way}"/>')
            for x, y in at[:: max(1, len(at) // MARKS)]:
                parts.append(mark(line.number, round(x, 1), round(y, 1), 3))
        parts.append("</g>")
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text class="axis" x="{middle:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(across)}</text>'
    )
    return drawing(
        "curves", WIDTH, HEIGHT, f"{up} against {across}: {', '.join(line.name for line in lines)}", parts
    )


def thinned(values: Sequence[float], most: int = 20) -> list[tuple[float, float]]:
    """(step, value) with steps from 1; of more than ``most`` values the means of stretches of equal length."""
    length = -(-len(values) // most)
    stretches = [values[i : i + length] for i in range(0, len(values), length)]
    return [
        (number * length + (len(part) + 1) / 2, sum(part) / len(part))
        for number, part in enumerate(stretches)
    ]
