"""What the scores of OneIG-Bench and LongText-Bench share: which images are read, and what is kept of each.

Both compare ``official_text`` of what is wanted with ``official_text`` of what is read, word by word, or character by
character where Chinese is wanted, and pool the counts.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from glance_bench.metrics.base import Column, Images, Row
from glance_bench.metrics.readers import Reader
from glance_bench.metrics.text_match import by_language, matched, official_text, storable

if TYPE_CHECKING:
    import pandas as pd

    from glance_bench.prompts import Prompt

__all__ = ["CHINESE", "MATCHED", "WANTED", "Part", "TextRows", "words_of"]

Part = tuple[str, str, Literal["higher", "lower"], str, int]  # name, title, better, description, decimals

MATCHED: Part = ("matched", "words read", "higher", "wanted words (Chinese: characters) that are read", 1)
WANTED: Part = ("wanted", "words", "higher", "words (Chinese: characters) that are wanted", 1)
CHINESE: Part = ("chinese", "Chinese", "higher", "whether Chinese is wanted", 3)


class TextRows(ABC):
    """The rows of ``<label>[<reader>]``, whose columns are ``parts`` and ``unread``.

    Prompts whose wanted text leaves nothing to judge get no row. ``unread`` is 1 where the reader gave no answer: such
    an image has no other column, and no part in a total.
    """

    kind: Literal["sample"] = "sample"

    def __init__(self, label: str, reader: Reader, parts: Sequence[Part]) -> None:
        self._label, self._reader = label, reader
        self.name = f"{label}[{reader.name}]"
        self.notes = (self._of("read"),)
        unread = f"share of images that {reader.name} gave no answer for"
        self.columns = (
            *(self._column(*part) for part in parts),
            Column(self._of("unread"), "unread", "lower", unread, flag=True),
        )

    def _of(self, part: str) -> str:
        return f"{self._label}_{part}[{self._reader.name}]"

    def _column(
        self, part: str, title: str, better: Literal["higher", "lower"], what: str, decimals: int = 3
    ) -> Column:
        return Column(self._of(part), title, better, what, decimals, headline=False)

    def score(self, images: Images, prompts: Sequence[Prompt]) -> list[Row]:
        """See ``SampleMetric.score``."""
        if len(images) != len(prompts):
            raise ValueError(f"{len(images)} images for {len(prompts)} prompts")
        rows: list[Row] = [{} for _ in prompts]
        texts = [" ".join(prompt.wanted_text) for prompt in prompts]
        asked = [i for i, text in enumerate(texts) if official_text(text)]
        if asked:
            tokens = [self._tokens(texts[i]) for i in asked]
            for i, read in zip(asked, self._reader.read(images[asked], tokens), strict=True):
                rows[i] = (
                    {self._of("unread"): 1.0} if read is None else self._compare(prompts[i], texts[i], read)
                )
        return rows

    @abstractmethod
    def _tokens(self, text: str) -> int:
        """How many new tokens a judge may spend on an image that should show ``text``."""

    @abstractmethod
    def _compare(self, prompt: Prompt, text: str, read: str) -> Row:
        """The row of an image that should show ``text`` and was read as ``read``."""

    def _row(self, read: str, words: Sequence[str], others: Sequence[str], chinese: bool) -> Row:
        """What both benchmarks count: ``words`` are wanted, ``others`` read. A string is a sequence of characters."""
        return {
            self._of("matched"): float(matched(words, others)),
            self._of("wanted"): float(len(words)),
            self._of("chinese"): float(chinese),
            self._of("unread"): 0.0,
            self._of("read"): storable(read),
        }

    def _mean(self, part: str) -> Callable[[pd.DataFrame], float]:
        return lambda rows: float(rows[self._of(part)].mean())

    def _pooled(self, below: str) -> Callable[[pd.DataFrame], float]:
        """A total: the mean of ``_matched_of`` over languages, weighted by rows."""
        return lambda rows: by_language(
            rows, self._of("chinese"), lambda own, chinese: self._matched_of(own, below)
        )

    def _matched_of(self, own: pd.DataFrame, below: str) -> float:
        """Matched words over the words of column ``below`` in rows of one language; NaN where there are none."""
        whole = own[self._of(below)].sum()
        return float(own[self._of("matched")].sum() / whole) if whole else math.nan


def words_of(text: str, chinese: bool) -> Sequence[str]:
    """What is counted in ``text``: its characters where ``chinese``, else its words."""
    return text if chinese else text.split()
