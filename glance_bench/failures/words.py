"""What became of a wanted text: which of its words and characters were not read, and what was read instead."""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable, Iterable, Sequence
from typing import Literal

from rapidfuzz.distance import Indel, Levenshtein

__all__ = ["Op", "Piece", "diff", "marked"]

Op = Literal["=", "-", "+"]
Piece = tuple[Op, str]

ALIKE = 0.5  # words less similar than that are replaced whole: letters that they share by chance would not be read
LETTERS = 4000  # a word longer than that is compared no further


def diff(wanted: str, read: str) -> list[Piece]:
    """How ``wanted`` becomes ``read``, as pieces that are in both ("="), in ``wanted`` ("-") or in ``read`` ("+") only.

    Words first, then the characters of words that are alike. Case, punctuation and the amount of white space are no
    differences, as in the metrics of text; "=" has the spelling that was wanted. So the pieces without "+" give
    ``wanted``, and those without "-" give ``read`` but for those, words parted by single spaces.
    """
    ours, theirs = wanted.split(), read.split()
    words: list[list[Piece]] = []
    for tag, i, i_end, j, j_end in Levenshtein.opcodes(_keys(ours), _keys(theirs)):
        gone, new = ours[i:i_end], theirs[j:j_end]
        if tag == "equal":
            words += [[("=", word)] for word in gone]
        elif tag == "replace":
            words += [_letters(*pair) for pair in zip(gone, new, strict=True)]
        else:
            words += [[("-", word)] for word in gone] + [[("+", word)] for word in new]
    return _joined(words)


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


def _letters(gone: str, new: str) -> list[Piece]:
    ours, theirs = [c.casefold() for c in gone], [c.casefold() for c in new]
    if max(len(gone), len(new)) > LETTERS or Indel.normalized_similarity(ours, theirs) < ALIKE:
        return [("-", gone), ("+", new)]
    pieces: list[Piece] = []
    for tag, i, i_end, j, j_end in Indel.opcodes(ours, theirs):
        if tag == "equal":
            pieces.append(("=", gone[i:i_end]))
        else:
            pieces += [("-", gone[i:i_end])] if i < i_end else []
            pieces += [("+", new[j:j_end])] if j < j_end else []
    return pieces


def _joined(words: Sequence[Sequence[Piece]]) -> list[Piece]:
    """The pieces of all words with the spaces between them, neighbours of one kind made one.

    A space belongs to both sides where both have had a word before it and have one after it; else to the side of the
    word that comes.
    """
    made: list[list[str]] = []
    begun = {"-": False, "+": False}
    for word in words:
        sides = {side for side in "-+" if any(op in ("=", side) for op, _ in word)}
        parted = {side for side in sides if begun[side]}
        for side in sides:
            begun[side] = True
        spaces: list[Piece] = []
        if parted == {"-", "+"}:
            spaces = [("=", " ")]
        elif parted:
            spaces = [("-" if "-" in parted else "+", " ")]
        for op, text in [*spaces, *word]:
            if made and made[-1][0] == op:
                made[-1][1] += text
            else:
                made.append([op, text])
    return [("=" if op == "=" else "-" if op == "-" else "+", text) for op, text in made]
