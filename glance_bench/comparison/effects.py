"""The difference of one column between two sides: a mean over prompts, a rate of failures, or a corpus statistic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import stats
from .pairing import Paired, Pairing
from .verdicts import FEWEST, LEVEL

__all__ = [
    "Effect",
    "Later",
    "Refused",
    "add_power",
    "corpus_effect",
    "effect_of",
    "failure_effect",
    "mean_effect",
    "newcombe",
    "p_value",
]

POWER = 0.8
TIE = 1e-12  # of two means of the same values in another order
ONE_PERCENT = 0.01


class Refused(Exception):
    """A column that cannot be compared between two sides; the message says why."""


@dataclass
class Effect:
    """B - A of one column, over all common prompts or over a slice of them.

    ``n`` is the number of prompts. ``p`` is None where every pair is the same or there are fewer than FEWEST. Wins are
    prompts at which B is better. ``sd`` is that of the differences by prompt, or what it would be for a mean with the
    same error. ``detectable`` is the difference that a test at this n finds with 80 % power, ``needed`` the prompts at
    which 1 % of A's value would be found. ``p_adjusted`` and ``verdict`` are filled in when it is known what is shown
    together.
    """

    column: Mapping[str, Any]
    a: float
    b: float
    low: float
    high: float
    n: int
    interval: str
    test: str
    p: float | None
    wins: int | None = None
    ties: int | None = None
    losses: int | None = None
    sd: float | None = None
    detectable: float | None = None
    needed: int | None = None
    lacking: int = 0
    notes: list[str] = field(default_factory=list)
    slicing: str | None = None
    slice: str | None = None
    p_adjusted: float | None = None
    verdict: str = ""

    @property
    def delta(self) -> float:
        return self.b - self.a

    @property
    def judged(self) -> bool:
        """False for a distance between sets of too few images: its interval is shown and not tested."""
        return self.test != "none"


class Later:
    """Intervals of means that wait for each other: what has the same number of prompts shares its resamples."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Effect, npt.NDArray[np.float64]]] = []

    def add(self, effect: Effect, delta: npt.NDArray[np.float64]) -> None:
        """An effect whose ends are not known yet, and its differences by prompt."""
        self._waiting.append((effect, delta))

    def settle(self) -> None:
        """Fill in the ends of everything that was added: the numbers of ``stats.paired_bootstrap``."""
        ends = stats.difference_intervals([delta for _, delta in self._waiting], level=LEVEL)
        for (effect, _), found in zip(self._waiting, ends, strict=True):
            effect.low, effect.high = found.low, found.high
        self._waiting.clear()


def effect_of(
    pairing: Pairing, column: str, among: frozenset[str] | None = None, later: Later | None = None
) -> Effect:
    """The effect on one column, tested as its kind asks for. Raises Refused where the sides cannot be compared.

    With ``later`` the ends of a mean's interval are not known before that is settled.
    """
    known = _comparable(pairing, column)
    if f"{column}_a" not in pairing.images or f"{column}_b" not in pairing.images:
        if among is not None:
            raise Refused("is made of all images at once and has no slices")
        return corpus_effect(pairing, known)
    paired = _values(pairing, column, among)
    return failure_effect(known, paired) if known["flag"] else mean_effect(known, paired, later)


def p_value(pairing: Pairing, column: str) -> float | None:
    """The p-value of ``effect_of`` over all common prompts, without its interval. Raises Refused as it does."""
    if f"{column}_a" not in pairing.images or f"{column}_b" not in pairing.images:
        effect = corpus_effect(pairing, _comparable(pairing, column))
        if not effect.judged:
            raise Refused(
                f"a distance between sets from fewer than {stats.FEWEST_IMAGES:,} images is not judged"
            )
        return effect.p
    known = _comparable(pairing, column)
    paired = _values(pairing, column)
    return failure_effect(known, paired).p if known["flag"] else _mean_p(paired)


def _values(pairing: Pairing, column: str, among: frozenset[str] | None = None) -> Paired:
    paired = pairing.values(column, among)
    if not paired.prompts:
        raise Refused("no common image has a value on both sides")
    return paired


def _comparable(pairing: Pairing, column: str) -> Mapping[str, Any]:
    """The column's entry in the results. Raises Refused where its numbers cannot be put beside each other."""
    a, b = pairing.a, pairing.b
    missing = [name for name, side in (("A", a), ("B", b)) if column not in side.cells]
    if missing:
        raise Refused(f"not measured for {' and '.join(missing)}")
    recipes = a.cells[column]["recipe"], b.cells[column]["recipe"]
    if recipes[0] != recipes[1]:
        texts = [side.evidence.results["recipes"][one] for side, one in zip((a, b), recipes, strict=True)]
        raise Refused(f"other recipes: A {texts[0]!r}, B {texts[1]!r}")
    return a.columns[column]


def mean_effect(column: Mapping[str, Any], paired: Paired, later: Later | None = None) -> Effect:
    """Paired bootstrap interval and sign-flip p-value of a mean over prompts (see ``stats``)."""
    delta, n = paired.delta, len(paired.prompts)
    p = _mean_p(paired)
    wins, ties, losses = stats.win_tie_loss(delta, better=column["better"], tie=TIE)
    a = float(paired.a.mean())
    found = Effect(
        column=column,
        a=a,
        b=a + float(delta.mean()),
        low=math.nan,
        high=math.nan,
        n=n,
        interval="bootstrap",
        test="sign-flip",
        p=p,
        wins=wins,
        ties=ties,
        losses=losses,
        lacking=paired.lacking,
    )
    if p is not None:
        add_power(found, float(delta.std(ddof=1)))
    own = later or Later()
    own.add(found, delta)
    if later is None:
        own.settle()
    return found


