"""Paired differences on one axis, and how many prompts each side wins."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from glance_bench.report.charts.scale import Scale, drawing, shape
from glance_bench.report.text import visible

__all__ = ["forest", "shares"]

WIDTH, LEFT, RIGHT = 640, 170, 18
ROW, TOP, BOTTOM = 26, 8, 40
LOOKS = {
    "better": ("up", "up"),
    "worse": ("down", "down"),
}  # verdict -> class, shape; others are open circles
BAR_WIDTH, BAR = 220, 14


def forest(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """A line a row that can be standardised: the difference and its 95 % interval over ``sd``, to the right better.

    ``rows`` are effects as a comparison holds them. "" where none has an interval and a standard deviation.
    """
    drawn = [(row, ends) for row in rows if (ends := standardised(row)) is not None]
    if not drawn:
        return Markup("")
    reach = max(abs(end) for _, ends in drawn for end in ends)
    scale = Scale.around(-reach, reach, LEFT, WIDTH - RIGHT)
    height = TOP + ROW * len(drawn) + BOTTOM
    foot = height - BOTTOM
    parts = []
    for tick in scale.ticks(6):
        x = scale(tick)
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{foot}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{foot + 15}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<path class="zero" d="M{scale(0):.1f} {TOP}V{foot}"/>')
    for end, anchor, text in ((LEFT, "start", "\u2190 B worse"), (WIDTH - RIGHT, "end", "B better \u2192")):
        parts.append(f'<text class="axis" x="{end}" y="{height - 6}" text-anchor="{anchor}">{text}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text class="axis" x="{middle:.1f}" y="{height - 6}" text-anchor="middle">standard deviations</text>'
    )
    for place, (row, (low, value, high)) in enumerate(drawn):
        y = TOP + ROW * (place + 0.5)
        kind, form = LOOKS.get(row["verdict"], ("same", "open"))
        said = (
            f"{row['title']}: {value:+.3f} ({low:+.3f} to {high:+.3f}) standard deviations, {row['verdict']}"
        )
        parts.append(
            f"<g><title>{escape(visible(said))}</title>"
            f'<text class="label" x="{LEFT - 12}" y="{y + 4:.1f}" text-anchor="end">{_cut(row["title"])}</text>'
            f'<path class="reach {kind}" d="M{scale(low):.1f} {y:.1f}H{scale(high):.1f}"/>'
            f"{shape(form, scale(value), y, kind)}</g>"
        )
    return drawing(
        "forest",
        WIDTH,
        height,
        f"Differences of {len(drawn)} columns with 95 % intervals, in standard deviations",
        parts,
    )


def standardised(row: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """Low, difference and high over the standard deviation, positive where B is better; None without one of them."""
    sd = row["sd"]
    if row["low"] is None or row["high"] is None or sd is None:
        return None
    if sd == 0:
        return (0.0, 0.0, 0.0) if row["low"] == row["high"] == row["delta"] == 0 else None
    ends = [row[key] / sd for key in ("low", "delta", "high")]
    if not all(map(math.isfinite, ends)):
        return None
    return (ends[0], ends[1], ends[2]) if row["better"] == "higher" else (-ends[2], -ends[1], -ends[0])


def shares(wins: int, ties: int, losses: int) -> Markup:
    """Prompts at which B is better, equal and worse, as one bar; the table beside it has the counts."""
    whole = wins + ties + losses
    if not whole:
        return Markup("")
    parts, x = [], 0.0
    for count, kind in ((wins, "win"), (ties, "tie"), (losses, "loss")):
        width = BAR_WIDTH * count / whole
        if count:
            parts.append(f'<rect class="{kind}" x="{x:.1f}" y="0" width="{width:.1f}" height="{BAR}"/>')
        if width > 26:
            sign = {"win": "\u25b2", "tie": "=", "loss": "\u25bc"}[kind]
            parts.append(
                f'<text class="on-{kind}" x="{x + width / 2:.1f}" y="11" text-anchor="middle">{sign}</text>'
            )
        x += width
    return Markup(
        f'<svg class="shares" viewBox="0 0 {BAR_WIDTH} {BAR}" role="img" '
        f'aria-label="{wins} better, {ties} equal, {losses} worse">{"".join(parts)}</svg>'
    )


def _cut(text: str, characters: int = 24) -> Markup:
    shown = visible(text)
    return escape(shown if len(shown) <= characters else shown[: characters - 1] + "\u2026")
