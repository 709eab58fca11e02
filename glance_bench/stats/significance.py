"""p-values of paired comparisons, and their correction when there are several."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, ndtr

from .intervals import Floats, checked

__all__ = ["Alternative", "holm", "known", "mcnemar", "sign_flip", "sign_flip_bound"]

Alternative = Literal["less", "greater", "two-sided"]
Name = TypeVar("Name", bound=Hashable)

_ROUNDING = 1e-12  # relative; what differs by less is equal
EXACT = 13  # up to so many values all 2^n signs are tried
CERTAIN = 10  # in units of the root of sum d^2: random signs reach such a sum with a chance below 2 exp(-50)
_BYTES = 64  # bytes a flip that are drawn at once; of flips by fours the sums are the same for any number
# The 256 ways to give signs to eight values: row b holds -1 where bit i of b is set, else +1.
_SIGNS = 1.0 - 2.0 * (np.arange(256)[:, None] >> np.arange(8) & 1)


def sign_flip(
    deltas: npt.ArrayLike,
    *,
    shift: float = 0.0,
    alternative: Alternative = "two-sided",
    seed: int = 0,
    flips: int = 10_000,
) -> float:
    """p-value of the hypothesis that the mean of ``deltas`` (float[N], one a prompt) is ``shift``.

    With d = deltas - shift, the sum of d is compared with the sums of +-d_i over random signs (Fisher 1935, section
    21; Phipson and Smyth 2010 for the count). All 2^n signs are tried when at most 13 of the d are not zero; else
    ``flips`` random ones, with p = (1 + those at least as extreme) / (1 + flips), so p is never 0. "less" looks for a
    mean below ``shift``, "greater" above it. All d zero gives 1.

    Exact when d is symmetric about 0 under the hypothesis, as A - B is when A and B are exchangeable. Otherwise
    right for large N: sum d^2 is the same under all signs, so this is the test of Student's t with its own
    reference distribution. The result does not depend on the order of ``deltas``. Where Hoeffding's bound (1963) leaves
    no chance that random signs reach the observed sum, none are drawn.

    Raises ValueError when ``deltas`` is empty or not finite, ``shift`` is not finite, or ``flips`` is below 1.
    """
    known(alternative)
    if flips < 1 or not np.isfinite(shift):
        raise ValueError(f"flips must be at least 1 and shift finite, got {flips} and {shift}")
    data = checked(deltas, "deltas")
    d = data - shift
    d[np.abs(d) <= _ROUNDING * max(np.abs(data).max(), abs(shift))] = 0
    # Signs are random, so only sizes matter; sorted, so that the same values get the same draws in any order.
    size = np.sort(np.abs(d[d != 0]))
    if not len(size):
        return 1.0
    observed = d.sum() if alternative == "less" else -d.sum()
    observed = -abs(observed) if alternative == "two-sided" else observed
    exact = len(size) <= EXACT
    if not exact and observed <= -CERTAIN * np.sqrt((size**2).sum()):
        return 1 / (1 + flips)
    sums = _all_sums(size) if exact else _random_sums(size, np.random.default_rng(seed), flips)
    if alternative == "two-sided":
        sums = -np.abs(sums)
    count = int((sums <= observed + _ROUNDING * size.sum()).sum())
    return count / len(sums) if exact else (1 + count) / (1 + flips)


def sign_flip_bound(deltas: npt.ArrayLike) -> float:
    """What the two-sided p-value of ``sign_flip`` cannot exceed, in closed form: for p-values below 1 / flips.

    With Z normal, P(sum of +-d_i >= x) <= c P(Z >= x / sqrt(sum d_i^2)), c = 1 / (4 P(Z >= sqrt 2)) = 3.18, whatever
    the d_i (Bentkus and Dzindzalieta 2015, Bernoulli 21:1231). So it may take the place of the p-value, at the cost of
    at most that factor or so. At most 1; 1 when all deltas are zero. Raises ValueError as ``sign_flip``.
    """
    data = checked(deltas, "deltas")
    length = float(np.sqrt(np.sum(data**2)))
    if length == 0:
        return 1.0
    factor = 1 / (4 * ndtr(-np.sqrt(2)))
    return min(1.0, float(2 * factor * ndtr(-abs(data.sum()) / length)))


def _all_sums(size: Floats) -> Floats:
    """float64[2^n]: the sum under each choice of signs."""
    sums = np.zeros(1)
    for value in size:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def _random_sums(size: Floats, rng: np.random.Generator, flips: int) -> Floats:
    """float64[flips]: sums under random signs. A random byte gives eight signs, whose 256 sums are made once."""
    sums = np.zeros(flips)
    starts = range(0, len(size), 8)
    for first in range(0, len(starts), _BYTES):
        some = starts[first : first + _BYTES]
        drawn = np.frombuffer(rng.bytes(flips * len(some)), dtype=np.uint8).reshape(len(some), flips)
        for start, bytes_ in zip(some, drawn, strict=True):
            eight = size[start : start + 8]
            sums += (_SIGNS[:, : len(eight)] @ eight)[bytes_]
    return sums


def mcnemar(only_a: int, only_b: int, alternative: Alternative = "two-sided") -> float:
    """p-value of the hypothesis that A and B fail equally often, from paired failures.

    ``only_a`` pairs failed in A and not in B, ``only_b`` the other way round; pairs alike in both say nothing. With
    n = only_a + only_b, only_a is Binomial(n, 1/2) under the hypothesis, so p is a binomial tail: exact McNemar
    (1947). "greater": A fails more often. "two-sided" doubles the smaller tail, at most 1. n = 0 gives 1. Raises
    ValueError for a negative count.
    """
    known(alternative)
    if only_a < 0 or only_b < 0:
        raise ValueError(f"counts must not be negative, got {only_a} and {only_b}")
    n = only_a + only_b
    if alternative == "two-sided":
        return min(1.0, 2 * float(bdtr(min(only_a, only_b), n, 0.5)))
    return float(bdtr(only_a if alternative == "less" else only_b, n, 0.5))


def holm(p: Mapping[Name, float]) -> dict[Name, float]:
    """Adjusted p-values of several hypotheses, in the order given: reject those at most alpha.

    The k-th smallest of m p-values becomes max over j <= k of (m - j + 1) p_(j), at most 1 (Holm 1979). The chance of
    any false rejection is then at most alpha, however the tests depend on each other. Raises ValueError for a value
    that is not in 0..1, NaN among them: leave out a test that could not be made.
    """
    wrong = {name: value for name, value in p.items() if not 0 <= value <= 1}
    if wrong:
        raise ValueError(f"p-values must lie in 0..1: {wrong}")
    adjusted: dict[Name, float] = {}
    highest = 0.0
    for rank, name in enumerate(sorted(p, key=lambda name: p[name])):
        highest = max(highest, min(1.0, (len(p) - rank) * float(p[name])))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p}


def known(alternative: str) -> None:
    """Raises ValueError for a side that is none of ``Alternative``."""
    if alternative not in get_args(Alternative):
        raise ValueError(
            f"alternative must be one of {', '.join(get_args(Alternative))}, got {alternative!r}"
        )
