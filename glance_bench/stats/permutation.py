"""Whether a group of prompts differs from the others: the permutation test of a difference of means, without chance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import expit, gammaln, ndtr

from .intervals import Floats, checked

__all__ = ["permutation"]

EXACT = 16  # up to so many values that are not the most common one, every choice is counted
STEPS = 200  # of Newton's method; some ten are needed
_DIGITS = 9  # of values relative to the largest; what differs by less is equal
_CENTRAL = 1e-3  # standard deviations from the mean, below which half of all choices lie beyond


def permutation(values: npt.ArrayLike, inside: npt.ArrayLike) -> float:
    """p-value of the hypothesis that the K values ``inside`` were drawn from all N ``values`` at random.

    ``values`` is float[N], one a prompt, ``inside`` bool[N]. The mean inside minus the mean outside is put against the
    same for every other choice of K values (Fisher 1935; Pitman 1937): p is twice the share of choices at least as far
    on the side that was seen, at most 1. All values equal, or nobody inside or outside, gives 1.

    No choices are drawn, so p has no least value and no seed. Where at most 16 values differ from the most common one
    all choices of those are counted, which is exact. Else the share is Skovgaard's (1987) saddlepoint approximation
    for a sum given a count, as Booth and Butler (1990, Biometrika 77:787) use it for this test; values on a lattice
    get his correction for continuity. It stays within some percent of the share at 200 values and within a half of it
    at 20, far out in the tails too.

    Raises ValueError when ``values`` is empty or not finite, or ``inside`` has another length.
    """
    data, chosen = checked(values, "values"), np.asarray(inside, dtype=bool)
    if chosen.shape != data.shape:
        raise ValueError(f"inside has shape {chosen.shape} for values of {data.shape}")
    count = int(chosen.sum())
    if 2 * count > len(data):  # the same test, seen from the smaller group
        chosen, count = ~chosen, len(data) - count
    largest = np.abs(data - data.mean()).max()
    if not count or largest <= 1e-12 * np.abs(data).max():
        return 1.0
    data = np.round((data - data.mean()) / largest, _DIGITS)
    levels, place, size = np.unique(data, return_inverse=True, return_counts=True)
    seen = np.bincount(place[chosen], minlength=len(levels))  # how many of each level are inside
    if seen @ levels < count * (size @ levels) / len(data):
        levels, size, seen = -levels[::-1], size[::-1], seen[::-1]
    exact = len(data) - size.max() <= EXACT
    share = _counted(levels, size, seen) if exact else _approximated(levels, size, seen)
    return min(1.0, 2 * share)


def _counted(levels: Floats, size: npt.NDArray[np.int64], seen: npt.NDArray[np.int64]) -> float:
    """The share of choices whose sum is at least that of ``seen``, from all subsets of the uncommon values.

    A subset of A of M uncommon values comes with choose(N - M, K - A) choices among the common ones.
    """
    common = int(size.argmax())
    total, count = int(size.sum()), int(seen.sum())
    shifted = levels - levels[common]
    sums, taken = np.zeros(1), np.zeros(1, dtype=np.int64)
    for value in np.repeat(np.delete(shifted, common), np.delete(size, common)):
        sums, taken = np.concatenate([sums, sums + value]), np.concatenate([taken, taken + 1])
    rest = int(size[common])
    fits = (taken <= count) & (count - taken <= rest) & (sums >= seen @ shifted - 10.0 ** (2 - _DIGITS))
    among = np.clip(
        count - np.arange(taken.max() + 1), 0, rest
    )  # how many common values go with so many taken
    share = np.exp(_log_choose(rest, among) - _log_choose(total, np.array(count)))
    return float(share[taken[fits]].sum())


def _approximated(levels: Floats, size: npt.NDArray[np.int64], seen: npt.NDArray[np.int64]) -> float:
    """The share of choices whose sum is at least that of ``seen``, which lies above what is expected."""
    total, count = int(size.sum()), int(seen.sum())
    if np.array_equal(seen, _furthest(size, count)):  # nothing lies further: an end that no tilt reaches
        last = int(np.flatnonzero(seen)[0])
        ways = _log_choose(int(size[last]), seen[last]) - _log_choose(total, np.array(count))
        return float(np.exp(ways))
    step = _lattice(levels)
    mean = size @ levels / total
    spread = float(np.sqrt(size @ (levels - mean) ** 2 / total))
    scaled, step = (levels - mean) / spread, step / spread
    goal = float(seen @ scaled) - step / 2
    if goal <= _CENTRAL * np.sqrt(count * (1 - count / total)):
        return 0.5
    start = np.log(count / (total - count))
    tilt = _saddlepoint(scaled, size, count, goal, start)
    at_null = float(size.sum() * np.logaddexp(0, start) - start * count)
    root = np.sqrt(2 * max(0.0, at_null - _exponent(tilt, scaled, size, count, goal)))
    half = tilt[1] * step / 2
    slope = tilt[1] * (np.sinh(half) / half if 0 < half < 300 else 1.0)
    curvature = np.linalg.det(_hessian(tilt, scaled, size)) / (count * (1 - count / total))
    height = np.exp(-(root**2) / 2) / np.sqrt(2 * np.pi)
    share = ndtr(-root) + height * (1 / (slope * np.sqrt(curvature)) - 1 / root)
    return float(np.clip(share, np.exp(-_log_choose(total, np.array(count))), 1.0))


def _saddlepoint(
    levels: Floats, size: npt.NDArray[np.int64], count: int, goal: float, start: float
) -> Floats:
    """Where independent draws with log odds a + t x expect ``count`` values and the sum ``goal``: float64[2], (a, t).

    Newton's method on a convex function, with steps halved until it falls.
    """
    tilt = np.array([start, 0.0])
    value = _exponent(tilt, levels, size, count, goal)
    for _ in range(STEPS):
        odds = expit(tilt[0] + tilt[1] * levels) * size
        gradient = np.array([odds.sum() - count, odds @ levels - goal])
        if np.abs(gradient).max() < 1e-9 * size.sum():
            break
        step = np.linalg.lstsq(_hessian(tilt, levels, size), gradient, rcond=None)[0]
        for halving in 0.5 ** np.arange(40):
            nearer = tilt - halving * step
            lower = _exponent(nearer, levels, size, count, goal)
            if lower < value:
                break
        else:
            break  # rounding leaves nothing to gain
        tilt, value = nearer, lower
    return tilt


def _exponent(tilt: Floats, levels: Floats, size: npt.NDArray[np.int64], count: int, goal: float) -> float:
    cumulant = size @ np.logaddexp(0, tilt[0] + tilt[1] * levels)
    return float(cumulant - tilt[0] * count - tilt[1] * goal)


def _hessian(tilt: Floats, levels: Floats, size: npt.NDArray[np.int64]) -> Floats:
    p = expit(tilt[0] + tilt[1] * levels)
    weight = size * p * (1 - p)
    cross = weight @ levels
    return np.array([[weight.sum(), cross], [cross, weight @ levels**2]])


def _lattice(levels: Floats) -> float:
    """The step of which all differences between levels are multiples; 0 when the smallest difference is none."""
    gaps = np.diff(levels)
    steps = gaps / gaps.min()
    return float(gaps.min()) if bool((np.abs(steps - np.round(steps)) < 1e-6 * steps.max()).all()) else 0.0


def _furthest(size: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """How many of each level the ``count`` largest values have."""
    above = np.concatenate([np.cumsum(size[::-1])[::-1][1:], [0]])
    taken: npt.NDArray[np.int64] = np.clip(count - above, 0, size)
    return taken


def _log_choose(n: int, k: npt.NDArray[np.int64]) -> Floats:
    chosen: Floats = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return chosen
