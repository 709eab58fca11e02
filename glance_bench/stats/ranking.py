"""Counting prompts won, and ranks that say when two samplers cannot be told apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy.typing as npt

from .intervals import checked
from .margins import Better, known_direction

__all__ = ["tied_groups", "win_tie_loss"]


def win_tie_loss(deltas: npt.ArrayLike, *, better: Better, tie: float = 0.0) -> tuple[int, int, int]:
    """In how many prompts the candidate is better, about equal and worse: three counts that add up to N.

    ``deltas`` is float[N], candidate - baseline; at most ``tie`` apart (>= 0) is a tie. Raises ValueError when
    ``deltas`` is empty or not finite, or ``tie`` negative or NaN.
    """
    known_direction(better)
    data = checked(deltas, "deltas")
    if not tie >= 0:
        raise ValueError(f"tie must not be negative, got {tie}")
    above, below = int((data > tie).sum()), int((data < -tie).sum())
    wins, losses = (above, below) if better == "higher" else (below, above)
    return wins, len(data) - above - below, losses


def tied_groups(
    values: Mapping[str, float], separated: Callable[[str, str], bool], better: Better
) -> dict[str, int]:
    """Ranks from 1, equal where a difference is not shown, in the order of ``values``.

    From the best value down, a name joins the group of the group's leader, its best member, unless
    ``separated(leader, name)``, a paired test, tells the two apart; then it leads the next group. The rank of a group
    is one more than the number of names above it (1, 1, 3: competition ranking). A rank is not a significant
    difference from every name above: neighbours in two groups may well be alike, only the leaders are told apart.

    Names of equal value are taken in alphabetical order. Raises ValueError when a value is NaN.
    """
    known_direction(better)
    missing = sorted(name for name, value in values.items() if math.isnan(value))
    if missing:
        raise ValueError(f"values must not be NaN: {', '.join(missing)}")
    sign = -1 if better == "higher" else 1
    ranks: dict[str, int] = {}
    leader = ""
    for position, name in enumerate(sorted(values, key=lambda name: (sign * values[name], name)), start=1):
        if not ranks or separated(leader, name):
            leader, ranks[name] = name, position
        else:
            ranks[name] = ranks[leader]
    return {name: ranks[name] for name in values}
