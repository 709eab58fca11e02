"""What corpus metrics on the features of one extractor have in common: names, recipes, and where references come from.

``fid[inception-2015-12-05,bicubic-aa]`` is a formula and, in brackets, an extractor. Metrics with the same
extractor share its features, those of the reference images included.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

from glance_bench.errors import GlanceBenchError, MissingData
from glance_bench.metrics.base import Column, Features, Images
from glance_bench.metrics.references import Extractor, FeatureFile, Source, features_of

__all__ = ["OnFeatures", "checked"]


class OnFeatures(ABC):
    """A ``ReferencedMetric`` on one extractor. Subclasses give the formula."""

    kind: Literal["corpus"] = "corpus"
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    decimals: ClassVar[int] = 3
    floor: ClassVar[float | None] = None

    def __init__(self, extractor: Extractor, formula: str, title: str, what: str, detail: str = "") -> None:
        """``formula`` is the name before the brackets, ``detail`` what stands in them after the extractor's name."""
        self._extractor = extractor
        self._source: Source | None = None
        self._board = False
        inside = f"{extractor.name},{detail}" if detail else extractor.name
        self.name = f"{formula}[{inside}]"
        description = f"{what}, in features of {extractor.name}"
        self.columns = (Column(self.name, title, self.better, description, self.decimals, floor=self.floor),)

    @property
    def extractor(self) -> str:
        return self._extractor.recipe

    @property
    @abstractmethod
    def method(self) -> str:
        """The part of the recipe that says how features become a number."""

    @property
    def recipe(self) -> str:
        return f"{self.name}: {self.extractor}; {self.method}; reference {self._reference_recipe}"

    @property
    def _reference_recipe(self) -> str:
        if self._board:
            return "images of the board's reference sampler"
        return f"{self._source.kind} {self._source.digest}" if self._source else "not named yet"

    def against(self, source: Path | None) -> Self:
        """See ``ReferencedMetric.against``. Raises UsageError for a source of no known kind."""
        other = copy.copy(self)
        other._source = None if source is None else Source.at(source)
        other._board = source is None
        return other

    @property
    def against_board(self) -> bool:
        return self._board

    def features(self, images: Images | Sequence[npt.NDArray[np.uint8]]) -> Features:
        """See ``CorpusMetric.features``; a list of images of several sizes will do as well."""
        return self._extractor.features(list(images))

    def reference(self, cache: Path) -> Any:
        """What ``reduce`` takes, from the source's features in the user's cache (``references.features_of``).

        ``cache`` is not used: references are shared between runs. Raises MissingData while no source is named.
        """
        if self._board:
            raise GlanceBenchError(
                f"{self.name} is compared with the board's reference sampler: use reference_of"
            )
        if self._source is None:
            raise MissingData(
                f"{self.name} waits for reference images: name a folder, parquet, tar or npz file"
            )
        return self.reference_from(features_of(self._source, self._extractor))

    @abstractmethod
    def reference_from(self, stored: FeatureFile) -> Any:
        """What ``reduce`` takes, from features on the disk."""

    @abstractmethod
    def reference_of(self, features: Features) -> Any:
        """See ``ReferencedMetric.reference_of``."""

    @abstractmethod
    def reduce(self, features: Features, reference: Any) -> float:
        """See ``CorpusMetric.reduce``."""

    @abstractmethod
    def note(self, n: int, reference: Any) -> str:
        """See ``CorpusMetric.note``."""


def checked(features: npt.NDArray[np.floating], d: int, least: int = 2) -> npt.NDArray[np.floating]:
    """``features`` if they are finite float[N >= least, d]. Raises ValueError otherwise."""
    if features.ndim != 2 or len(features) < least or features.shape[1] != d:
        raise ValueError(f"expected float[N >= {least}, {d}] features, got shape {features.shape}")
    if not np.isfinite(features).all():
        raise ValueError("features must be finite")
    return features
