"""Comparing the text that was read with the text that was wanted: the operations that several metrics share.

``official_text`` and ``matched`` are those of OneIG-Benchmark, ``scripts/text/text_utils.py``; LongText-Bench (X-Omni,
``textbench/``) uses them too. Both accept any string: control characters, unpaired surrogates, 10,000 characters.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from rapidfuzz.distance import Levenshtein

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "by_language",
    "has_chinese",
    "levenshtein",
    "matched",
    "ned_similarity",
    "official_text",
    "storable",
]

_ACCENTED = "àâäéèêëîïôöùûüç"
_CHINESE = re.compile("[\u4e00-\u9fa5]")
_DROPPED = re.compile(rf"[^\u4e00-\u9fa5a-zA-Z0-9\s{_ACCENTED}{_ACCENTED.upper()}]")


def official_text(text: str, chinese: bool | None = None) -> str:
    """``text`` without all but U+4E00-9FA5, a-z, A-Z, 0-9, the accented letters of French, and white space.

    White space is deleted in Chinese text and collapsed to single spaces elsewhere; None: text is Chinese where a
    Chinese character is in it, as OneIG-Bench has it. Case is kept. Punctuation is deleted, not replaced: "24/7"
    becomes "247". Other accented letters go as well, on both sides: "señor" becomes "seor".
    """
    kept = _DROPPED.sub("", text)
    return ("" if (has_chinese(kept) if chinese is None else chinese) else " ").join(kept.split())


def storable(text: str) -> str:
    """``text`` with question marks for unpaired surrogates, which an answer in JSON can hold and a table cannot."""
    return text.encode(errors="replace").decode()


def has_chinese(text: str) -> bool:
    """Whether a character of U+4E00-9FA5 is in ``text``."""
    return _CHINESE.search(text) is not None


def matched(wanted: Iterable[str], read: Iterable[str]) -> int:
    """How many items (words, or characters of a string) both have: the size of the multiset intersection."""
    return (Counter(wanted) & Counter(read)).total()


def levenshtein(a: str, b: str) -> int:
    """The least number of insertions, deletions and substitutions of characters that turn ``a`` into ``b``."""
    return Levenshtein.distance(a, b)


def ned_similarity(a: str, b: str) -> float:
    """1 - Levenshtein(a, b) / the longer length, in [0, 1]; 1 when both are empty.

    "NED" names a distance in some papers; this is the similarity.
    """
    longest = max(len(a), len(b))
    return 1 - levenshtein(a, b) / longest if longest else 1.0


def by_language(rows: pd.DataFrame, chinese: str, of: Callable[[pd.DataFrame, bool], float]) -> float:
    """The mean of ``of(rows of one language, whether it is Chinese)``, weighted by rows; NaN where there are none.

    ``chinese`` is the column that says it: 1 or 0, NaN for rows that do not count. A language whose value is NaN is
    left out.
    """
    parts = [(of(own, flag == 1), len(own)) for flag, own in rows.groupby(chinese)]
    parts = [(value, n) for value, n in parts if not math.isnan(value)]
    whole = sum(n for _, n in parts)
    return float(sum(value * n for value, n in parts) / whole) if whole else math.nan
