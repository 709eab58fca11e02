"""Whether a sampler became slower.

What is gated is its speed-up: the reference's time over the sampler's, block by block of one session, so that a slow
machine slows both. The run's blocks are held against the baseline's. Seconds themselves are compared on equal
hardware only, and gated only where the suite asks for it.

A machine has bad minutes, and all blocks of a session share them. So a session alone does not fail a sampler: the
check says how to measure again, and fails when every session does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from .. import stats
from .check import Check
from .pairing import boards
from .quality import powers

if TYPE_CHECKING:
    import pandas as pd

    from ..evidence import Evidence
    from .settings import GateSettings

__all__ = ["speed_checks"]

Floats = npt.NDArray[np.float64]
PERMUTATIONS = 10_000
BLOCK = ["session", "prompt_id", "repeat"]


@dataclass(frozen=True)
class _Side:
    """One side's timing of one sampler: log seconds and log speed-ups a block, by session in order of time."""

    hardware: frozenset[str]
    seconds: Mapping[str, Floats]
    speedups: Mapping[str, Floats]


def speed_checks(baseline: Evidence, run: Evidence, settings: GateSettings) -> Iterator[Check]:
    """For every sampler that the baseline timed: its speed-up, and its seconds."""
    if settings.speed is None:
        return
    theirs, mine = _sides(baseline), _sides(run)
    references = {model: board["reference"] for (model, _), board in boards(baseline).items()}
    devices = {key: _devices(baseline, *key) == _devices(run, *key) for key in theirs}
    for (model, sampler), before in theirs.items():
        if model not in references:
            continue
        blank = Check(model, "", sampler, "speed", "speed", f"Speed-up over {references[model]}", decimals=2)
        after = mine.get((model, sampler))
        if after is None:
            yield replace(blank, message="the baseline was timed, the run was not")
            continue
        if sampler != references[model]:
            speed = replace(blank, margin=settings.speed.margin)
            yield _speed_check(speed, before, after, devices[model, sampler], run, settings.level)
        seconds = replace(
            blank, kind="latency", column="seconds", title="Seconds", better="lower", decimals=3
        )
        seconds = replace(seconds, margin=settings.speed.absolute)
        yield _latency_check(seconds, before, after, run, settings.level)


def _speed_check(
    check: Check, before: _Side, after: _Side, same_device: bool, run: Evidence, level: float
) -> Check:
    if not before.speedups or not after.speedups:
        side = "baseline" if not before.speedups else "run"
        return replace(check, message=f"the {side} has no block with both this sampler and its reference")
    check = _compared(check, before.speedups, after.speedups, run, level)
    if not same_device:
        return replace(check, verdict="informational", p=None, message="measured on another kind of device")
    return check


def _latency_check(check: Check, before: _Side, after: _Side, run: Evidence, level: float) -> Check:
    """Without a margin seconds are only shown."""
    check = _compared(check, before.seconds, after.seconds, run, level)
    if before.hardware != after.hardware:
        names = ["/".join(sorted(side.hardware)) for side in (before, after)]
        told = f"seconds are not comparable: {names[0]} in the baseline, {names[1]} in the run"
        return replace(check, verdict="informational", p=None, message=told)
    return check if check.margin is not None else replace(check, verdict="informational")


