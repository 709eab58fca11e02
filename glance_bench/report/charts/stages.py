"""Where the seconds of an image go: a bar a sampler, its components end to end, the quartiles of the whole above it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from glance_bench.report.charts.marks import mark
from glance_bench.report.charts.scale import Scale, drawing
from glance_bench.report.text import number, visible

__all__ = ["PARTS", "key", "stages"]

PARTS = ("encode", "denoise", "decode")
WIDTH, LEFT, RIGHT = 720, 180, 78
ROW, BAR, TOP, BOTTOM = 30, 14, 6, 38


def stages(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """``rows`` have number (place on the board), sampler and components {name: {median, q25, q75}} in seconds.

    "" where no whole image was timed.
    """
    drawn = [row for row in rows if "total" in row["components"]]
    if not drawn:
        return Markup("")
    most = max(row["components"]["total"]["q75"] for row in drawn)
    scale = Scale(0.0, most * 1.02 or 1.0, LEFT, WIDTH - RIGHT)
    foot = TOP + ROW * len(drawn)
    parts = []
    for tick in scale.ticks(6):
        parts.append(f'<path class="grid" d="M{scale(tick):.1f} {TOP}V{foot}"/>')
        parts.append(
            f'<text class="tick" x="{scale(tick):.1f}" y="{foot + 15}" text-anchor="middle">{tick:g}</text>'
        )
    for place, row in enumerate(drawn):
        y = TOP + ROW * place + (ROW - BAR) / 2 + 3
        total = row["components"]["total"]
        said = [
            f"{part} {number(row['components'][part]['median'], 3)} s"
            for part in PARTS
            if part in row["components"]
        ]
        title = f"{row['sampler']}: {number(total['median'], 3)} s ({', '.join(said)})"
        parts.append(f"<g><title>{escape(visible(title))}</title>")
        parts.append(mark(row["number"], LEFT - 14, y + BAR / 2))
        name = visible(row["sampler"])
        shown = name if len(name) <= 22 else name[:21] + "\u2026"
        parts.append(
            f'<text class="label" x="{LEFT - 26}" y="{y + 11:.1f}" text-anchor="end">{escape(shown)}</text>'
        )
        x = scale(0)
        for part in PARTS:
            if part in row["components"]:
                width = scale(row["components"][part]["median"]) - scale(0)
                parts.append(_piece(part, x, y, width))
                x += width
        low, high = scale(total["q25"]), scale(total["q75"])
        parts.append(
            f'<path class="quartiles" d="M{low:.1f} {y - 7:.1f}v5M{low:.1f} {y - 4.5:.1f}H{high:.1f}'
            f'M{high:.1f} {y - 7:.1f}v5"/>'
        )
        at = max(x, high) + 8
        parts.append(
            f'<text class="label" x="{at:.1f}" y="{y + 11:.1f}">{number(total["median"], 3)} s</text></g>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text class="axis" x="{middle:.1f}" y="{foot + 33}" text-anchor="middle">seconds an image</text>'
    )
    return drawing(
        "stages", WIDTH, foot + BOTTOM, f"Seconds an image by component for {len(drawn)} samplers", parts
    )


def key(part: str) -> Markup:
    """A small piece of the bar of a component, for the legend."""
    return Markup(
        f'<svg class="key" viewBox="0 0 18 12" width="18" height="12" aria-hidden="true">'
        f"{_piece(part, 1, 1, 16, 10)}</svg>"
    )


def _piece(part: str, x: float, y: float, width: float, height: float = BAR) -> str:
    """A component's stretch; encode is low, decode is hollow, so that they differ in black and white too."""
    if part == "encode":
        y, height = y + height / 4, height / 2
    return f'<rect class="part {part}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height:g}"/>'
