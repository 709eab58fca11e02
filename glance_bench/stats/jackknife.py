"""The delete-a-group jackknife: errors of statistics of a whole set that are no means, such as Frechet distances.

What is left out are groups of prompts, the same groups for every sampler, so that differences and ratios of two
samplers are differences and ratios of their replicates. Each replicate is a whole reduction, so they are made when
scoring and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from .intervals import Floats, Interval
from .significance import Alternative, known

__all__ = ["FEWEST_IMAGES", "Jackknife", "group_jackknife", "group_labels"]

GROUPS = 20
FEWEST_IMAGES = 2048  # below, the jackknife interval of a distance between sets is too narrow to judge by


@dataclass(frozen=True)
class Jackknife:
    """A statistic on all samples (``value``), without each group (``replicates``, float64[G]), and without two.

    ``pairs`` (float64[G // 2]) are the statistic without groups 0 and 1, without 2 and 3, and so on; empty where they
    were not made, or of a ratio.
    """

    value: float
    replicates: Floats
    pairs: Floats = field(default_factory=lambda: np.empty(0))

    @classmethod
    def of_cell(cls, cell: Mapping[str, Any]) -> Jackknife | None:
        """The one that a cell of results.json holds; None where it has no value or a replicate is missing."""
        replicates, pairs = cell.get("replicates") or [], cell.get("pairs") or []
        if cell.get("value") is None or not replicates or None in replicates:
            return None
        kept = [] if None in pairs else pairs
        return cls(float(cell["value"]), np.array(replicates, np.float64), np.array(kept, np.float64))

    @classmethod
    def mean_of(cls, parts: Sequence[Jackknife]) -> Jackknife | None:
        """The mean of several statistics that leave out the same groups; None where they have not as many groups."""
        if not parts or not all(parts[0].pairs_with(part) for part in parts):
            return None
        value, replicates = np.mean([p.value for p in parts]), np.mean([p.replicates for p in parts], axis=0)
        whole = len({len(part.pairs) for part in parts}) == 1
        pairs = np.mean([part.pairs for part in parts], axis=0) if whole else np.empty(0)
        return cls(float(value), replicates, pairs)

    def pairs_with(self, other: Jackknife) -> bool:
        """Whether both leave out as many groups."""
        return len(self.replicates) == len(other.replicates)

    def __sub__(self, other: Jackknife) -> Jackknife:
        """The difference of two samplers. Raises ValueError when they leave out other groups."""
        if not self.pairs_with(other):
            raise ValueError(f"{len(self.replicates)} groups against {len(other.replicates)}")
        both = len(self.pairs) == len(other.pairs)
        pairs = self.pairs - other.pairs if both else np.empty(0)
        return Jackknife(self.value - other.value, self.replicates - other.replicates, pairs)

    def times(self, scale: float) -> Jackknife:
        """The same in another unit."""
        return Jackknife(self.value * scale, self.replicates * scale, self.pairs * scale)

    def __neg__(self) -> Jackknife:
        return self.times(-1)

    @property
    def error(self) -> float:
        """The standard error; NaN for fewer than two groups.

        With t_g the replicates, the variance is (G - 1)/G sum (t_g - mean t)^2 (Quenouille; Kott 2001). In it the
        part of a statistic that belongs to two groups together counts about twice (Efron and Stein 1981), which is
        much of the difference of two nearly equal distances. Of two groups i and j left out together that part is

            b_ij = (G - 2) (G t - (G - 1) (t_i + t_j) + (G - 2) t_ij),

        of variance s^2 (G - 3)/(G - 1) when its own is s^2. What is counted too often,
        s^2 ((G - 2) / (G (G - 1)^2) - (G - 1) / (2 G^3)), is subtracted; at most half, when nothing else is left.
        """
        t, groups = self.replicates, len(self.replicates)
        if groups < 2:
            return float("nan")
        variance = (groups - 1) / groups * float(np.sum((t - t.mean()) ** 2))
        count = len(self.pairs)
        if count < 2:
            return float(np.sqrt(variance))
        alone = t[0 : 2 * count : 2] + t[1 : 2 * count : 2]
        together = (groups - 2) * (groups * self.value - (groups - 1) * alone + (groups - 2) * self.pairs)
        squared = float(together.var(ddof=1)) * (groups - 1) / (groups - 3)
        excess = squared * ((groups - 2) / (groups * (groups - 1) ** 2) - (groups - 1) / (2 * groups**3))
        return float(np.sqrt(max(variance - excess, variance / 2)))

    def interval(self, level: float = 0.95, *, floor: float | None = None) -> Interval:
        """value +- t quantile(G - 1) x ``error``; ``floor`` bounds the lower end from below. NaN as the error is."""
        half = float(stdtrit(len(self.replicates) - 1, (1 + level) / 2)) * self.error
        low = self.value - half
        return Interval(low if floor is None else max(floor, low), self.value + half)

    def p(self, *, shift: float = 0.0, alternative: Alternative = "two-sided") -> float:
        """p-value of the hypothesis that what ``value`` estimates is ``shift``.

        (value - shift) / error against Student's t with G - 1 degrees of freedom, so p < 0.05 two-sided exactly when
        the 95 % interval leaves out ``shift``. No spread at all gives 1 at ``shift`` and else 0 or 1 by the side.
        Fewer than two groups give NaN; values that are not finite ValueError.
        """
        known(alternative)
        if not (np.isfinite([self.value, shift]).all() and np.isfinite(self.replicates).all()):
            raise ValueError("value, shift and replicates must be finite")
        if len(self.replicates) < 2:
            return float("nan")
        apart, freedom = self.value - shift, len(self.replicates) - 1
        if self.error == 0:
            beyond = {"less": apart < 0, "greater": apart > 0, "two-sided": apart != 0}
            return 0.0 if beyond[alternative] else 1.0
        score = apart / self.error
        if alternative == "two-sided":
            return 2 * float(stdtr(freedom, -abs(score)))
        return float(stdtr(freedom, score if alternative == "less" else -score))


def group_labels(keys: Sequence[str], groups: int = GROUPS, seed: int = 0) -> npt.NDArray[np.int64]:
    """Deal the distinct ``keys`` (prompt ids) into ``groups`` of nearly equal size; int64[len(keys)] of
    labels.

    The deal depends on the set of keys only, not on their order, so two samplers scored on the same prompts
    leave out the same prompts. With fewer keys than groups every key is its own group.
    """
    distinct = sorted(set(keys))
    order = np.random.default_rng(seed).permutation(len(distinct))
    count = max(1, min(groups, len(distinct)))
    label = {distinct[position]: rank % count for rank, position in enumerate(order)}
    return np.array([label[key] for key in keys], dtype=np.int64)


def group_jackknife(
    statistic: Callable[[npt.NDArray[np.bool_]], float], labels: npt.NDArray[np.int64]
) -> Jackknife:
    """The jackknife of a statistic over groups: on all samples, without each group, and without each two neighbours.

    ``statistic(keep)`` evaluates it on the samples where the bool[N] mask is true; ``labels`` is int64[N] from
    ``group_labels``. One group alone leaves nothing to leave out: no replicates. Pairs begin at four groups.
    """
    names = np.unique(labels)
    value = float(statistic(np.ones(len(labels), dtype=bool)))
    if len(names) < 2:
        return Jackknife(value, np.empty(0))
    replicates = np.array([statistic(labels != name) for name in names], dtype=np.float64)
    paired = zip(names[::2], names[1::2], strict=False) if len(names) > 3 else ()
    pairs = np.array([statistic((labels != a) & (labels != b)) for a, b in paired], dtype=np.float64)
    return Jackknife(value, replicates, pairs)
