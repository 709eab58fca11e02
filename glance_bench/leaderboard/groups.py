"""Which rows of a board can be told apart in a column, and the groups of those that cannot."""

from __future__ import annotations

import math
from itertools import combinations

from .. import stats
from ..comparison.effects import Refused, p_value
from ..comparison.pairing import Pairing, pair
from ..comparison.verdicts import LEVEL
from .merge import Board, Column

__all__ = ["Groups", "Pairings", "groups_of"]


class Pairings:
    """The pairings of a board's rows, each made once."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._made: dict[tuple[int, int, int, int], Pairing] = {}

    def of(self, first: int, second: int, column: Column) -> Pairing:
        """Rows by their place on the board; both have the column."""
        a, b = (self._board.entries[place].side_with(column) for place in (first, second))
        assert a is not None and b is not None
        key = first, second, id(a), id(b)
        if key not in self._made:
            self._made[key] = pair(a, b)
        return self._made[key]


class Groups:
    """The tests between all pairs of rows in one column, corrected by Holm over these pairs.

    ``ranks`` gives each row (by place) the rank of its group, empty where there are pairs and none could be tested;
    ``untested`` says for each pair without a test why: it counts as not told apart.
    """

    def __init__(self, told_apart: set[tuple[int, int]], untested: list[str]) -> None:
        self.ranks: dict[int, int] = {}
        self.untested = untested
        self._told_apart = told_apart

    def separated(self, first: int, second: int) -> bool:
        """Whether the paired test tells the two rows apart."""
        return (min(first, second), max(first, second)) in self._told_apart


def groups_of(board: Board, column: Column, pairings: Pairings) -> Groups:
    """The paired tests of ``compare`` between all rows that have the column (see ``stats.tied_groups``)."""
    values = {
        place: value
        for place, entry in enumerate(board.entries)
        if math.isfinite(value := entry.value(column))
    }
    p: dict[tuple[int, int], float] = {}
    untested = []
    for first, second in combinations(values, 2):
        try:
            found = p_value(pairings.of(first, second, column), column.name)
        except Refused as why:
            untested.append(str(why))
            continue
        p[first, second] = 1.0 if found is None else found
    apart = {both for both, adjusted in stats.holm(p).items() if adjusted < 1 - LEVEL}
    made = Groups(apart, untested)
    if not p and untested:
        return made
    width = len(str(len(board.entries)))
    names = {f"{place:0{width}}": value for place, value in values.items()}
    ranks = stats.tied_groups(names, lambda a, b: made.separated(int(a), int(b)), column.known["better"])
    made.ranks = {int(name): rank for name, rank in ranks.items()}
    return made
