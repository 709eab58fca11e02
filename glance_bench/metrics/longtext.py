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

from collections.abc import Callable
from typing import TYPE_CHECKING

from glance_bench.metrics.base import Column, Row, Total
from glance_bench.metrics.readers import JudgeReader, RapidOcrReader, Reader
from glance_bench.metrics.text_match import has_chinese, ned_similarity, official_text
from glance_bench.metrics.text_rows import CHINESE, MATCHED, WANTED, TextRows, words_of

if TYPE_CHECKING:
    import pandas as pd

    from glance_bench.prompts import Prompt

__all__ = ["LongText", "judged_longtext", "rapidocr_longtext"]

TOKENS = 1024
NOT_TEXT = "No text recognized."  # the official scripts mean to remove "addCriterion" too, and do not
VERSION = 1


class LongText(TextRows):
    """``longtext[<reader>]`` and what stands beside it, as totals.

    Rows, see ``TextRows``: ``matched``, ``wanted`` and ``found`` (words, or Chinese characters), ``ned`` (edit
    similarity, 0 to 1), ``chinese`` (0 or 1), ``long`` (0 or 1, where ``meta["length"]`` is "short" or "long"),
    ``unread``.
    """

    def __init__(self, reader: Reader) -> None:
        super().__init__(
            "longtext",
            reader,
            (
                MATCHED,
                WANTED,
                ("found", "words found", "lower", "words (Chinese: characters) read, wanted or not", 1),
                ("ned", "edit", "higher", "1 - edit distance / longer length, of an image", 3),
                CHINESE,
                ("long", "long", "higher", "whether the set calls the text long", 3),
            ),
        )
        recall = Column(self.name, "LongText", "higher", "wanted words that are read, pooled")
        precision = Column(self._of("precision"), "precision", "higher", "words read that are wanted, pooled")
        similarity = "1 - edit distance / longer length, mean"
        pooled = "wanted words that are read, pooled over {} texts"
        self.totals = (
            Total(recall, self._pooled("wanted")),
            Total(precision, self._pooled("found")),
            Total(Column(self._of("ned_similarity"), "edit", "higher", similarity), self._mean("ned")),
            Total(
                self._column("short_recall", "short", "higher", pooled.format("short")), self._recall_of(0.0)
            ),
            Total(self._column("long_recall", "long", "higher", pooled.format("long")), self._recall_of(1.0)),
        )

    @property
    def recipe(self) -> str:
        """Raises GlanceBenchError when the reader's package is not installed."""
        return (
            f"{self.name}: {self._reader.recipe}; X-Omni textbench: letters of English, French and Chinese, digits, "
            f"lower case in English; pooled recall, languages weighted by images; version {VERSION}"
        )

    def _tokens(self, text: str) -> int:
        return TOKENS

    def _compare(self, prompt: Prompt, text: str, read: str) -> Row:
        read = read.replace(NOT_TEXT, "")
        language = prompt.meta.get("language")
        chinese = language == "zh" if language in ("en", "zh") else has_chinese(text)
        wanted, found = (_normalise(side, chinese) for side in (text, read))
        others = words_of(found, chinese)
        row: Row = {
            **self._row(read, words_of(wanted, chinese), others, chinese),
            self._of("found"): float(len(others)),
            self._of("ned"): ned_similarity(wanted, found),
        }
        if prompt.meta.get("length") in ("short", "long"):
            row[self._of("long")] = float(prompt.meta["length"] == "long")
        return row

    def _recall_of(self, long: float) -> Callable[[pd.DataFrame], float]:
        return lambda rows: self._pooled("wanted")(rows[rows[self._of("long")] == long])


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
