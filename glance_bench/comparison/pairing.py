"""Pairing by prompt and image: which images of two sides answer each other, and their values side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .sides import KEYS, Side

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Paired", "Pairing", "pair"]

Floats = npt.NDArray[np.float64]
FACETS = ["category", "prompt_words", "wanted_words", "objects"]


@dataclass(frozen=True)
class Paired:
    """One column at the prompts where both sides have a value, images averaged by prompt.

    ``prompts`` are the P ids in order, ``a`` and ``b`` float64[P]. ``lacking`` counts paired images with a finite
    value on one side only: they are left out on both.
    """

    prompts: tuple[str, ...]
    a: Floats
    b: Floats
    lacking: int

    @property
    def delta(self) -> Floats:
        """b - a, float64[P]."""
        return self.b - self.a


@dataclass(frozen=True)
class Pairing:
    """Images of two sides with the same prompt id, text and index.

    ``images`` has a row a pair: prompt_id, index, the prompt's facets, and each other column of samples twice, as
    NAME_a and NAME_b. ``only_a`` and ``only_b`` count prompts of one side that the other has not (or has under
    another text: those are ``other_text``); ``same_noise`` counts pairs from equal seeds;
    images made elsewhere have none.
    """

    a: Side
    b: Side
    images: pd.DataFrame
    only_a: int
    only_b: int
    other_text: int
    same_noise: int

    @property
    def prompts(self) -> list[str]:
        """The ids of the common prompts in the order of side A."""
        return list(self._by_prompt[1])

    @property
    def noise(self) -> str:
        """Whether pairs start from the same noise: "same", "other" or "partly the same"."""
        if self.same_noise == len(self.images):
            return "same"
        return "partly the same" if self.same_noise else "other"

    @property
    def complete(self) -> bool:
        """Whether each image of either side has its counterpart."""
        return len(self.a.images) == len(self.b.images) == len(self.images)

    def turned(self) -> Pairing:
        """The same pairs with the sides exchanged."""
        other = {"a": "b", "b": "a"}
        names = {c: f"{c[:-1]}{other[c[-1]]}" for c in self.images.columns if c.endswith(("_a", "_b"))}
        return replace(
            self,
            a=self.b,
            b=self.a,
            images=self.images.rename(columns=names),
            only_a=self.only_b,
            only_b=self.only_a,
        )

    def values(self, column: str, among: frozenset[str] | None = None) -> Paired:
        """A column of samples, at all common prompts or at those ``among`` them."""
        place, prompts = self._by_prompt
        a, b = (self.images[f"{column}_{side}"].to_numpy(float) for side in "ab")
        if among is not None:
            chosen = np.array([prompt in among for prompt in prompts], dtype=bool)[place]
            place, a, b = place[chosen], a[chosen], b[chosen]
        there = np.isfinite(a), np.isfinite(b)
        both = there[0] & there[1]
        count = np.bincount(place[both], minlength=len(prompts))
        held = count > 0
        means = [np.bincount(place[both], own[both], len(prompts))[held] / count[held] for own in (a, b)]
        lacking = int((there[0] ^ there[1]).sum())
        return Paired(tuple(map(str, prompts[held])), means[0], means[1], lacking)

    @cached_property
    def _by_prompt(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.object_]]:
        """For each row of ``images`` the place of its prompt, and the prompts in the order of side A."""
        import pandas as pd

        place, prompts = pd.factorize(self.images["prompt_id"])
        return place.astype(np.int64), np.asarray(prompts, dtype=object)


def pair(a: Side, b: Side) -> Pairing:
    """The pairs of two sides; there may be none. Raises GlanceBenchError for damaged samples (see ``Side.images``)."""
    keys = [*KEYS, "text_sha256"]
    shared = [*keys, *FACETS]
    constant = ["model", "prompt_set", "sampler"]
    ours, theirs = a.images.drop(columns=constant), b.images.drop(columns=[*constant, *FACETS])
    names = {name: f"{name}_a" for name in ours.columns if name not in shared}
    others = {name: f"{name}_b" for name in theirs.columns if name not in keys}
    images = ours.rename(columns=names).merge(theirs.rename(columns=others), on=keys, validate="1:1")
    common = set(images["prompt_id"].unique())
    held = set(a.images["prompt_id"].unique()), set(b.images["prompt_id"].unique())
    return Pairing(
        a,
        b,
        images,
        only_a=len(held[0] - common),
        only_b=len(held[1] - common),
        other_text=len((held[0] & held[1]) - common),
        same_noise=int(((images["seed_a"] == images["seed_b"]) & (images["seed_a"] >= 0)).sum()),
    )