def _compared(
    check: Check,
    before: Mapping[str, Floats],
    after: Mapping[str, Floats],
    run: Evidence,
    level: float,
) -> Check:
    """The check with medians, interval and, where there is a margin, p-values."""
    old = np.concatenate(list(before.values()))
    new = np.concatenate(list(after.values()))
    sign = 1 if check.better == "higher" else -1
    pooled = _difference(new, old, level)
    check = replace(
        check,
        baseline=float(np.exp(np.median(old))),
        run=float(np.exp(np.median(new))),
        difference=pooled.ratio - 1,
        low=pooled.low - 1,
        high=pooled.high - 1,
        n=len(new),
    )
    if check.margin is None:
        return check
    if before.keys() == after.keys() and all(np.array_equal(before[s], after[s]) for s in before):
        return replace(check, verdict="pass", message="the same measurement")
    enough = math.ceil(1 - math.log2(1 - level))  # for an interval of a median, see stats.LogRatio
    few = min(len(old), *map(len, after.values()))
    if few < enough:
        told = f"{few} blocks are too few, {enough} are needed (timing: repeats x prompts)"
        return replace(check, message=told)
    shift = math.log1p(-check.margin) if sign > 0 else -math.log1p(check.margin)
    last = _difference(list(after.values())[-1], old, level)
    passed = any(
        stats.verdict(one.low - 1, one.high - 1, check.margin, check.better) == "pass"
        for one in (pooled, last)
    )
    gained = pooled.low > 1 if sign > 0 else pooled.high < 1
    deviation = (pooled.high - pooled.low) / 2 / float(ndtri((1 + level) / 2))
    profile = f" --profile {run.results['profile']}" if run.results.get("profile") else ""
    again = f"one session only; measure again: glance-bench run {run.results['suite']}{profile} --time-again"
    return replace(
        check,
        verdict="pass" if passed else "inconclusive",
        p=max(_slower(sign * own, sign * old, shift) for own in after.values()),
        gain=max(_slower(sign * old, sign * own, 0.0) for own in after.values()) if gained else 1.0,
        **powers(deviation * math.sqrt(len(new)), len(new), sign * (1 - pooled.ratio), check.margin, level),
        unconfirmed=again if len(after) < 2 else "",
    )


def _difference(new: Floats, old: Floats, level: float) -> stats.LogRatio:
    return stats.log_ratio_difference(new, old, level=level)


def _slower(new: Floats, old: Floats, shift: float, seed: int = 0) -> float:
    """p-value of median(new) - median(old) >= ``shift``, against less: a permutation test on the medians.

    Both are float[blocks]; ``new`` is moved by -``shift``, then who belongs to which side is drawn anew (Good 2005).
    Counted as in Phipson and Smyth (2010), so never 0.
    """
    moved = new - shift
    observed = np.median(moved) - np.median(old)
    if observed >= 0:
        return 1.0
    together = np.concatenate([moved, old])
    rng = np.random.default_rng(seed)
    drawn = rng.permuted(np.tile(together, (PERMUTATIONS, 1)), axis=1)
    apart = np.median(drawn[:, : len(new)], axis=1) - np.median(drawn[:, len(new) :], axis=1)
    return float((1 + (apart <= observed + 1e-12).sum()) / (1 + PERMUTATIONS))


def _sides(evidence: Evidence) -> dict[tuple[str, str], _Side]:
    """What was timed, by model and sampler."""
    timing = evidence.timing
    timing = timing[(timing["component"] == "total") & (timing["seconds"] > 0)]
    references = {model: board["reference"] for (model, _), board in boards(evidence).items()}
    found = {}
    for model, own in timing.groupby("model", sort=False):
        # A sampler's column holds its log seconds in every block in which it was timed.
        blocks = np.log(
            own.drop_duplicates([*BLOCK, "sampler"]).pivot(index=BLOCK, columns="sampler", values="seconds")
        )
        for sampler in own["sampler"].unique():
            reference = references.get(str(model))
            apart = blocks[reference] - blocks[sampler] if reference in blocks else blocks[sampler].iloc[:0]
            found[str(model), str(sampler)] = _Side(
                frozenset(own.loc[own["sampler"] == sampler, "hardware"].astype(str)),
                _by_session(blocks[sampler]),
                _by_session(apart),
            )
    return found


def _by_session(blocks: pd.Series) -> dict[str, Floats]:
    """Sessions are named by when they began, so their order is that of time."""
    blocks = blocks.dropna()
    return {str(session): own.to_numpy(float) for session, own in blocks.groupby(level=0, sort=True)}


def _devices(evidence: Evidence, model: str, sampler: str) -> Sequence[str]:
    return sorted(
        {
            str((row.get("made_of") or {}).get("device"))
            for (name, _), board in boards(evidence).items()
            if name == model
            for row in board["samplers"]
            if row["sampler"] == sampler
        }
    )
