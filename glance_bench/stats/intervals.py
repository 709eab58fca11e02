"""Intervals for means, proportions and paired differences.

All intervals are two-sided at 95 % unless ``level`` says otherwise. What is resampled is the prompt: average
the images of a prompt before calling anything here. The same arguments give the same bytes, on any machine
with the same numpy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri, stdtrit

__all__ = [
    "Interval",
    "PairedDifference",
    "bootstrap_mean",
    "crossed_interval",
    "difference_interval",
    "paired_bootstrap",
    "wilson",
]

Floats = npt.NDArray[np.float64]

RESAMPLES = 4000
_CHUNK = (
    1 << 18
)  # resampled values held at once: 2 MB, which a processor's cache holds; no result depends on it


@dataclass(frozen=True)
class Interval:
    """Ends of a confidence interval in the unit of the values; both NaN when it cannot be computed (n < 2)."""

    low: float
    high: float


@dataclass(frozen=True)
class PairedDifference:
    """Mean of ``a - b`` over ``n`` pairs, with the interval of that mean."""

    difference: float
    low: float
    high: float
    n: int


def bootstrap_mean(
    values: npt.ArrayLike, seed: int = 0, *, resamples: int = RESAMPLES, level: float = 0.95
) -> Interval:
    """Percentile bootstrap interval of a mean.

    ``values`` is float[N], finite. ``resamples`` means of N draws with replacement are formed; the interval
    is their (1 - level)/2 and (1 + level)/2 quantiles (Efron 1979; Efron and Tibshirani 1993, chapter 13).
    When all values are equal the interval has zero width: the data cannot say more, so readers should look at
    N.

    Raises ValueError when ``values`` is empty, not one-dimensional or not finite.
    """
    data = checked(values, "values")
    if len(data) < 2:
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(resampled_means(data, seed, resamples), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def difference_interval(
    deltas: npt.ArrayLike, seed: int = 0, *, resamples: int = RESAMPLES, level: float = 0.95
) -> Interval:
    """Symmetric bootstrap interval of the mean of float[N] differences by prompt, finite.

    mean +- q, where q is the ``level`` quantile of abs(mean* - mean) over ``resamples`` means of N draws with
    replacement (Hall 1988, "On symmetric bootstrap confidence intervals"), widened by t(N - 1) / z and the root of
    N / (N - 1), because resampled means vary too little in small samples (Hesterberg 2015, section 3.1). Differences
    of two samplers are mostly small with rare large ones on both sides, of which percentile intervals hold the truth
    too rarely (``benchmarks/calibration.py``); large falls on one side alone need more prompts in either. Equal
    differences give an interval of zero width.

    Raises ValueError as ``bootstrap_mean`` does.
    """
    data = checked(deltas, "deltas")
    if len(data) < 2:
        return Interval(float("nan"), float("nan"))
    return symmetric(float(data.mean()), resampled_means(data, seed, resamples), len(data), level)


def symmetric(mean: float, means: Floats, n: int, level: float) -> Interval:
    """The interval of ``difference_interval`` from the resampled means of n values."""
    if means.min() == means.max():  # rounding must not give equal values a width
        return Interval(float(means[0]), float(means[0]))
    wider = float(stdtrit(n - 1, (1 + level) / 2)) / float(ndtri((1 + level) / 2)) * np.sqrt(n / (n - 1))
    half = float(np.quantile(np.abs(means - mean), level)) * wider
    return Interval(mean - half, mean + half)


def paired_bootstrap(
    a: npt.ArrayLike, b: npt.ArrayLike, seed: int = 0, *, resamples: int = RESAMPLES, level: float = 0.95
) -> PairedDifference:
    """Mean of ``a[i] - b[i]`` with its ``difference_interval``; pairs are resampled together.

    ``a`` and ``b`` are float[N] for the same prompts in the same order. Raises ValueError when they are not.
    """
    first, second = checked(a, "a"), checked(b, "b")
    if len(first) != len(second):
        raise ValueError(f"a and b must be paired: {len(first)} values against {len(second)}")
    delta = first - second
    interval = difference_interval(delta, seed, resamples=resamples, level=level)
    return PairedDifference(float(delta.mean()), interval.low, interval.high, len(delta))


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion (1927): keeps a width when nothing, or everything, succeeded.

    (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n) with z the normal quantile. Raises ValueError
    unless 0 <= successes <= n; n = 0 gives NaN.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie between 0 and n, got {successes} of {n}")
    if n == 0:
        return Interval(float("nan"), float("nan"))
    z, p = float(ndtri((1 + level) / 2)), successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low = float(centre - half) if successes else 0.0
    return Interval(low, float(centre + half) if successes < n else 1.0)


def crossed_interval(values: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Interval of the mean of float[S, P]: S training seeds, each on the same P prompts; new seeds and new prompts.

    Two-way random effects: with the mean squares of seeds, prompts and remainder, the variance of the mean is
    estimated by (MS_s + MS_p - MS_r) / (S P), its degrees of freedom by Satterthwaite (1946). A difference of two
    samplers is passed as the matrix of differences. With one seed it is the prompts' t interval, which knows
    nothing of other seeds. Both ends are NaN for fewer than two prompts; raises ValueError unless finite and 2-D.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 2 or not data.size or not np.isfinite(data).all():
        raise ValueError(f"values must be finite and of shape [seeds, prompts], got shape {data.shape}")
    seeds, prompts = data.shape
    if prompts < 2:
        return Interval(float("nan"), float("nan"))
    mean, by_seed, by_prompt = data.mean(), data.mean(axis=1), data.mean(axis=0)
    parts = [(seeds * np.sum((by_prompt - mean) ** 2) / (prompts - 1), prompts - 1)]  # mean square, freedom
    if seeds > 1:
        rest = (seeds - 1) * (prompts - 1)
        residual = np.sum((data - by_seed[:, None] - by_prompt + mean) ** 2) / rest
        parts += [(prompts * np.sum((by_seed - mean) ** 2) / (seeds - 1), seeds - 1), (-residual, rest)]
    if (
        sum(square for square, _ in parts) < max(parts)[0]
    ):  # no more than chance between seeds, or between prompts
        parts = [max(parts)]
    total = sum(square for square, _ in parts)
    if total == 0:
        return Interval(float(mean), float(mean))
    freedom = total**2 / sum(square**2 / df for square, df in parts)
    half = float(stdtrit(freedom, (1 + level) / 2)) * np.sqrt(total / data.size)
    return Interval(float(mean - half), float(mean + half))


def checked(values: npt.ArrayLike, name: str) -> Floats:
    """``values`` as float64[N]; raises ValueError when empty, not one-dimensional or not finite."""
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or not len(data):
        raise ValueError(f"{name} must be one-dimensional and not empty, got shape {data.shape}")
    if not np.isfinite(data).all():
        raise ValueError(f"{name} must be finite: {int((~np.isfinite(data)).sum())} of {len(data)} are not")
    return data


def resampled_means(data: Floats, seed: int, resamples: int) -> Floats:
    """float64[resamples], drawn in chunks so that memory stays flat whatever N is.

    The draws depend on ``seed`` and N only: two arrays of the same length are resampled in the same places.
    """
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK // len(data))
    parts = []
    for start in range(0, resamples, rows):
        draws = rng.integers(0, len(data), size=(min(rows, resamples - start), len(data)))
        parts.append(data[draws].mean(axis=1))
    return np.concatenate(parts)
