"""OneIG-Bench's text score: edit distance, share of exact images and word accuracy, multiplied.

Source: OneIG-Benchmark, ``scripts/text/text_score.py`` and ``text_utils.py``. Both sides go through ``official_text``;
then

* ED: characters of Levenshtein distance, mean over images;
* CR: share of images with distance 0;
* WAC: wanted words that are read (multiset intersection) / wanted words, both summed over images; characters in place
  of words where the wanted text has Chinese;
* score = 1 - min(M, ED) / M x (1 - CR) x (1 - WAC), with M = 100, and 50 for the Chinese set.

The product forgives much (ED 50, CR 0.2 and WAC 0.5 still give 0.8), so the three parts always stand beside it.

The official number is that of ``Qwen2.5-VL-7B-Instruct`` as reader, on JPEG copies of the images, with 128 new tokens,
or 256 where more than 60 words are wanted. A judge is used in just that way. OCR reads the images as they are.

A set in both languages has no official score. Each number of it is then the mean of its two languages' numbers,
weighted by their images; so a set in one language gets the official number, and words are never added to characters.

The official ground truth is the printed form of a list, in which an escaped newline loses its backslash and leaves a
stray "n" in five prompts. That happens here too when ``wanted_text`` holds the printed form, and not when it holds the
lines themselves.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from glance_bench.metrics.base import Column, Row, Total
from glance_bench.metrics.readers import JudgeReader, RapidOcrReader, Reader
from glance_bench.metrics.text_match import by_language, has_chinese, levenshtein, official_text
from glance_bench.metrics.text_rows import CHINESE, MATCHED, WANTED, TextRows, words_of

if TYPE_CHECKING:
    import pandas as pd

    from glance_bench.prompts import Prompt

__all__ = ["OneigText", "judged_oneig_text", "product_score", "rapidocr_oneig_text"]

MAX_EDITS, MAX_EDITS_CHINESE = 100, 50
MANY_WORDS = 60  # more of them are given 256 new tokens
NOT_TEXT = ("addCriterion", "No text recognized.")  # with the period; without it the words count as read
VERSION = 1


def product_score(edits: float, exact: float, accuracy: float, max_edits: float) -> float:
    """1 - min(M, ED) / M x (1 - CR) x (1 - WAC), in [0, 1]."""
    return 1 - min(max_edits, edits) / max_edits * (1 - exact) * (1 - accuracy)


class OneigText(TextRows):
    """``oneig_text[<reader>]`` and its parts, as totals.

    Rows, see ``TextRows``: ``edits`` (characters), ``exact`` (0 or 1), ``matched`` and ``wanted`` (words, or Chinese
    characters), ``chinese`` (0 or 1), ``unread``.
    """

    def __init__(self, reader: Reader) -> None:
        super().__init__(
            "oneig_text",
            reader,
            (
                ("edits", "edits", "lower", "edit distance of an image's text, in characters", 1),
                ("exact", "exact", "higher", "whether an image's text is just as wanted", 3),
                MATCHED,
                WANTED,
                CHINESE,
            ),
        )
        score = Column(self.name, "OneIG text", "higher", "1 - ED / M x (1 - CR) x (1 - WAC)")
        distance = Column(self._of("ed"), "ED", "lower", "mean edit distance, in characters", 1)
        exact = Column(self._of("cr"), "CR", "higher", "share of images with edit distance 0")
        accuracy = Column(self._of("wac"), "WAC", "higher", "wanted words that are read, pooled")
        self.totals = (
            Total(score, self._score),
            Total(distance, self._mean("edits"), (0.0, math.inf)),
            Total(exact, self._mean("exact")),
            Total(accuracy, self._pooled("wanted")),
        )

    @property
    def recipe(self) -> str:
        """Raises GlanceBenchError when the reader's package is not installed."""
        return (
            f"{self.name}: {self._reader.recipe}; OneIG-Benchmark text_score.py: letters of English, French and "
            f"Chinese, digits, case kept; M {MAX_EDITS}, {MAX_EDITS_CHINESE} for Chinese, languages weighted by "
            f"images; version {VERSION}"
        )

    def _tokens(self, text: str) -> int:
        return 256 if len(text.split()) > MANY_WORDS else 128

    def _compare(self, prompt: Prompt, text: str, read: str) -> Row:
        for phrase in NOT_TEXT:
            read = read.replace(phrase, "")
        wanted, found = official_text(text), official_text(read)
        chinese = has_chinese(wanted)
        edits = levenshtein(wanted, found)
        return {
            self._of("edits"): float(edits),
            self._of("exact"): float(edits == 0),
            **self._row(read, words_of(wanted, chinese), words_of(found, chinese), chinese),
        }

    def _score(self, rows: pd.DataFrame) -> float:
        def one(own: pd.DataFrame, chinese: bool) -> float:
            edits, exact = own[self._of("edits")].mean(), own[self._of("exact")].mean()
            accuracy = self._matched_of(own, "wanted")
            return product_score(edits, exact, accuracy, MAX_EDITS_CHINESE if chinese else MAX_EDITS)

        return by_language(rows, self._of("chinese"), one)


def rapidocr_oneig_text() -> OneigText:
    """``oneig_text[rapidocr]``: offline, and not comparable with published numbers."""
    return OneigText(RapidOcrReader())


def judged_oneig_text(judge_name: str) -> OneigText:
    """``oneig_text[<judge>]``; the official reader is the judge qwen2.5-vl-7b."""
    from glance_bench.judges.make import judge

    return OneigText(JudgeReader(judge(judge_name), jpeg=True))
