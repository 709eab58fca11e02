"""Ratios of latencies, from blocks in which every sampler was timed once.

What slows a machine down slows a block's samplers alike and cancels in the ratio within the block; one interrupted
block moves the median by little. So ratios hold where seconds drift.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .intervals import RESAMPLES, Floats, checked

__all__ = ["LogRatio", "log_ratio", "log_ratio_difference"]


@dataclass(frozen=True)
class LogRatio:
    """A ratio (> 0), the ends of its interval, and the number of blocks, of two sets of blocks the smaller one's.

    Both ends are NaN when the blocks are too few for the level: the range from the least to the greatest of n values
    misses their median with probability 2 / 2^n (David and Nagaraja 2003), so 95 % takes six blocks.
    """

    ratio: float
    low: float
    high: float
    n: int


def log_ratio(
    numerator: npt.ArrayLike,
    denominator: npt.ArrayLike,
    seed: int = 0,
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> LogRatio:
    """exp of the median over blocks of log(numerator / denominator), with a percentile bootstrap over blocks.

    Both are float[blocks] of seconds, > 0, the same blocks in the same order (Georges, Buytaert and Eeckhout 2007 on
    intervals of timings; Efron 1979). The teacher above, a sampler below gives the sampler's speed-up; a
    candidate above its baseline gives its slow-down. Raises ValueError unless both are finite, above 0 and of one
    length.
    """
    above, below = checked(numerator, "numerator"), checked(denominator, "denominator")
    if len(above) != len(below):
        raise ValueError(f"blocks must be paired: {len(above)} values against {len(below)}")
    if min(above.min(), below.min()) <= 0:
        raise ValueError("seconds must be above zero")
    logs = np.log(above) - np.log(below)
    medians = _resampled_medians(logs, np.random.default_rng(seed), resamples)
    return _exponentiated(float(np.median(logs)), medians, level, len(logs))


def log_ratio_difference(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    seed: int = 0,
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> LogRatio:
    """exp(median ``first`` - median ``second``): the ratio of two ratios measured in blocks of their own.

    ``first`` and ``second`` are log ratios a block, float[blocks], in natural logarithms: two sessions, or a run and
    its stored baseline, each against its own teacher, so the machines need not be alike. Each is resampled by
    itself. Raises ValueError when one is empty or not finite.
    """
    one, two = checked(first, "first"), checked(second, "second")
    rng = np.random.default_rng(seed)
    medians = _resampled_medians(one, rng, resamples) - _resampled_medians(two, rng, resamples)
    return _exponentiated(float(np.median(one) - np.median(two)), medians, level, min(len(one), len(two)))


def _resampled_medians(logs: Floats, rng: np.random.Generator, resamples: int) -> Floats:
    """float64[resamples]."""
    medians: Floats = np.median(logs[rng.integers(0, len(logs), size=(resamples, len(logs)))], axis=1)
    return medians


def _exponentiated(value: float, resampled: Floats, level: float, n: int) -> LogRatio:
    if 2.0 ** (1 - n) > 1 - level:
        return LogRatio(float(np.exp(value)), float("nan"), float("nan"), n)
    low, high = np.exp(np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2]))
    return LogRatio(float(np.exp(value)), float(low), float(high), n)
