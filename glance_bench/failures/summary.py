"""Sentences about where samplers lose against the reference, chosen only from contrasts that stand after Holm.

One family a board: every sampler but the reference, every column of ``ranked``, and

* all prompts: a sign-flip test of the paired differences, images of a prompt averaged first. Below what its random
  flips can reach, its closed bound takes the place of p (see ``stats.sign_flip_bound``);
* every slice of the prompts by category, text length and number of objects, and every part that a category and a
  text length have in common, against the other prompts: ``stats.permutation``, whose p has no least value.

Holm's adjusted p-value is below 5 % for all that is told: the chance of any false sentence on a board is at most that.
Which of the significant contrasts are told, the strongest and each once, needs no further correction. Intervals are
each sentence's own, at 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .. import stats
from ..comparison.slices import Slice, slices
from ..comparison.verdicts import FEWEST, LEVEL
from ..report.text import number
from .drops import FAILED, Column, ranked
from .grid import Floats, Grid

__all__ = ["Sentence", "sentences"]

MOST = 8  # sentences a board
FEWEST_COMMON = 20  # prompts that a category and a text length must have in common
FLIPS = 10_000
SAME = 0.5  # of the prompts of the smaller of two slices; above it they are mostly the same
SURE = 1.96  # standard errors from zero

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Sentence:
    """What a sampler loses or gains in a column, over all prompts (``slice`` None) or a slice of them.

    ``facets`` are the names of the slice by slicing, as ``comparison.slices`` has them; empty for all prompts.
    ``difference`` is sampler minus reference, in the column's unit, with its bootstrap interval at 95 % over ``n``
    prompts; ``elsewhere`` is the same over the other prompts, None for all prompts. ``p_adjusted`` is after Holm.
    """

    text: str
    sampler: str
    column: str
    slice: str | None
    facets: Mapping[str, str]
    difference: float
    low: float
    high: float
    n: int
    elsewhere: float | None
    p_adjusted: float


@dataclass(frozen=True)
class _Part:
    """Some of the prompts, bool[P], as facets and as words of a sentence."""

    facets: Mapping[str, str]
    words: str
    inside: Mask


@dataclass(frozen=True)
class _Contrast:
    """A test: ``loss`` (float64[N], worse is positive) of a sampler at the N prompts that have a value."""

    sampler: int
    column: Column
    part: _Part | None
    loss: Floats
    inside: Mask
    where: Mask  # bool[P]
    p: float
    scale: float

    @property
    def own(self) -> Floats:
        return self.loss[self.inside]

    @property
    def effect(self) -> float:
        """The mean loss inside, in standard deviations of the column's losses over the board."""
        return float(self.own.mean()) / self.scale

    @property
    def strength(self) -> float:
        """How far what was tested lies from zero, in its standard deviations when nothing is to be found."""
        n, k = len(self.loss), len(self.own)
        if self.part is None:
            return float(abs(self.loss.sum()) / np.sqrt((self.loss**2).sum()))
        apart = abs(self.own.mean() - self.loss[~self.inside].mean())
        return float(apart / self.loss.std() * np.sqrt(k * (n - k) / n))

    @property
    def tellable(self) -> bool:
        """Whether it is a loss or a gain for sure, and in a slice a larger one than elsewhere."""
        if not _surely(self.own):
            return False
        inside, outside = self.own.mean(), self.loss[~self.inside].mean() if self.part else 0.0
        return bool(inside > max(outside, 0) or inside < min(outside, 0))


def sentences(
    grid: Grid, columns: Sequence[Column], sampler: str | None = None
) -> tuple[list[Sentence], int]:
    """The sentences of a board, the largest effects first, and how many contrasts were tested.

    Each sampler's largest come before any sampler's second, up to MOST; with ``sampler`` only its own, of the tests of
    the whole board all the same. Left out: an overall loss that one slice accounts for, and a contrast of mostly the
    same prompts, sampler and metric as one with stronger evidence. (By the size of the effect, a part of a slice that
    was unlucky would go before the slice.) Deterministic.
    """
    made = list(_contrasts(grid, columns))
    adjusted = stats.holm({i: one.p for i, one in enumerate(made)})
    found = [i for i, p in adjusted.items() if p < 1 - LEVEL and made[i].tellable]
    found = [i for i in found if sampler in (None, grid.samplers[made[i].sampler])]
    found.sort(key=lambda i: -made[i].strength)
    kept: list[int] = []
    for i in found:
        if not any(_repeats(made[i], made[j]) for j in kept):
            kept.append(i)
    kept = [i for i in kept if not any(_accounts(made[j], made[i]) for j in kept)]
    kept.sort(key=lambda i: -abs(made[i].effect))
    turn = {i: sum(made[j].sampler == made[i].sampler for j in kept[:place]) for place, i in enumerate(kept)}
    chosen = sorted(kept, key=lambda i: turn[i])[:MOST]
    return [_told(grid, made[i], adjusted[i]) for i in kept if i in chosen], len(made)


def _contrasts(grid: Grid, columns: Sequence[Column]) -> Iterator[_Contrast]:
    parts = list(_parts(grid))
    for column in ranked(grid, columns):
        values = grid.values(column["name"])
        sign = 1.0 if column["better"] == "higher" else -1.0
        losses = grid.by_prompt(sign * (values[grid.reference] - values))
        losses[np.abs(losses) < 1e-12] = 0
        others = np.delete(losses, grid.reference, axis=0)
        scale = float(np.nanstd(others)) or 1.0
        for s in range(len(losses)):
            there = np.isfinite(losses[s])
            if s == grid.reference or there.sum() < FEWEST:
                continue
            loss, every = losses[s, there], np.ones(int(there.sum()), dtype=bool)
            yield _Contrast(s, column, None, loss, every, there, _sign_flip(loss), scale)
            seen = {every.tobytes()}
            for part in parts:
                inside = part.inside[there]
                fewest = min(inside.sum(), (~inside).sum())
                if fewest >= FEWEST and inside.tobytes() not in seen:
                    seen.add(inside.tobytes())
                    p = stats.permutation(loss, inside)
                    yield _Contrast(s, column, part, loss, inside, there & part.inside, p, scale)


