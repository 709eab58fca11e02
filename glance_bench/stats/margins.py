"""The three verdicts on a difference, given how large a loss is still accepted."""

from __future__ import annotations

import math
from typing import Literal, get_args

__all__ = ["Better", "Verdict", "known_direction", "verdict"]

Better = Literal["higher", "lower"]
Verdict = Literal["pass", "fail", "inconclusive"]


def verdict(low: float, high: float, margin: float, better: Better) -> Verdict:
    """Whether the interval [low, high] of candidate - baseline shows a loss of no more than ``margin`` >= 0.

    Higher is better: "pass" when low > -margin, "fail" when high < -margin, else "inconclusive" (a non-inferiority
    test; Piaggio et al. 2012). Lower is better: "pass" when high < margin, "fail" when low > margin. With
    margin 0 a pass says that the candidate is better. An interval of no width is a known difference and passes
    at the margin too: with margin 0, equality in every prompt counts as no loss. An end that is NaN gives
    "inconclusive".

    Raises ValueError for a margin that is negative or not finite, or low > high.
    """
    known_direction(better)
    if not (margin >= 0 and math.isfinite(margin)):
        raise ValueError(f"margin must be finite and not negative, got {margin}")
    if math.isnan(low) or math.isnan(high):
        return "inconclusive"
    if low > high:
        raise ValueError(f"the interval must not be reversed, got {low} to {high}")
    if better == "lower":
        low, high = -high, -low
    if low > -margin or low == high == -margin:
        return "pass"
    return "fail" if high < -margin else "inconclusive"


def known_direction(better: str) -> None:
    """Raises ValueError unless ``better`` is "higher" or "lower": a typing error must not turn a verdict round."""
    if better not in get_args(Better):
        raise ValueError(f"better must be higher or lower, got {better!r}")
