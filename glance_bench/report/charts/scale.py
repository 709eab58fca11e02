"""Axes and symbols that the charts share."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup, escape

from glance_bench.report.text import visible

__all__ = ["Scale", "drawing", "shape"]


@dataclass(frozen=True)
class Scale:
    """Maps ``least`` .. ``most`` of the data onto the pixels ``start`` .. ``end``."""

    least: float
    most: float
    start: float
    end: float

    @classmethod
    def around(cls, least: float, most: float, start: float, end: float) -> Scale:
        """With a margin on both sides, and a width where all values are the same."""
        margin = 0.06 * (most - least) or max(abs(most) * 0.1, 0.05)
        return cls(least - margin, most + margin, start, end)

    def __call__(self, value: float) -> float:
        return self.start + (value - self.least) / (self.most - self.least) * (self.end - self.start)

    def ticks(self, wanted: int = 5) -> list[float]:
        """Round numbers inside the axis, about ``wanted`` of them."""
        rough = (self.most - self.least) / wanted
        power = 10 ** math.floor(math.log10(rough))
        step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
        first = math.ceil(self.least / step)
        return [round(k * step, 12) + 0.0 for k in range(first, math.floor(self.most / step) + 1)]


def shape(form: str, x: float, y: float, kind: str, size: float = 5) -> Markup:
    """A triangle ``up`` or ``down``, or an ``open`` circle, with the CSS class ``kind``."""
    s = size
    paths = {
        "up": f"M{x:.1f} {y - s:.1f}L{x + s:.1f} {y + s:.1f}H{x - s:.1f}Z",
        "down": f"M{x:.1f} {y + s:.1f}L{x + s:.1f} {y - s:.1f}H{x - s:.1f}Z",
        "open": f"M{x - s:.1f} {y:.1f}a{s} {s} 0 1 0 {2 * s} 0a{s} {s} 0 1 0 {-2 * s} 0Z",
    }
    return Markup(f'<path class="point {kind}" d="{paths[form]}"/>')


def drawing(kind: str, width: float, height: float, label: str, parts: Iterable[str]) -> Markup:
    """The whole chart of a ``kind``, which is its CSS class; ``label`` describes it to those who cannot see it."""
    return Markup(
        f'<svg class="plot {kind}" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{escape(visible(label))}">{"".join(parts)}</svg>'
    )
