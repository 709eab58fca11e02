"""Mean and covariance of features, in float64, in one pass over parts of any size."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "Moments"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Mean float64[D], covariance float64[D, D] (divided by N - 1) and how many samples they were made from.

    ``n`` is 0 where an imported file does not say. ``note`` is what a reader must know about their origin.
    """

    mean: Floats
    covariance: Floats
    n: int
    note: str = ""

    @classmethod
    def of(cls, features: npt.NDArray[np.floating], note: str = "") -> Moments:
        """From float[N, D], N >= 2."""
        return cls.streamed([features], note)

    @classmethod
    def streamed(cls, parts: Iterable[npt.NDArray[np.floating]], note: str = "") -> Moments:
        """From parts float[n, D] that together have at least two rows; memory does not grow with their number.

        Parts are merged by the update of Chan, Golub and LeVeque (1979), which never subtracts large squares.
        """
        n, mean, scatter = 0, np.zeros(0), np.zeros((0, 0))
        for part in parts:
            data = np.asarray(part, dtype=np.float64)
            own = data.mean(axis=0)
            centred = data - own
            if not n:
                n, mean, scatter = len(data), own, centred.T @ centred
                continue
            apart, together = own - mean, n + len(data)
            scatter += centred.T @ centred
            scatter += np.outer(apart, apart * (n * len(data) / together))
            mean = mean + apart * (len(data) / together)
            n = together
        if n < 2:
            raise ValueError(f"moments need at least two samples, got {n}")
        return cls(mean, scatter / (n - 1), n, note)

    @cached_property
    def factor(self) -> Floats:
        """float64[D, R] with factor @ factor.T equal to the covariance, R its numerical rank: a root of it.

        Cholesky's lower triangle; with pivots (LAPACK dpstrf) where the covariance is singular.
        """
        from scipy.linalg.lapack import dpstrf  # here, because planning a run needs the metric and not scipy

        try:
            return np.linalg.cholesky(self.covariance).astype(np.float64, copy=False)
        except np.linalg.LinAlgError:
            lower, pivots, rank, _ = dpstrf(self.covariance, lower=1)
        factor = np.zeros((len(self.mean), rank))
        factor[pivots - 1] = np.tril(lower)[:, :rank]
        return factor

    @cached_property
    def triangular(self) -> bool:
        """Whether ``factor`` is a square lower triangle."""
        return self.factor.shape[0] == self.factor.shape[1] and not np.triu(self.factor, 1).any()

    def with_factor(self, factor: Floats) -> Moments:
        """These moments with their factor as it was kept, so that it is not computed again."""
        self.__dict__["factor"] = factor  # where cached_property keeps it
        return self
