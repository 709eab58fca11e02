"""LongText-Bench's text score: the share of wanted words that are read, over all images together.

Source: X-Omni, ``textbench/`` (the summary script). Both sides go through ``official_text``, in lower case for
English; for Chinese, white space is deleted and characters take the place of words. The score is the multiset
intersection summed over images / the wanted words summed over images, in any order.

It is a recall: extra words cost nothing, so an image that is flooded with text, or shows its own prompt, is rewarded.
The pooled precision and the mean edit similarity that stand beside it are ours.

The official number is that of ``Qwen2.5-VL-7B-Instruct`` as reader with 1024 new tokens. The language of a prompt is
``meta["language"]`` ("en", "zh") where it is there, and otherwise Chinese where the wanted text has Chinese. A set in
both languages has no official score; its numbers are the means of its languages' numbers, weighted by images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from glance_bench.metrics.base import Column, Images, Row, Total
from glance_bench.metrics.readers import JudgeReader, RapidOcrReader, Reader
from glance_bench.metrics.text_match import (
    by_language,
    has_chinese,
    matched,
    ned_similarity,
    official_text,
    storable,
)

if TYPE_CHECKING:
    import pandas as pd

    from glance_bench.prompts import Prompt

__all__ = ["LongText", "judged_longtext", "rapidocr_longtext"]

TOKENS = 1024
NOT_TEXT = "No text recognized."  # the official scripts mean to remove "addCriterion" too, and do not
VERSION = 1


class LongText:
    """``longtext[<reader>]`` and what stands beside it, as totals. Prompts without anything to judge get no row.

    Rows: ``matched``, ``wanted`` and ``found`` (words, or Chinese characters), ``ned`` (edit similarity, 0 to 1),
    ``chinese`` (0 or 1), ``long`` (0 or 1, where ``meta["length"]`` is "short" or "long"), and ``unread``, 1 where the
    reader gave no answer: such an image has no other column, and no part in the totals.
    """

    kind: Literal["sample"] = "sample"

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.name = f"longtext[{reader.name}]"
        self.notes = (self._of("read"),)
        self.columns = (
            self._column(
                "matched", "words read", "higher", "wanted words (Chinese: characters) that are read", 1
            ),
            self._column("wanted", "words", "higher", "words (Chinese: characters) that are wanted", 1),
            self._column(
                "found", "words found", "lower", "words (Chinese: characters) read, wanted or not", 1
            ),
            self._column("ned", "edit", "higher", "1 - edit distance / longer length, of an image"),
            self._column("chinese", "Chinese", "higher", "whether Chinese is wanted"),
            self._column("long", "long", "higher", "whether the set calls the text long"),
            Column(
                self._of("unread"),
                "unread",
                "lower",
                f"share of images that {reader.name} gave no answer for",
                flag=True,
            ),
        )
        recall = Column(self.name, "LongText", "higher", "wanted words that are read, pooled")
        precision = Column(self._of("precision"), "precision", "higher", "words read that are wanted, pooled")
        similarity = "1 - edit distance / longer length, mean"
        pooled = "wanted words that are read, pooled over {} texts"
        self.totals = (
            Total(recall, self._recall),
            Total(precision, self._precision),
            Total(Column(self._of("ned_similarity"), "edit", "higher", similarity), self._ned),
            Total(
                self._column("short_recall", "short", "higher", pooled.format("short")), self._recall_of(0.0)
            ),
            Total(self._column("long_recall", "long", "higher", pooled.format("long")), self._recall_of(1.0)),
        )

    def _of(self, part: str) -> str:
        return f"longtext_{part}[{self._reader.name}]"

    def _column(
        self, part: str, title: str, better: Literal["higher", "lower"], what: str, decimals: int = 3
    ) -> Column:
        return Column(self._of(part), title, better, what, decimals, headline=False)

    @property
    def recipe(self) -> str:
        """Raises GlanceBenchError when the reader's package is not installed."""
        return (
            f"{self.name}: {self._reader.recipe}; X-Omni textbench: letters of English, French and Chinese, digits, "
            f"lower case in English; pooled recall, languages weighted by images; version {VERSION}"
        )

    def score(self, images: Images, prompts: Sequence[Prompt]) -> list[Row]:
        """See ``SampleMetric.score``."""
        if len(images) != len(prompts):
            raise ValueError(f"{len(images)} images for {len(prompts)} prompts")
        rows: list[Row] = [{} for _ in prompts]
        asked = [i for i, prompt in enumerate(prompts) if official_text(" ".join(prompt.wanted_text))]
        if asked:
            for i, read in zip(asked, self._reader.read(images[asked], [TOKENS] * len(asked)), strict=True):
                rows[i] = {self._of("unread"): 1.0} if read is None else self._compare(prompts[i], read)
        return rows

    def _compare(self, prompt: Prompt, read: str) -> Row:
        read = read.replace(NOT_TEXT, "")
        text = " ".join(prompt.wanted_text)
        language = prompt.meta.get("language")
        chinese = language == "zh" if language in ("en", "zh") else has_chinese(text)
        wanted, found = (_normalise(side, chinese) for side in (text, read))
        words, others = (wanted, found) if chinese else (wanted.split(), found.split())
        row: Row = {
            self._of("matched"): float(matched(words, others)),
            self._of("wanted"): float(len(words)),
            self._of("found"): float(len(others)),
            self._of("ned"): ned_similarity(wanted, found),
            self._of("chinese"): float(chinese),
            self._of("unread"): 0.0,
            self._of("read"): storable(read),
        }
        if prompt.meta.get("length") in ("short", "long"):
            row[self._of("long")] = float(prompt.meta["length"] == "long")
        return row

    def _ratio(self, rows: pd.DataFrame, below: str) -> float:
        """Matched words over the words of column ``below``; NaN where there are none of these."""

        def one(own: pd.DataFrame, chinese: bool) -> float:
            whole = own[self._of(below)].sum()
            return float(own[self._of("matched")].sum() / whole) if whole else math.nan

        return by_language(rows, self._of("chinese"), one)

    def _recall(self, rows: pd.DataFrame) -> float:
        return self._ratio(rows, "wanted")

    def _precision(self, rows: pd.DataFrame) -> float:
        return self._ratio(rows, "found")

    def _ned(self, rows: pd.DataFrame) -> float:
        return float(rows[self._of("ned")].mean())

    def _recall_of(self, long: float) -> Callable[[pd.DataFrame], float]:
        return lambda rows: self._recall(rows[rows[self._of("long")] == long])


def _normalise(text: str, chinese: bool) -> str:
    kept = official_text(text, chinese)
    return kept if chinese else kept.lower()


def rapidocr_longtext() -> LongText:
    """``longtext[rapidocr]``: offline, and not comparable with published numbers."""
    return LongText(RapidOcrReader())


def judged_longtext(judge_name: str) -> LongText:
    """``longtext[<judge>]``; the official reader is the judge qwen2.5-vl-7b."""
    from glance_bench.judges.make import judge

    return LongText(JudgeReader(judge(judge_name)))
