"""How long a unit may take before its worker is taken to hang."""

from __future__ import annotations

from ..profiles import target_of
from ..suite import Suite
from .forecast import forecast

__all__ = ["LEAST", "TIMES", "patience"]

LEAST = 7200.0  # seconds; loading a model from a slow disk is in it
TIMES = 4.0  # what the plan says is right within a factor of three


def patience(suite: Suite) -> float:
    """Seconds for a unit of a resolved suite: four times what the plan expects of the longest, at least two hours.

    Raises as ``forecast`` does.
    """
    slowest = max(row.pace.seconds for row in forecast(suite, target_of(suite, suite), {}).rows)
    return max(LEAST, TIMES * slowest * suite.slice_size * suite.images_per_prompt)
