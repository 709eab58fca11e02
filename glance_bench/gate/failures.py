"""Whether more goes wrong: flagged images, prompts that dropped far, images that are not there, other steps.

A few catastrophes hide in a mean: at 2 % of them, an interval of the mean can still say "improved". So failures are
counted by prompt and compared by the exact test of McNemar, in which every prompt that failed on one side only
is a coin toss.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import stats
from .check import Check, Verdict
from .pairing import Pair
from .quality import FEW, moved_most, passed, with_interval
from .settings import margin_amount, margin_text

if TYPE_CHECKING:
    from .settings import GateSettings

__all__ = ["drop_checks", "flag_checks", "image_checks", "step_checks"]

NAMED = 5


def flag_checks(
    pairs: Sequence[Pair], columns: Mapping[str, Mapping[str, Any]], settings: GateSettings
) -> Iterator[Check]:
    """A check for every flag: the share of prompts with a flagged image.

    It passes when the interval of the rise lies below the margin, and fails when McNemar's test finds a rise that does
    not pass.
    """
    for pair in pairs:
        for name, column in columns.items():
            if not column["flag"] or not settings.gates(column) or name not in pair.run.columns:
                continue
            values = pair.by_prompt(name)
            check = Check(
                *(pair.model, pair.prompt_set, pair.sampler, "failures", name, column["title"]),
                metric=column["metric"],
                better="lower",
                n=len(values.ids),
            )
            if not values.ids or values.one_sided:
                missing = f"{len(values.one_sided)} without a value on one side only"
                yield replace(check, message=missing if values.one_sided else "no prompt has a value")
                continue
            theirs, mine = (values.baseline > 0).astype(float), (values.run > 0).astype(float)
            margin = settings.margin_of(column)
            (interval,) = stats.difference_intervals([mine - theirs], settings.level)
            check = replace(
                check,
                baseline=float(theirs.mean()),
                run=float(mine.mean()),
                difference=float((mine - theirs).mean()),
                margin=margin_amount(margin, float(theirs.mean())),
                margin_text=margin_text(margin),
                **_tested(int((mine > theirs).sum()), int((theirs > mine).sum()), settings),
                moved=moved_most(values.ids, theirs, mine, "lower", pair.texts),
            )
            check = with_interval(check, mine - theirs, interval, settings.level)
            if pair.same_images and (mine == theirs).all():
                yield replace(check, verdict="pass", message="the same images")
            elif len(mine) < FEW:
                yield replace(check, message=f"{len(mine)} prompts are too few to pass")
            else:
                yield replace(check, verdict=passed(interval, check))


def drop_checks(
    pairs: Sequence[Pair], columns: Mapping[str, Mapping[str, Any]], settings: GateSettings
) -> Iterator[Check]:
    """A check for every sampler: do more prompts drop far on some score than rise as far?

    Far is ``failures.drop`` times the baseline's mean. This check only ever finds failures: whether there is no loss is
    what the intervals of the means show.
    """
    gated = [c for c in columns.values() if c["better"] == "higher" and not c["flag"] and settings.gates(c)]
    for pair in pairs:
        fell: dict[str, float] = {}
        rose: set[str] = set()
        seen: set[str] = set()
        for column in gated:
            if column["name"] not in pair.run.columns or column["name"] not in pair.baseline.columns:
                continue
            values = pair.by_prompt(column["name"])
            if not values.ids or not values.baseline.mean() > 0:
                continue
            change = (values.run - values.baseline) / values.baseline.mean()
            seen |= set(values.ids)
            rose |= {values.ids[i] for i in np.flatnonzero(change >= settings.failures.drop)}
            for i in np.flatnonzero(change <= -settings.failures.drop):
                fell[values.ids[i]] = max(fell.get(values.ids[i], 0.0), -float(change[i]))
        if not seen:
            continue
        worse, better = set(fell) - rose, rose - set(fell)
        worst = sorted(worse, key=lambda prompt: (-fell[prompt], prompt))
        yield Check(
            *(pair.model, pair.prompt_set, pair.sampler, "drops", "drops", "Prompts that dropped"),
            better="lower",
            verdict="pass",
            baseline=len(better) / len(seen),
            run=len(worse) / len(seen),
            difference=(len(worse) - len(better)) / len(seen),
            n=len(seen),
            **_tested(len(worse), len(better), settings),
            message=f"{len(worse)} prompts lost {settings.failures.drop:.0%} of the mean or more on a score, "
            f"{len(better)} gained as much",
            moved=moved_most(
                worst, np.zeros(len(worst)), np.array([fell[p] for p in worst]), "lower", pair.texts
            ),
        )


def _tested(worse: int, better: int, settings: GateSettings) -> dict[str, Any]:
    """McNemar's p-values; none where so few prompts changed that no outcome would be significant (Tarone 1990)."""
    if 0.5 ** (worse + better) > 1 - settings.level:
        return {}
    return {"p": stats.mcnemar(worse, better, "greater"), "gain": stats.mcnemar(worse, better, "less")}


def image_checks(pairs: Sequence[Pair]) -> Iterator[Check]:
    """A check for every sampler: are the same images there on both sides?"""
    for pair in pairs:
        missing = len(pair.gone) + len(pair.new)
        told = []
        for names, side in ((pair.gone, "run"), (pair.new, "baseline")):
            if names:
                more = ", ..." if len(names) > NAMED else ""
                told.append(f"{len(names)} not in the {side}: {', '.join(names[:NAMED])}{more}")
        yield Check(
            *(pair.model, pair.prompt_set, pair.sampler, "images", "images", "Images on both sides"),
            verdict="inconclusive" if missing else "pass",
            n=len(pair.run),
            message="; ".join(told),
        )


def step_checks(pairs: Sequence[Pair], settings: GateSettings) -> Iterator[Check]:
    """A check for every sampler whose steps are known: does it play the baseline's? ``steps: same`` makes it gate."""
    seen = set()
    for pair in pairs:
        theirs, mine = (
            (row.get("made_of") or {}).get("trajectory") for row in (pair.baseline_row, pair.run_row)
        )
        if theirs is None or mine is None or (pair.model, pair.sampler) in seen:
            continue
        seen.add((pair.model, pair.sampler))
        other: Verdict = "fail" if settings.steps == "same" else "informational"
        before, after = (row["nfe"]["nominal"] for row in (pair.baseline_row, pair.run_row))
        yield Check(
            *(pair.model, "", pair.sampler, "steps", "steps", "Steps"),
            verdict="pass" if theirs == mine else other,
            baseline=before,
            run=after,
            message=""
            if theirs == mine
            else f"NFE {before:g}, now {after:g}: other steps than the baseline's",
        )
