"""Numbers and untrusted text as a reader sees them, the same in the terminal and on the page."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

__all__ = ["evaluations", "interval", "latencies", "markdown_table", "number", "times", "visible"]

NONE = "\u2013"
_BIDI = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def number(value: float | None, decimals: int = 3) -> str:
    """A value with fixed decimals; a dash for none. Large values lose the decimals that no eye needs."""
    if value is None:
        return NONE
    if abs(value) >= 100:
        decimals = min(decimals, 1)
    return f"{value:.{decimals}f}"


def interval(cell: Mapping[str, Any], decimals: int = 3) -> str:
    """``low-high`` of a cell, "" when it has none. One decimal less than the value where that is enough."""
    if cell["low"] is None or cell["high"] is None:
        return ""
    largest = max(abs(cell["low"]), abs(cell["high"]))
    if decimals > 2 and (largest >= 0.1 or largest == 0):
        decimals -= 1
    return f"{number(cell['low'], decimals)}{NONE}{number(cell['high'], decimals)}"


def evaluations(row: Mapping[str, Any]) -> str:
    """A sampler's evaluations an image: counted, or stated for imported images; a dash for neither."""
    counted = row["nfe"]["counted"]
    if counted is None:
        return NONE
    return f"{counted:g}" + (" stated" if "nfe" in row.get("stated", {}) else "")


def times(value: float | None) -> str:
    """A speed-up: ``5.0x`` with the multiplication sign."""
    if value is None:
        return NONE
    return f"{value:.{1 if value < 9.95 else 0}f}\u00d7"


def visible(text: str) -> str:
    """``text`` with control characters, direction marks, line separators and lone surrogates spelt out.

    New lines and tabs become spaces. Everything else stays, whatever the script.
    """
    return "".join(
        " "
        if c in "\n\r\t"
        else c.encode("unicode_escape").decode()
        if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in _BIDI
        else c
        for c in text
    )


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table. Cells are text of ours: nothing in them is escaped."""
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    yield from ("| " + " | ".join(row) + " |" for row in rows)


def latencies(results: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Timing rows by (model, sampler), of the hardware on which most samplers were timed."""
    rows = results["timing"]
    count: dict[str, int] = {}
    for row in rows:
        count[row["hardware"]] = count.get(row["hardware"], 0) + 1
    best = max(sorted(count), key=lambda hardware: count[hardware], default="")
    return {(row["model"], row["sampler"]): row for row in rows if row["hardware"] == best}
