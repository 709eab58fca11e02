"""Ratios of two statistics on the same prompts, such as the share of the teacher's score that a student keeps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .intervals import RESAMPLES, checked, resampled_means
from .jackknife import Jackknife

__all__ = ["Ratio", "jackknife_ratio", "ratio_of_means"]

_NAN = float("nan")


@dataclass(frozen=True)
class Ratio:
    """A ratio, the ends of its interval (both NaN when it has none), and the number of prompts or of groups."""

    value: float
    low: float
    high: float
    n: int


def ratio_of_means(
    student: npt.ArrayLike,
    teacher: npt.ArrayLike,
    seed: int = 0,
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Ratio:
    """mean(student) / mean(teacher) with a percentile bootstrap over prompts; pairs are resampled together.

    Both are float[N] for the same prompts in the same order: retention as papers state it, a ratio of two means and
    not a mean of ratios, which is undefined where the teacher scores 0 (Efron and Tibshirani 1993, section 10.3). The
    interval agrees with Fieller's (1954) where that one is bounded. Where a resampled mean of the teacher is 0 or
    has another sign, the ratio is not bounded, and both ends are NaN, as with one prompt; a teacher's mean of 0 gives
    NaN for the value too.

    Raises ValueError when one is empty or not finite, or the lengths differ.
    """
    above, below = checked(student, "student"), checked(teacher, "teacher")
    if len(above) != len(below):
        raise ValueError(f"student and teacher must be paired: {len(above)} values against {len(below)}")
    mean = float(below.mean())
    if mean == 0:
        return Ratio(_NAN, _NAN, _NAN, len(below))
    value = float(above.mean()) / mean
    means = resampled_means(below, seed, resamples)
    if len(below) < 2 or (means * mean <= 0).any():
        return Ratio(value, _NAN, _NAN, len(below))
    ratios = resampled_means(above, seed, resamples) / means  # the same seed: the same prompts
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return Ratio(value, float(low), float(high), len(below))


def jackknife_ratio(a: Jackknife, b: Jackknife, *, level: float = 0.95) -> Ratio:
    """a / b with the interval of the jackknife of the ratio.

    Both leave out the same groups, so both sides miss the same prompts; ``n`` of the result is the number of groups.
    For statistics that are no means, such as Frechet distances and totals. Both ends are NaN for fewer than two
    groups, or where a replicate of b is 0 or of another sign than its value; b = 0 gives NaN for the value too.

    Raises ValueError when something is not finite or the numbers of groups differ.
    """
    above, below = checked(a.replicates, "replicates of a"), checked(b.replicates, "replicates of b")
    if not a.pairs_with(b):
        raise ValueError(f"replicates must be paired: {len(above)} groups against {len(below)}")
    if not np.isfinite([a.value, b.value]).all():
        raise ValueError(f"values must be finite, got {a.value} and {b.value}")
    if b.value == 0:
        return Ratio(_NAN, _NAN, _NAN, len(below))
    value = a.value / b.value
    if (below * b.value <= 0).any():
        return Ratio(value, _NAN, _NAN, len(below))
    both = len(a.pairs) == len(b.pairs) and bool((b.pairs * b.value > 0).all())
    pairs = a.pairs / b.pairs if both else np.empty(0)
    interval = Jackknife(value, above / below, pairs).interval(level)
    return Ratio(value, interval.low, interval.high, len(below))
