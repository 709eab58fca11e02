"""What a metric is. One file a metric; each is registered by name in ``glance_bench.registry.METRICS``.

The registered object is a factory without arguments. Calling it is cheap and imports no torch: weights and
engines are built by the first ``score`` or ``features``, once per process.

A *recipe* is one line of plain text that names everything which can change a value: model and weights, sizes,
normalisation, formula version. Scores are stored under their recipe, and two numbers may stand in one column
only when their recipes are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

    from glance_bench.prompts import Prompt

__all__ = [
    "FROM_FEATURES",
    "Column",
    "CorpusMetric",
    "Features",
    "Images",
    "Metric",
    "PairMetric",
    "PromptMetric",
    "ReferencedMetric",
    "Row",
    "SampleMetric",
    "Total",
    "TotalledMetric",
    "UnitMetric",
]

FROM_FEATURES = (
    "corpus",
    "prompt",
)  # the kinds for which features are stored, and shared by equal extractors

Images = npt.NDArray[np.uint8]  # [N, H, W, 3], RGB
Features = npt.NDArray[np.float32]  # [N, D]
Row = dict[str, float | str]  # strings are notes shown beside an image (what OCR read), never averaged


@dataclass(frozen=True)
class Column:
    """One number a metric gives.

    ``name`` is its key in rows, cells and files; ``title`` the short heading; ``headline`` false for columns that only
    explain others and stay out of the leaderboard. A ``flag`` is 1 for an image with something wrong; it stays out of
    the leaderboard too, and readers are warned wherever it is not zero; its description begins with "share of".
    ``decimals`` is how many are shown. ``floor`` is the least value there can be, for intervals that could reach below.
    """

    name: str
    title: str
    better: Literal["higher", "lower"]
    description: str
    decimals: int = 3
    headline: bool = True
    flag: bool = False
    floor: float | None = None

    def __post_init__(self) -> None:
        if self.flag:
            object.__setattr__(self, "headline", False)


class Metric(Protocol):
    """What every metric has."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> Literal["sample", "corpus", "prompt", "pair", "unit"]: ...

    @property
    def recipe(self) -> str: ...

    @property
    def columns(self) -> tuple[Column, ...]: ...


@runtime_checkable
class SampleMetric(Metric, Protocol):
    """A value for each image; the table shows its mean. ``kind`` is "sample"."""

    @property
    def notes(self) -> tuple[str, ...]:
        """The keys of rows that hold strings; every other key is the name of one of ``columns``."""
        ...

    def score(self, images: Images, prompts: Sequence[Prompt]) -> list[Row]:
        """One row an image, in order. A column that does not apply to a prompt is left out of its row.

        ``images`` is uint8[N, H, W, 3] and ``prompts`` has N entries.
        """
        ...


@dataclass(frozen=True)
class Total:
    """A number that a set of rows gives as a whole and that is no mean over prompts, such as a pooled word recall.

    ``of`` takes the rows as a frame (the metric's columns and notes, ``prompt_id`` and ``index``; NaN where a row
    left a column out) and returns NaN where nothing applies. Its interval is a jackknife over prompts,
    cut at ``bounds``.
    """

    column: Column
    of: Callable[[pd.DataFrame], float]
    bounds: tuple[float, float] = (0.0, 1.0)


@runtime_checkable
class TotalledMetric(SampleMetric, Protocol):
    """A sample metric whose official score is one or more totals. ``columns`` are still the rows' own."""

    @property
    def totals(self) -> tuple[Total, ...]: ...


@runtime_checkable
class CorpusMetric(Metric, Protocol):
    """A value for a set of images: features for each, then one reduction. ``kind`` is "corpus", one column."""

    @property
    def extractor(self) -> str:
        """The recipe of the features alone: metrics with the same extractor share them."""
        ...

    def features(self, images: Images) -> Features:
        """uint8[N, H, W, 3] to float32[N, D]."""
        ...

    def reference(self, cache: Path) -> Any:
        """What generated images are compared with. Read from the package or from the folder ``cache``, else
        made and kept there, so that a second call needs no torch."""
        ...

    def reduce(self, features: Features, reference: Any) -> float:
        """float32[N, D] and ``reference(...)`` to one number. numpy only."""
        ...

    def note(self, n: int, reference: Any) -> str:
        """What a reader must know about a value made from ``n`` images; "" when nothing."""
        ...


@runtime_checkable
class ReferencedMetric(CorpusMetric, Protocol):
    """A corpus metric whose reference the suite names: images or features somewhere, or the board's reference sampler.

    As registered it has no reference yet; ``reference`` then raises MissingData.
    """

    def against(self, source: Path | None) -> Self:
        """The same metric compared with the images or features at ``source``, which its recipe then names by their
        digest; None: with the images of the board's reference sampler."""
        ...

    @property
    def against_board(self) -> bool:
        """Whether the board's reference sampler is what it is compared with."""
        ...

    def reference_of(self, features: Features) -> Any:
        """What ``reference`` would return for reference images with these features, float32[N, D]."""
        ...


@runtime_checkable
class PromptMetric(Metric, Protocol):
    """A value for each prompt, from features of its images; the table shows the mean. ``kind`` is "prompt", one
    column."""

    @property
    def extractor(self) -> str:
        """As ``CorpusMetric.extractor``."""
        ...

    def features(self, images: Images) -> Features:
        """uint8[N, H, W, 3] to float32[N, D]."""
        ...

    def compare(self, own: Features, reference: Features | None) -> float:
        """One number from the K images of a prompt, NaN where it does not apply. numpy only.

        ``own`` is float32[K, D] in the order of the images' index, ``reference`` the same of the board's
        reference, from the same noise: None for the reference itself, and where it lacks one of the images.
        """
        ...


@runtime_checkable
class PairMetric(Metric, Protocol):
    """A value for each image beside the one that the board's reference made from the same noise; the table shows its
    mean. ``kind`` is "pair". For what needs the pixels of both: their features would be the images themselves.
    """

    def score_pairs(self, images: Images, references: Images) -> list[Row]:
        """One row a pair, in order. Both are uint8[N, H, W, 3]; raises ValueError when their shapes differ."""
        ...


@runtime_checkable
class UnitMetric(Metric, Protocol):
    """Flags that generation already recorded; no image is read again. ``kind`` is "unit"."""

    def flags(self, records: pd.DataFrame) -> pd.DataFrame:
        """``records`` as ``store.Run.records()`` gives them; one bool column per ``columns`` entry, same
        index.
        """
        ...
