"""Whether a sampler's scores fell: each column of each sampler against the baseline's.

For values of images and prompts, with d_i = run - baseline of prompt i and higher better: the percentile bootstrap
interval of mean d lies above -margin, then it passes; the sign-flip test rejects mean d >= -margin, then it fails.
Numbers of whole sets (Frechet distances, totals) are compared by their jackknife replicates, which left out the same
prompts on both sides. Lower-is-better columns are mirrored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import stats
from .check import Check, Kind, Moved, Verdict
from .pairing import Pair
from .settings import margin_amount, margin_text

if TYPE_CHECKING:
    from .settings import GateSettings

__all__ = [
    "FEW",
    "metric_checks",
    "moved_most",
    "passed",
    "powers",
    "set_checks",
    "with_interval",
]

Floats = npt.NDArray[np.float64]
FEW = 10  # below so many prompts a bootstrap interval is too narrow to pass on
MOVED = 5


def metric_checks(
    pairs: Sequence[Pair], columns: Mapping[str, Mapping[str, Any]], settings: GateSettings
) -> list[Check]:
    """A check for every gated column that images or prompts have values of, flags apart."""
    made, deltas = [], []
    for pair in pairs:
        for name, column in columns.items():
            if column["flag"] or not settings.gates(column) or not _in_both(pair, name):
                continue
            values = pair.by_prompt(name)
            delta = values.run - values.baseline
            if not len(delta) and not values.one_sided:
                continue
            check = replace(
                _blank(pair, column, "metric"),
                n=len(delta),
                message=_one_sided(values.one_sided),
                moved=moved_most(values.ids, values.baseline, values.run, column["better"], pair.texts),
            )
            if len(delta):
                margin = settings.margin_of(column)
                check = replace(
                    check,
                    baseline=float(values.baseline.mean()),
                    run=float(values.run.mean()),
                    difference=float(delta.mean()),
                    margin=margin_amount(margin, float(values.baseline.mean())),
                    margin_text=margin_text(margin),
                )
            made.append((check, pair.same_images))
            deltas.append(delta)
    intervals = stats.difference_intervals(deltas, settings.level)
    flips = max(10_000, 60 * len(made))  # so that the smallest p outlives the correction
    return [
        _judged(with_interval(check, delta, interval, settings.level), delta, interval, same, flips)
        for (check, same), delta, interval in zip(made, deltas, intervals, strict=True)
    ]


def with_interval(check: Check, delta: Floats, interval: stats.Interval, level: float) -> Check:
    """The check with its interval, and what so many prompts can show."""
    if len(delta) < 2 or check.margin is None:
        return check
    sd = float(delta.std(ddof=1))
    loss = -float(delta.mean()) if check.better == "higher" else float(delta.mean())
    found = powers(sd, len(delta), loss, check.margin, level)
    return replace(check, low=interval.low, high=interval.high, **found)


def powers(sd: float, n: int, loss: float, margin: float, level: float) -> dict[str, Any]:
    """``detectable`` and ``needed`` of a check over ``n`` values with the standard deviation ``sd``.

    What is to be shown is a loss beyond the margin, if it is as large as it looks; else that there is none.
    """
    needed, effect = None, loss - margin if loss > margin else margin
    if sd > 0 and effect > 0:
        needed = stats.needed_n(sd, effect, level=level, sided=2)
    return {"detectable": stats.minimum_detectable(sd, n, level=level, sided=2), "needed": needed}


def _judged(check: Check, delta: Floats, interval: stats.Interval, same_images: bool, flips: int) -> Check:
    """Pass or not; and the p-value by which the whole family may still find a failure."""
    if check.margin is None:
        return replace(check, message=check.message or "no prompt has a value on both sides")
    if same_images and not delta.any() and not check.message:
        return replace(check, verdict="pass", message="the same images")
    gain = delta if check.better == "higher" else -delta
    # A mean at the margin or above it cannot be shown to lie below.
    below = gain.mean() < -check.margin
    p = stats.sign_flip(gain, shift=-check.margin, alternative="less", flips=flips) if below else 1.0
    above = interval.low > 0 if check.better == "higher" else interval.high < 0
    better = stats.sign_flip(gain, alternative="greater", flips=flips) if above else 1.0
    check = replace(check, p=p, gain=better)
    if check.message:  # values are missing on one side: whatever the rest says, it is no pass
        return check
    if len(delta) < FEW:
        return replace(check, message=f"{len(delta)} prompts are too few to pass, {FEW} are needed at least")
    return replace(check, verdict=passed(interval, check))


def passed(interval: stats.Interval, check: Check) -> Verdict:
    """Pass, or inconclusive: that it fails is not for one interval to say."""
    margin = 0.0 if check.margin is None else check.margin
    within = stats.verdict(interval.low, interval.high, margin, check.better) == "pass"
    return "pass" if within else "inconclusive"


def set_checks(
    pairs: Sequence[Pair], columns: Mapping[str, Mapping[str, Any]], settings: GateSettings
) -> Iterator[Check]:
    """A check for every gated column that only a whole set has a value of."""
    for pair in pairs:
        for name, column in columns.items():
            if name in pair.run.columns or not settings.gates(column):
                continue
            theirs, mine = pair.baseline_row["cells"].get(name), pair.run_row["cells"].get(name)
            if theirs is None and mine is None:
                continue
            yield _set_check(_blank(pair, column, "set"), column, theirs, mine, settings)


def _set_check(
    check: Check,
    column: Mapping[str, Any],
    theirs: Mapping[str, Any] | None,
    mine: Mapping[str, Any] | None,
    settings: GateSettings,
) -> Check:
    if theirs is None or mine is None or theirs["value"] is None or mine["value"] is None:
        side = "baseline" if theirs is None or theirs["value"] is None else "run"
        return replace(check, message=f"the {side} has no value")
    margin = settings.margin_of(column)
    amount = margin_amount(margin, theirs["value"])
    difference = mine["value"] - theirs["value"]
    check = replace(
        check,
        baseline=theirs["value"],
        run=mine["value"],
        difference=difference,
        margin=amount,
        margin_text=margin_text(margin),
        n=mine["n"],
    )
    ours, others = stats.Jackknife.of_cell(mine), stats.Jackknife.of_cell(theirs)
    paired = ours is not None and others is not None and ours.pairs_with(others)
    small = column["kind"] == "corpus" and min(mine["n"], theirs["n"]) < stats.FEWEST_IMAGES
    if small:
        told = f"{mine['n']} images: distances between sets are gated from {stats.FEWEST_IMAGES} on"
        check = replace(check, verdict="informational", message=told)
    elif mine["n"] != theirs["n"] or not paired:
        return replace(check, message=f"{theirs['n']} images in the baseline, {mine['n']} in the run")
    if ours is None or others is None or not paired or len(ours.replicates) < 2:
        return check if small else replace(check, message="too few prompts for an interval")
    apart = ours - others
    interval = apart.interval(settings.level)
    gained, sign = (apart, 1) if check.better == "higher" else (-apart, -1)
    sd = apart.error * math.sqrt(mine["n"])  # as if the value were a mean over the images
    check = replace(
        check,
        low=interval.low,
        high=interval.high,
        gain=gained.p(alternative="greater"),
        **powers(sd, mine["n"], -sign * difference, amount, settings.level),
    )
    if small:
        return check
    if difference == 0 and not apart.replicates.any():
        return replace(check, verdict="pass")
    p = gained.p(shift=-amount, alternative="less")
    return replace(check, p=p, verdict=passed(interval, check))


def moved_most(
    ids: Sequence[str], baseline: Floats, run: Floats, better: str, texts: Mapping[str, str]
) -> tuple[Moved, ...]:
    """The prompts that lost most, the worst first; those that lost nothing are left out."""
    loss = baseline - run if better == "higher" else run - baseline
    order = [int(i) for i in np.argsort(-loss, kind="stable")[:MOVED] if loss[i] > 0]
    return tuple(Moved(ids[i], texts.get(ids[i], ""), float(baseline[i]), float(run[i])) for i in order)


def _blank(pair: Pair, column: Mapping[str, Any], kind: Kind) -> Check:
    return Check(
        model=pair.model,
        prompt_set=pair.prompt_set,
        sampler=pair.sampler,
        kind=kind,
        column=column["name"],
        title=column["title"],
        metric=column["metric"],
        better=column["better"],
        decimals=column["decimals"],
    )


def _in_both(pair: Pair, name: str) -> bool:
    return name in pair.run.columns and name in pair.baseline.columns


def _one_sided(names: Sequence[str]) -> str:
    if not names:
        return ""
    more = ", ..." if len(names) > MOVED else ""
    return f"{len(names)} without a value on one side only: {', '.join(names[:MOVED])}{more}"
