"""The mark of each sampler, and a value with its interval, as inline SVG. Colours come from the page's style sheet.

A mark is shape and colour together, so that neither alone has to carry the meaning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from glance_bench.report.charts.scale import Scale

__all__ = ["COLOURS", "mark", "whisker"]

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
    across = Scale(*scale, 4, width - 4)
    low, value, high = (across(cell[key]) for key in ("low", "value", "high"))
    return Markup(
        f'<svg class="whisker" viewBox="0 0 {width} 10" width="{width}" height="10" aria-hidden="true">'
        f'<path class="rail" d="M2 5H{width - 2}"/><path class="reach" d="M{low:.1f} 5H{high:.1f}"/>'
        f"{mark(index, round(value, 1), 5, 3.2)}</svg>"
    )


def _polygon(x: float, y: float, corners: Sequence[tuple[float, float]], size: float) -> str:
    return "M" + "L".join(f"{x + a * size:.2f} {y + b * size:.2f}" for a, b in corners) + "Z"


def _turns(count: int) -> list[float]:
    return [2 * math.pi * k / count for k in range(count)]
