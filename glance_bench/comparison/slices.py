"""Slices of the prompts by what they ask for: category, how much text, how many objects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Slice", "slices"]

Bins = Sequence[tuple[float, str]]  # the largest value that belongs to each, and what it is called

WANTED_WORDS: Bins = (
    (0, "no text"),
    (1, "1 word"),
    (3, "2-3 words"),
    (9, "4-9 words"),
    (math.inf, "10 words or more"),
)
PROMPT_WORDS: Bins = (
    (10, "prompt of 1-10 words"),
    (20, "11-20 words"),
    (40, "21-40 words"),
    (80, "41-80 words"),
    (math.inf, "81 words or more"),
)
OBJECTS: Bins = ((0, "none"), (1, "1 object"), (2, "2 objects"), (3, "3 objects"), (math.inf, "4 or more"))


@dataclass(frozen=True)
class Slice:
    """A named part of the prompts. ``slicing`` is "category", "text length" or "object count"."""

    slicing: str
    name: str
    prompts: frozenset[str]


def slices(images: pd.DataFrame) -> list[Slice]:
    """The slices of the prompts that ``images`` show; a slicing that would give one part only is left out.

    ``images`` has prompt_id and the facets that ``samples`` has. Text length is the words to be drawn where any prompt
    asks for text, else the length of the prompt in words. Prompts whose number of objects is not known are in no slice
    of it.
    """
    facets = images.drop_duplicates("prompt_id").set_index("prompt_id")
    drawn = bool((facets["wanted_words"] > 0).any())
    length, bins = ("wanted_words", WANTED_WORDS) if drawn else ("prompt_words", PROMPT_WORDS)
    category = facets["category"].fillna("").astype(str)
    by_category = {name: category == name for name in sorted(category.unique())}
    slicings = {
        "category": by_category,
        "text length": _binned(facets[length], bins),
        "object count": _binned(facets["objects"], OBJECTS),
    }
    made = []
    for slicing, parts in slicings.items():
        filled = {name: inside for name, inside in parts.items() if inside.any()}
        if len(filled) > 1:
            made += [
                Slice(slicing, name or "without a category", frozenset(map(str, facets.index[inside])))
                for name, inside in filled.items()
            ]
    return made


def _binned(values: pd.Series, bins: Bins) -> dict[str, pd.Series]:
    """For each bin, which prompts lie in it (bool, indexed like ``values``). NaN lies in none."""
    made, below = {}, -math.inf
    for largest, name in bins:
        made[name] = (values > below) & (values <= largest)
        below = largest
    return made
