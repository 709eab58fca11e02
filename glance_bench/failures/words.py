"""What became of a wanted text: which of its words and characters were not read, and what was read instead."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Hashable, Iterable, Sequence
from itertools import product
from typing import Literal

from rapidfuzz.distance import Indel

__all__ = ["Op", "Piece", "diff", "marked"]

Op = Literal["=", "-", "+"]
Piece = tuple[Op, str]

ALIKE = 0.5  # words less similar than that are replaced whole: letters that they share by chance would not be read
LETTERS = 4000  # a word longer than that is compared no further
CELLS = 2500  # pairs of words that are compared in one stretch where nothing agrees


def diff(wanted: str, read: str) -> list[Piece]:
    """How ``wanted`` becomes ``read``, as pieces that are in both ("="), in ``wanted`` ("-") or in ``read`` ("+") only.

    Words first, then the characters of words that are alike. Case, punctuation and the amount of white space are no
    differences, as in the metrics of text; "=" has the spelling that was wanted. So the pieces without "+" give
    ``wanted``, and those without "-" give ``read`` but for those, words parted by single spaces.
    """
    ours, theirs = wanted.split(), read.split()
    words: list[list[Piece]] = []
    gone: list[str] = []
    new: list[str] = []
    for step in Indel.opcodes(_keys(ours), _keys(theirs)):
        before, after = ours[step.src_start : step.src_end], theirs[step.dest_start : step.dest_end]
        if step.tag == "equal":
            words += _aligned(gone, new)
            words += [[("=", word)] for word in before]
            gone, new = [], []
        else:
            gone, new = gone + before, new + after
    return _joined(words + _aligned(gone, new))


def marked(pieces: Iterable[Piece]) -> str:
    """The pieces on one line of text, as ``OP[-E-]{+F+}N``."""
    return "".join(
        text if op == "=" else f"[-{text}-]" if op == "-" else f"{{+{text}+}}" for op, text in pieces
    )


def _keys(words: Sequence[str]) -> list[Hashable]:
    """What words are compared by: letters, marks and digits in one case; a word without any is itself."""
    folded = (unicodedata.normalize("NFKC", word).casefold() for word in words)
    kept = ("".join(c for c in word if unicodedata.category(c)[0] in "LMN") for word in folded)
    return [key or word for key, word in zip(kept, words, strict=True)]


def _aligned(gone: Sequence[str], new: Sequence[str]) -> list[list[Piece]]:
    """Words that became others: the pairs that are alike and most alike together, letter by letter, the rest whole.

    Leaving out a word or putting one in costs 1, making one of another up to 1, by how little they are alike.
    """
    if not gone or not new or len(gone) * len(new) > CELLS:
        whole: list[list[Piece]] = [[("-", word)] for word in gone]
        return whole + [[("+", word)] for word in new]
    alike = [[_alike(a, b) for b in new] for a in gone]
    cost = [[float(i + j) for j in range(len(new) + 1)] for i in range(len(gone) + 1)]
    for i, j in product(range(len(gone)), range(len(new))):
        pair = cost[i][j] + 2 * (1 - alike[i][j]) if alike[i][j] >= ALIKE else math.inf
        cost[i + 1][j + 1] = min(pair, cost[i][j + 1] + 1, cost[i + 1][j] + 1)
    words: list[list[Piece]] = []
    i, j = len(gone), len(new)
    while i or j:
        if j and cost[i][j] == cost[i][j - 1] + 1:
            j -= 1
            words.append([("+", new[j])])
        elif i and cost[i][j] == cost[i - 1][j] + 1:
            i -= 1
            words.append([("-", gone[i])])
        else:
            i, j = i - 1, j - 1
            words.append(_letters(gone[i], new[j]))
    return words[::-1]


def _alike(gone: str, new: str) -> float:
    """How alike two words are, 0 to 1, whatever their case."""
    if max(len(gone), len(new)) > LETTERS:
        return 0.0
    return float(Indel.normalized_similarity(_folded(gone), _folded(new)))


def _folded(word: str) -> list[str]:
    return [c.casefold() for c in word]


def _letters(gone: str, new: str) -> list[Piece]:
    pieces: list[Piece] = []
    for step in Indel.opcodes(_folded(gone), _folded(new)):
        before, after = gone[step.src_start : step.src_end], new[step.dest_start : step.dest_end]
        if step.tag == "equal":
            pieces.append(("=", before))
        else:
            pieces += [("-", before)] if before else []
            pieces += [("+", after)] if after else []
    return pieces


def _joined(words: Sequence[Sequence[Piece]]) -> list[Piece]:
    """The pieces of all words with the spaces between them; in each stretch that differs, what is gone comes first.

    A space belongs to the sides that have had a word before it and have one after it.
    """
    made: list[Piece] = []
    held: dict[Op, str] = {"-": "", "+": ""}  # of the stretch that differs
    agreed = ""
    begun: set[str] = set()

    def close() -> None:
        nonlocal agreed
        made.extend([("=", agreed)] if agreed else [])
        made.extend((op, text) for op, text in held.items() if text)
        agreed, held["-"], held["+"] = "", "", ""

    for word in words:
        sides = {side for side in "-+" if any(op in ("=", side) for op, _ in word)}
        parted = sides & begun
        begun |= sides
        space: list[Piece] = (
            [("=" if len(parted) == 2 else "-" if "-" in parted else "+", " ")] if parted else []
        )
        for op, text in [*space, *word]:
            if op != "=":
                held[op] += text
                continue
            if held["-"] or held["+"]:
                close()
            agreed += text
    close()
    return made
