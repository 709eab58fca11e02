"""A paper's claims beside its own printed cells and beside what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

from glance_bench import stats
from glance_bench.evidence import Evidence
from glance_bench.stats.latency import LogRatio, log_ratio
from glance_bench.stats.ratios import Ratio

from .contradictions import routes, speed_ratios
from .filled import Checked, FilledTable
from .published import Claim, Difference, PaperTables, Retention, Row, SpeedUp
from .reasons import Machine
from .scores import Score

__all__ = ["check"]


def check(
    paper: PaperTables,
    claim: Claim,
    tables: Sequence[FilledTable],
    evidences: Sequence[Evidence],
    machine: Machine,
) -> Checked:
    """One claim, from every table that prints its rows, and from the runs that fill the tables."""
    if isinstance(claim, SpeedUp):
        return _speed_up(paper, claim, tables, evidences, machine)
    if not isinstance(claim, Retention | Difference):
        return Checked(claim)
    again = tuple(routes(paper, claim))
    lacking = None
    for filled in tables:
        cells = {row.label: {c.column: c for c in own}.get(claim.column) for row, own in filled.rows}
        own, above = cells.get(claim.student), cells.get(claim.teacher)
        if own is None or above is None:
            continue
        lacking = lacking or own.reason or above.reason
        if own.score is None or above.score is None:
            continue
        if isinstance(claim, Retention):
            kept = own.kept
            if kept is not None and math.isfinite(kept.value):
                return Checked(
                    claim, again, measured=(*_percent(kept), own.score.run), images=own.score.images
                )
        else:
            less = _less(own.score, above.score)
            return Checked(claim, again, measured=(*less, own.score.run), images=own.score.images)
    return Checked(claim, again, reason=lacking)


def _speed_up(
    paper: PaperTables,
    claim: SpeedUp,
    tables: Sequence[FilledTable],
    evidences: Sequence[Evidence],
    machine: Machine,
) -> Checked:
    for filled in tables:
        student, teacher = filled.table.row(claim.student), filled.table.row(claim.teacher)
        if student is None or teacher is None:
            continue
        ratios = speed_ratios(student, teacher)
        for evidence in reversed(evidences):
            if (
                timed := _timed(paper.families[student.family].model, student, teacher, evidence)
            ) is not None:
                low, high = (None if math.isnan(end) else end for end in (timed.low, timed.high))
                return Checked(claim, ratios=ratios, measured=(timed.ratio, low, high, evidence.name))
        column = paper.columns[filled.table.columns[0]]
        return Checked(claim, ratios=ratios, reason=machine.untimed(paper, student, column))
    return Checked(claim)


def _timed(model: str, student: Row, teacher: Row, evidence: Evidence) -> LogRatio | None:
    """The teacher's seconds over the student's, both in the same block of one session; None without such blocks."""
    timing = evidence.timing
    whole = timing[(timing["model"] == model) & (timing["component"] == "total")]
    block = ["session", "hardware", "batch_size", "prompt_id", "repeat"]
    seconds = [whole[whole["sampler"] == row.card].set_index(block)["seconds"] for row in (teacher, student)]
    both = seconds[0].index.intersection(seconds[1].index)
    return log_ratio(seconds[0][both].to_numpy(), seconds[1][both].to_numpy()) if len(both) else None


def _percent(kept: Ratio) -> tuple[float, float | None, float | None]:
    low, high = (100 * end if math.isfinite(end) else None for end in (kept.low, kept.high))
    return 100 * kept.value, low, high


def _less(student: Score, teacher: Score) -> tuple[float, float | None, float | None]:
    """Teacher minus student, paired by prompt where both have values by prompt; else without an interval."""
    apart = teacher.value - student.value
    if student.by_prompt is not None and teacher.by_prompt is not None and student.run == teacher.run:
        both = student.by_prompt.index.intersection(teacher.by_prompt.index)
        if len(both) > 1:
            paired = stats.paired_bootstrap(teacher.by_prompt[both], student.by_prompt[both])
            return apart, paired.low, paired.high
    above, below = teacher.jackknife, student.jackknife
    if above is not None and below is not None and above.pairs_with(below):
        interval = (above - below).interval()
        return apart, interval.low, interval.high
    return apart, None, None
