"""Kernel Inception distance: the squared maximum mean discrepancy under the kernel (x.y / D + 1)^3.

Binkowski et al. 2018 (arXiv 1801.01401). Two estimates:

* ``kid[...]``, as torch-fidelity 0.4, clean-fid and pi-Flow compute it: the mean over 100 random pairs of subsets of
  m = min(1000, N, M) images of

      mean of k(x, x') + mean of k(y, y') without the diagonals - 2 mean of k(x, y)

  The draws are torch-fidelity's (``numpy.random.RandomState(2020)``, generated side first), so the number is, too.
* ``kid_full[...]``: the same expression once, over all images: unbiased, without chance, and cheaper below 10,000
  images.

Both are raw; papers often print them times 1000. They are unbiased in N and may be slightly negative.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glance_bench.metrics.base import Features
from glance_bench.metrics.corpus import OnFeatures, checked
from glance_bench.metrics.references import Extractor, FeatureFile

__all__ = ["Kid", "KidReference"]

SUBSETS = 100
SIZE = 1000
SEED = 2020
BLOCK = 1024  # kernel rows at a time

Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class KidReference:
    """float32[M, D] features of the reference and what a reader must know about them."""

    features: Features
    note: str = ""


class Kid(OnFeatures):
    """``kid[...]``, or ``kid_full[...]`` when ``full``."""

    decimals = 5

    def __init__(self, extractor: Extractor, *, full: bool = False) -> None:
        self._full = full
        super().__init__(extractor, "kid_full" if full else "kid", "KID", "kernel distance to the reference")

    @property
    def method(self) -> str:
        if self._full:
            return "kernel (x.y/D + 1)^3, unbiased U-statistic over all images, raw"
        return f"kernel (x.y/D + 1)^3, unbiased, {SUBSETS} subsets of {SIZE} or all, seed {SEED}, raw"

    def reference_from(self, stored: FeatureFile) -> KidReference:
        return KidReference(stored.rows(), stored.note)

    def reference_of(self, features: Features) -> KidReference:
        return KidReference(features)

    def reduce(self, features: Features, reference: KidReference) -> float:
        """The estimate for float32[N >= 2, D] against the reference."""
        x, y = checked(features, reference.features.shape[1]), reference.features
        if self._full:
            return _distance(x, y, np.arange(len(x))[None], np.arange(len(y))[None])
        size = min(SIZE, len(x), len(y))
        if size == len(x) == len(y):  # every subset is the whole
            return _distance(x, y, np.arange(size)[None], np.arange(size)[None])
        draw = np.random.RandomState(SEED)  # the legacy generator, because its stream is torch-fidelity's
        pairs = [[draw.choice(len(z), size, replace=False) for z in (x, y)] for _ in range(SUBSETS)]
        first, second = (np.array(side) for side in zip(*pairs, strict=True))
        return _distance(x, y, first, second)

    def note(self, n: int, reference: KidReference) -> str:
        few = min(n, len(reference.features))
        size = f"subsets of {few} images instead of {SIZE}" if few < SIZE and not self._full else ""
        same = (
            "images share the reference's noise, so they are not independent: biased downwards, below 0 even"
        )
        return "; ".join(filter(None, (size, same if self.against_board else "", reference.note)))


def _distance(x: Features, y: Features, first: Index, second: Index) -> float:
    """The mean over subsets; ``first`` int[S, n] chooses rows of x, ``second`` int[S, m] rows of y."""
    n, m = first.shape[1], second.shape[1]
    within_x = (_sums(x, x, first, first) - _diagonal(x)[first].sum(axis=1)) / (n * (n - 1))
    within_y = (_sums(y, y, second, second) - _diagonal(y)[second].sum(axis=1)) / (m * (m - 1))
    return float(np.mean(within_x + within_y - 2 * _sums(x, y, first, second) / (n * m)))


def _sums(x: Features, y: Features, first: Index, second: Index) -> npt.NDArray[np.float64]:
    """float64[S]: for every subset the sum of the kernel over its rows of x times its rows of y.

    With chosen rows as 0/1 vectors a and b it is a K b for the kernel matrix K of all rows, made block by block;
    where that matrix is larger than those of the subsets together, each subset's own is made instead.
    """
    if len(first) > 1 and len(x) * len(y) > len(first) * first.shape[1] * second.shape[1]:
        return np.array(
            [_kernel(x[rows], y[columns]).sum() for rows, columns in zip(first, second, strict=True)]
        )
    a, b = _chosen(first, len(x)), _chosen(second, len(y))
    sums = np.zeros(len(first))
    for start in range(0, len(x), BLOCK):
        block = _kernel(x[start : start + BLOCK], y)
        sums += np.einsum("ns,ns->s", a[start : start + BLOCK], block @ b)
    return sums


def _chosen(rows: Index, n: int) -> npt.NDArray[np.float64]:
    """float64[n, S], 1 where a subset has a row."""
    chosen = np.zeros((n, len(rows)))
    np.put_along_axis(chosen, rows.T, 1, axis=0)
    return chosen


def _kernel(x: Features, y: Features) -> npt.NDArray[np.float64]:
    inner = (x @ y.T).astype(np.float64) / x.shape[1] + 1
    return inner * inner * inner


def _diagonal(x: Features) -> npt.NDArray[np.float64]:
    inner = np.einsum("nd,nd->n", x, x, dtype=np.float64) / x.shape[1] + 1
    return inner * inner * inner
