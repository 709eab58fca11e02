"""Precision, recall, density and coverage: how two sets of features lie within each other's neighbourhoods.

A set's neighbourhoods are balls around its members, each reaching to the member's k-th nearest neighbour in the set,
itself not counted.

* precision: share of generated images inside some ball of the reference; recall: share of reference images inside
  some ball of the generated ones (Kynkaanniemi et al. 2019, arXiv 1904.06991);
* density: how many balls of the reference hold a generated image, on average, divided by k; coverage: share of
  reference balls that hold a generated image (Naeem et al. 2020, arXiv 2002.09797).

Two conventions, each in the name: ``k3`` counts the border (``<=``), as torch-fidelity and pi-Flow do; ``k5`` does
not (``<``), as the authors' package prdc. pi-Flow also rounds the radii to half precision, which is not repeated.
torch-fidelity takes VGG16 features unless told ``feature_extractor="inception-v3-compat"``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from glance_bench.errors import UsageError
from glance_bench.metrics.base import Features
from glance_bench.metrics.corpus import OnFeatures, checked
from glance_bench.metrics.references import Extractor, FeatureFile

__all__ = ["CONVENTIONS", "FORMULAS", "Manifold", "ManifoldReference", "radii"]

Formula = Literal["precision", "recall", "density", "coverage"]
FORMULAS: dict[Formula, str] = {
    "precision": "share of images inside the reference's neighbourhoods",
    "recall": "share of the reference inside the images' neighbourhoods",
    "density": "reference neighbourhoods an image lies in, divided by k",
    "coverage": "share of reference neighbourhoods that hold an image",
}
CONVENTIONS = {"k3": (3, "<="), "k5": (5, "<")}
BLOCK = 1024  # rows of distances at a time

Singles = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ManifoldReference:
    """float32[M, D] features less their mean, that mean, and the squared radii float32[M] of their balls."""

    features: Features
    mean: Singles
    radii: Singles
    note: str = ""


class Manifold(OnFeatures):
    """``precision[...,k3]`` and its siblings."""

    better = "higher"
    floor = 0.0

    def __init__(self, extractor: Extractor, formula: Formula, convention: str) -> None:
        if convention not in CONVENTIONS:
            raise UsageError(
                f"{formula}[...,{convention}]: the last word must be one of {', '.join(CONVENTIONS)}"
            )
        self._formula = formula
        self._k, self._border = CONVENTIONS[convention]
        super().__init__(extractor, formula, formula.capitalize(), FORMULAS[formula], convention)

    @property
    def method(self) -> str:
        return (
            f"{self._formula}, Euclidean, neighbour {self._k} without oneself, distance {self._border} radius"
        )

    def reference_from(self, stored: FeatureFile) -> ManifoldReference:
        rows = stored.rows()
        if len(rows) <= self._k:
            raise UsageError(f"{self.name}: {len(rows)} reference images, at least {self._k + 1} are needed")
        return self._reference(rows, stored.note)

    def reference_of(self, features: Features) -> ManifoldReference:
        return self._reference(features, "")

    def _reference(self, features: Features, note: str) -> ManifoldReference:
        mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
        centred = features - mean  # distances stay, and rounding errors shrink
        reach = radii(centred, self._k) if len(features) > self._k else np.zeros(0, np.float32)
        return ManifoldReference(centred, mean, reach, note)

    def reduce(self, features: Features, reference: ManifoldReference) -> float:
        """The share or density for float32[N, D] against the reference; NaN where one side has k images or fewer."""
        own = checked(features, len(reference.mean)) - reference.mean
        real = reference.features
        if min(len(own), len(real)) <= self._k:
            return math.nan
        if self._formula == "precision":
            inside = [self._within(block, reference.radii).any(axis=1) for block in _squares(own, real)]
        elif self._formula == "recall":
            reach = radii(own, self._k)
            inside = [self._within(block, reach).any(axis=1) for block in _squares(real, own)]
        elif self._formula == "density":
            inside = [
                self._within(block, reference.radii).sum(axis=1) / self._k for block in _squares(own, real)
            ]
        else:
            nearest = np.concatenate([block.min(axis=1) for block in _squares(real, own)])
            inside = [self._within(nearest, reference.radii)]
        return float(np.concatenate(inside).mean())

    def _within(self, squares: Singles, reach: Singles) -> npt.NDArray[np.bool_]:
        return squares <= reach if self._border == "<=" else squares < reach

    def note(self, n: int, reference: ManifoldReference) -> str:
        m = len(reference.features)
        unequal = f"{n} images against {m}: compare equal numbers only" if n != m else ""
        return "; ".join(filter(None, (unequal, reference.note)))


def radii(points: Features, k: int) -> Singles:
    """float32[N]: squared distance of each of float32[N > k, D] to its k-th nearest other point."""
    found, start = [], 0
    for block in _squares(points, points):
        rows = np.arange(len(block))
        block[rows, start + rows] = np.inf
        found.append(np.partition(block, k - 1, axis=1)[:, k - 1])
        start += len(block)
    return np.concatenate(found)


def _squares(a: Features, b: Features) -> Iterator[Singles]:
    """Squared Euclidean distances float32[n, M] of consecutive rows of a to all of b."""
    norms = np.einsum("nd,nd->n", b, b)
    for start in range(0, len(a), BLOCK):
        rows = a[start : start + BLOCK]
        squares = rows @ (-2 * b.T)
        squares += norms
        squares += np.einsum("nd,nd->n", rows, rows)[:, None]
        yield np.maximum(squares, 0, out=squares)
