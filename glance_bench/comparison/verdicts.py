"""The words in which a comparison is told, each with one fixed meaning."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from .. import stats
from ..errors import UsageError

__all__ = ["FEWEST", "LEVEL", "MEANING", "Margins", "parse_margins", "word"]

LEVEL = 0.95
FEWEST = 6  # of fewer pairs, even if all agree, a sign-flip or sign test does not reach 5 %: 2 / 2^5 = 0.06

BETTER, WORSE = "better", "worse"
OPEN, SAME, FEW, WITHIN = "not told apart", "same", "too few", "equivalent within margin"
INFORMATIONAL = "informational"

MEANING: Mapping[str, str] = {
    BETTER: "B is better than A: the adjusted p-value is below 0.05",
    WORSE: "B is worse than A: the adjusted p-value is below 0.05",
    OPEN: "the data do not decide; what would have been seen with 80 % power is said beside it",
    SAME: "every pair has the same value",
    FEW: f"fewer than {FEWEST} prompts (blocks for latency): no test at 5 % could tell A and B apart, none is made",
    INFORMATIONAL: f"a distance between sets from fewer than {stats.FEWEST_IMAGES:,} images is shown and not judged",
    WITHIN: "the whole 95 % interval lies inside the margin that was given, whichever the direction",
}


@dataclass(frozen=True)
class Margins:
    """What difference does not matter, in a column's unit: a share of A's value, or by column a value."""

    share: float | None = None
    by_column: Mapping[str, float] | None = None

    def of(self, column: str, value: float) -> float | None:
        """The margin of a column where A has ``value``; None where none was given."""
        if self.by_column and column in self.by_column:
            return self.by_column[column]
        return None if self.share is None else self.share * abs(value)


def parse_margins(given: list[str]) -> Margins:
    """Margins as the command line gives them: ``1%`` of A's value for every column, ``COLUMN=0.01`` for one.

    Raises UsageError for anything else.
    """
    share, by_column = None, {}
    for text in given:
        column, equals, amount = text.rpartition("=")
        try:
            value = float(amount.removesuffix("%")) / (100 if amount.endswith("%") else 1)
        except ValueError:
            value = math.nan
        absolute = bool(equals) and bool(column) and not amount.endswith("%")
        relative = not equals and amount.endswith("%")
        if not (math.isfinite(value) and value > 0 and (absolute or relative)):
            raise UsageError(f"--margin {text!r}: expected a share such as 1%, or COLUMN=VALUE")
        if absolute:
            by_column[column] = value
        else:
            share = value
    return Margins(share, by_column)


def word(
    delta: float,
    low: float,
    high: float,
    *,
    n: int,
    p_adjusted: float | None,
    better: str,
    margin: float | None,
    judged: bool = True,
) -> str:
    """The verdict on B - A = ``delta`` over ``n`` prompts, with its 95 % interval.

    ``p_adjusted`` is None where every pair is the same. An interval inside the margin goes before a direction.
    What is not ``judged`` is informational.
    """
    if n < FEWEST:
        return FEW
    if not judged:
        return INFORMATIONAL
    if p_adjusted is None:
        return SAME
    if margin is not None and -margin < low and high < margin:
        return WITHIN
    if p_adjusted >= 1 - LEVEL or delta == 0:
        return OPEN
    return BETTER if (delta > 0) == (better == "higher") else WORSE
