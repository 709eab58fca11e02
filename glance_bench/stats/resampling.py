"""Bootstrap intervals of many differences at once: a gate asks for hundreds, and must answer in seconds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .intervals import RESAMPLES, Interval, symmetric

__all__ = ["difference_intervals"]

Floats = npt.NDArray[np.float64]
_ROWS = 500  # resamples whose counts are in memory at once


def difference_intervals(samples: Sequence[Floats], level: float = 0.95, seed: int = 0) -> list[Interval]:
    """``stats.difference_interval`` of each of ``samples`` (float[N], finite, N of their own), in their order.

    Samples of one size share their draws: how often each prompt was drawn is counted once, and all resampled means
    are one product of matrices. Both ends are NaN for fewer than two values.
    """
    found = [Interval(float("nan"), float("nan"))] * len(samples)
    for size in {len(sample) for sample in samples if len(sample) > 1}:
        places = [i for i, sample in enumerate(samples) if len(sample) == size]
        means = _resampled(np.stack([samples[i] for i in places], axis=1), seed)
        for i, column in zip(places, means.T, strict=True):
            found[i] = symmetric(float(samples[i].mean()), column, size, level)
    return found


def _resampled(values: Floats, seed: int) -> Floats:
    """float64[RESAMPLES, K]: means of draws with replacement of the N rows of float64[N, K]."""
    size = len(values)
    rng = np.random.default_rng(seed)
    means = np.empty((RESAMPLES, values.shape[1]))
    for start in range(0, RESAMPLES, _ROWS):
        rows = min(_ROWS, RESAMPLES - start)
        draws = rng.integers(0, size, size=(rows, size)) + size * np.arange(rows)[:, None]
        counts = np.bincount(draws.ravel(), minlength=rows * size).reshape(rows, size)
        means[start : start + rows] = counts @ values / size
    # Equal values have a mean of no spread; rounding must not give them one.
    constant = values.min(axis=0) == values.max(axis=0)
    means[:, constant] = values[0, constant]
    return means
