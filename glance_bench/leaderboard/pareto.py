"""The frontier of quality against cost, with what the intervals leave open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["NO", "PERHAPS", "YES", "Point", "frontier"]

YES, PERHAPS, NO = "yes", "perhaps", "no"


@dataclass(frozen=True)
class Point:
    """A row's quality and its cost; ``low`` and ``high`` are the cost's interval, both ``cost`` when it is exact."""

    quality: float
    cost: float
    low: float
    high: float


def frontier(
    points: Mapping[int, Point], better: str, separated: Callable[[int, int], bool]
) -> dict[int, str]:
    """Whether each row is on the frontier.

    "yes": no other row costs at most as much and is at least as good, one of the two strictly. Else "no" when one of
    those rows is told apart as better (``separated``, the paired test) and surely costs no more (its interval of cost
    ends where the other's begins, or before); else "perhaps".
    """
    sign = 1 if better == "higher" else -1
    found = {}
    for name, point in points.items():
        above = [
            other
            for other, theirs in points.items()
            if other != name
            and theirs.cost <= point.cost
            and sign * theirs.quality >= sign * point.quality
            and (theirs.cost < point.cost or theirs.quality != point.quality)
        ]
        surely = [other for other in above if separated(name, other) and points[other].high <= point.low]
        found[name] = NO if surely else PERHAPS if above else YES
    return found
