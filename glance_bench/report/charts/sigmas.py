"""A sampler's steps on the noise curve of its model: where it stops, who serves it, and what it tells the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from glance_bench.report.charts.marks import mark
from glance_bench.report.charts.scale import Scale, drawing
from glance_bench.report.text import visible

__all__ = ["EVEN", "TOLD", "steps_on_curve"]

EVEN = 0.5  # sigma at which signal and noise are as strong: SNR ((1 - sigma) / sigma)^2 = 1
TOLD = 1e-4  # sigma; what differs by less is the same level, rounded
WIDTH, HEIGHT = 340, 236
LEFT, RIGHT, TOP, BOTTOM = 40, 12, 14, 40


def steps_on_curve(
    curve: Sequence[float], rows: Sequence[Mapping[str, Any]], looks: Mapping[str, int], name: str
) -> Markup:
    """``curve`` are the falling sigmas of a full grid, its end included; a step stands where the curve has its sigma.

    ``rows`` are steps as ``steps.Played`` has them, ``looks`` the mark of each expert. The dashed line is SNR 1, an
    upright line is where one phase hands over to the next, a ring the level that the model is told where it is not
    sigma.
    """
    across = Scale(0, len(curve) - 1, LEFT, WIDTH - RIGHT)
    down = Scale(0, 1, HEIGHT - BOTTOM, TOP)
    size = 4.2 if len(rows) <= 25 else 2.4
    parts = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<path class="grid" d="M{LEFT} {down(tick):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 6}" y="{down(tick) + 3.5:.1f}" text-anchor="end">{tick:g}</text>'
        )
    for tick in across.ticks(5):
        x = across(tick)
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{tick:g}</text>'
        )
    points = "L".join(f"{across(i):.1f} {down(sigma):.1f}" for i, sigma in enumerate(curve))
    parts.append(f'<path class="curve" d="M{points}"/>')
    parts.append(f'<path class="even" d="M{LEFT} {down(EVEN):.1f}H{WIDTH - RIGHT}"/>')
    parts.append(f'<text class="tick" x="{LEFT + 4}" y="{down(EVEN) - 4:.1f}">SNR 1</text>')
    places = [across(_place(curve, row["sigma"])) for row in rows]
    for before, row, x in zip(rows, rows[1:], places[1:], strict=False):
        if row["phase"] != before["phase"]:
            parts.append(f'<path class="handover" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
    way = [f"{x:.1f} {down(row['sigma']):.1f}" for row, x in zip(rows, places, strict=True)]
    last = rows[-1]["sigma_next"]
    way.append(f"{across(_place(curve, last)):.1f} {down(last):.1f}")
    parts.append(f'<path class="way" d="M{"L".join(way)}"/>')
    for number, (row, x) in enumerate(zip(rows, places, strict=True)):
        y = down(row["sigma"])
        said = f"step {number}: sigma {row['sigma']:.4f} to {row['sigma_next']:.4f}, {row['expert']}"
        told = abs(row["t_cond"] - row["sigma"]) > TOLD
        said += f", the model is told {row['t_cond']:.4f}" if told else ""
        parts.append(f"<g><title>{escape(visible(said))}</title>")
        if told:
            t = down(row["t_cond"])
            parts.append(
                f'<path class="told" d="M{x:.1f} {y:.1f}V{t:.1f}"/>'
                f'<circle class="told" cx="{x:.1f}" cy="{t:.1f}" r="3.4"/>'
            )
        parts.append(f"{mark(looks[row['expert']], round(x, 1), round(y, 1), size)}</g>")
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text class="axis" x="{middle:.1f}" y="{HEIGHT - 6}" text-anchor="middle">step of the full grid</text>'
    )
    return drawing(
        "sigmas",
        WIDTH,
        HEIGHT,
        f"{name}: noise level sigma of its {len(rows)} steps along the full grid",
        parts,
    )


def _place(curve: Sequence[float], sigma: float) -> float:
    """Where the falling curve has this sigma, in steps; its ends beyond them."""
    for i, (above, below) in enumerate(zip(curve, curve[1:], strict=False)):
        if sigma >= below:
            return i + min(1.0, max(0.0, (above - sigma) / (above - below))) if above > below else float(i)
    return float(len(curve) - 1)