def _mean_p(paired: Paired) -> float | None:
    if len(paired.prompts) < FEWEST or bool((np.abs(paired.delta) <= TIE).all()):
        return None
    return stats.sign_flip(paired.delta)


def failure_effect(column: Mapping[str, Any], paired: Paired) -> Effect:
    """Exact McNemar test of a flag. A prompt counts as failed when any of its images is flagged.

    The interval is Newcombe's for paired proportions, from the Wilson intervals of both (1998, method 10): it keeps a
    width when nothing failed at all.
    """
    a, b = paired.a > 0, paired.b > 0
    n, only_a, only_b = len(a), int((a & ~b).sum()), int((b & ~a).sum())
    low, high = newcombe(int((a & b).sum()), only_a, only_b, int((~a & ~b).sum()))
    wins, losses = (only_a, only_b) if column["better"] == "lower" else (only_b, only_a)
    changed = b.astype(float) - a
    return Effect(
        column=column,
        a=float(a.mean()),
        b=float(b.mean()),
        low=low,
        high=high,
        n=n,
        interval="Newcombe",
        test="McNemar",
        p=stats.mcnemar(only_a, only_b) if only_a + only_b and n >= FEWEST else None,
        wins=wins,
        ties=n - only_a - only_b,
        losses=losses,
        sd=float(changed.std(ddof=1)) if n > 1 else None,
        lacking=paired.lacking,
    )


def corpus_effect(pairing: Pairing, column: Mapping[str, Any]) -> Effect:
    """A statistic of all images at once, by the difference of jackknife replicates that leave out the same prompts.

    Raises Refused where the two sides are not made of the same prompts, or where there are no replicates.
    """
    a, b = (side.cells[column["name"]] for side in (pairing.a, pairing.b))
    if not pairing.complete or a["prompts"] != b["prompts"] or a["n"] != b["n"]:
        raise Refused(f"is made of all images of a side ({a['n']} and {b['n']}), and those are not paired")
    if _prompts_of(pairing.a, column) != _prompts_of(pairing.b, column):
        raise Refused("is made of other prompts on each side")
    first, second = stats.Jackknife.of_cell(a), stats.Jackknife.of_cell(b)
    if a["value"] is None or b["value"] is None:
        raise Refused("has no finite value")
    if first is None or second is None or len(first.replicates) < 2 or not first.pairs_with(second):
        raise Refused("has no jackknife replicates that pair")
    apart = second - first
    ends = apart.interval(LEVEL)
    same = apart.value == 0 and bool((np.abs(apart.replicates) <= TIE).all())
    judged = column["kind"] != "corpus" or min(a["n"], b["n"]) >= stats.FEWEST_IMAGES
    tested = judged and not same and a["prompts"] >= FEWEST
    found = Effect(
        column=column,
        a=float(a["value"]),
        b=float(b["value"]),
        low=ends.low,
        high=ends.high,
        n=int(a["prompts"]),
        interval="jackknife",
        test="jackknife t" if judged else "none",
        p=apart.p() if tested else None,
        notes=list(dict.fromkeys(note for cell in (a, b) if (note := cell.get("note")))),
    )
    if found.p is not None:
        add_power(found, apart.error * math.sqrt(found.n))
    return found


def add_power(effect: Effect, sd: float) -> None:
    """Fill in ``sd`` and what follows from it."""
    effect.sd = sd
    effect.detectable = stats.minimum_detectable(sd, effect.n, power=POWER, level=LEVEL, sided=2)
    goal = ONE_PERCENT * abs(effect.a)
    if goal > 0:
        effect.needed = stats.needed_n(sd, goal, power=POWER, level=LEVEL, sided=2)


def _prompts_of(side: Any, column: Mapping[str, Any]) -> set[str]:
    """The prompts that a number of a whole set is made of: those with a value in any column of its metric."""
    images = side.images
    own = [c for c, known in side.columns.items() if known["metric"] == column["metric"] and c in images]
    return set(images["prompt_id"] if not own else images.loc[images[own].notna().any(axis=1), "prompt_id"])


def newcombe(both: int, only_a: int, only_b: int, neither: int) -> tuple[float, float]:
    """Interval of P(B fails) - P(A fails) from the four counts of pairs; NaN for fewer than two pairs."""
    n = both + only_a + only_b + neither
    if n < 2:
        return math.nan, math.nan
    p_a, p_b = (both + only_a) / n, (both + only_b) / n
    of_a, of_b = (stats.wilson(both + only, n, LEVEL) for only in (only_a, only_b))
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    phi = (both * neither - only_a * only_b) / math.sqrt(margins) if margins else 0.0
    below = (p_b - of_b.low, of_a.high - p_a)
    above = (of_b.high - p_b, p_a - of_a.low)

    def length(parts: tuple[float, float]) -> float:
        return math.sqrt(max(0.0, parts[0] ** 2 + parts[1] ** 2 - 2 * phi * parts[0] * parts[1]))

    return p_b - p_a - length(below), p_b - p_a + length(above)