def _sign_flip(loss: Floats) -> float:
    bound = stats.sign_flip_bound(loss)
    return bound if bound <= 1 / (1 + FLIPS) else stats.sign_flip(loss, flips=FLIPS)


def _parts(grid: Grid) -> Iterator[_Part]:
    asked = grid.facets()
    drawn = bool((asked["wanted_words"] > 0).any())
    place = {prompt: number for number, prompt in enumerate(grid.prompts)}

    def mask(one: Slice) -> Mask:
        inside = np.zeros(len(place), dtype=bool)
        inside[[place[prompt] for prompt in one.prompts]] = True
        return inside

    cut = [(one, mask(one)) for one in slices(asked)]
    for one, inside in cut:
        yield _Part({one.slicing: one.name}, f"prompts {_words(one, drawn)}", inside)
    for one, first in cut:
        for other, second in cut:
            both = first & second
            if (one.slicing, other.slicing) == ("category", "text length") and both.sum() >= FEWEST_COMMON:
                facets = {one.slicing: one.name, other.slicing: other.name}
                yield _Part(facets, f"prompts {_words(one, drawn)} {_words(other, drawn)}", both)


def _words(one: Slice, drawn: bool) -> str:
    """ "of category 'sign'", "that ask for 2-3 words of text", "of 11-20 words", "with 2 objects"."""
    if one.slicing == "category":
        return one.name if one.name == "without a category" else f"of category {one.name!r}"
    if one.slicing == "text length":
        length = one.name if one.name == "no text" else f"{one.name} of text"
        return f"that ask for {length}" if drawn else f"of {one.name.removeprefix('prompt of ')}"
    return {"none": "with no object", "4 or more": "with 4 or more objects"}.get(one.name, f"with {one.name}")


def _surely(losses: Floats) -> bool:
    """Whether the mean is further from zero than 1.96 standard errors. For losses that are all the same, not zero."""
    error = float(losses.std()) / np.sqrt(max(1, len(losses) - 1))
    return bool(abs(losses.mean()) > max(SURE * error, 1e-12))


def _repeats(one: _Contrast, stronger: _Contrast) -> bool:
    if one.sampler != stronger.sampler or one.column["metric"] != stronger.column["metric"]:
        return False
    if (one.part is None) != (stronger.part is None):
        return False
    return bool((one.where & stronger.where).sum() > SAME * min(one.where.sum(), stronger.where.sum()))


def _accounts(part: _Contrast, whole: _Contrast) -> bool:
    """Whether there is no overall loss (or gain) without the prompts of a slice that is told."""
    same = part.sampler == whole.sampler and part.column["metric"] == whole.column["metric"]
    if not same or whole.part is not None or part.part is None:
        return False
    rest = whole.loss[~part.where[whole.where]]
    return not _surely(rest) or (rest.mean() > 0) != (whole.own.mean() > 0)


def _told(grid: Grid, one: _Contrast, p_adjusted: float) -> Sentence:
    column, mean, n = one.column, float(one.own.mean()), len(one.own)
    facets = dict(one.part.facets) if one.part else {}
    ends = stats.difference_interval(one.own, level=LEVEL)
    sign = -1.0 if column["better"] == "higher" else 1.0
    elsewhere = None if one.part is None else float(one.loss[~one.inside].mean())
    decimals = _decimals(column, mean)
    bounds = (ends.low, ends.high) if mean > 0 else (-ends.high, -ends.low)  # of the size that is told
    low, high = (number(bound, decimals) for bound in bounds)
    beside = [f"95 % interval {low} to {high}", f"{n:,} prompts"]
    if elsewhere is not None:
        beside.append(f"elsewhere it {_change(column, elsewhere, decimals)}")
    where = one.part.words if one.part else "all prompts" if one.where.all() else "all prompts it applies to"
    return Sentence(
        text=f"{grid.samplers[one.sampler]} {_verb(column, mean, decimals)} on {where} ({', '.join(beside)})",
        sampler=grid.samplers[one.sampler],
        column=str(column["name"]),
        slice="; ".join(f"{slicing}: {name}" for slicing, name in facets.items()) or None,
        facets=facets,
        difference=sign * mean,
        low=min(sign * ends.low, sign * ends.high),
        high=max(sign * ends.low, sign * ends.high),
        n=n,
        elsewhere=None if elsewhere is None else sign * elsewhere,
        p_adjusted=p_adjusted,
    )


def _decimals(column: Column, mean: float) -> int:
    """Those of the column, or as many as a small difference needs not to be shown as zero."""
    return max(int(column["decimals"]), math.ceil(-math.log10(abs(mean))))


def _verb(column: Column, loss: float, decimals: int) -> str:
    change = _change(column, loss, decimals)
    return change if column["name"] == FAILED else f"{change} in {column['title']}"


def _change(column: Column, loss: float, decimals: int) -> str:
    if column["name"] == FAILED:
        return f"makes {100 * abs(loss):.1f} % {'more' if loss > 0 else 'fewer'} images that are black or non-finite"
    size = number(abs(loss), decimals)
    if column["better"] == "higher":
        return f"{'loses' if loss > 0 else 'gains'} {size}"
    return f"is {size} {'worse' if loss > 0 else 'better'}"
