"""From what each turn took to one line a sampler. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import stats
from ..trajectory import Trajectory
from .memory import largest
from .record import Memory, Ratio, SamplerSpeed, Spread
from .request import TEACHER

__all__ = ["Taken", "ratio", "summaries"]


@dataclass(frozen=True)
class Taken:
    """What one batch of one sampler took: seconds, evaluations an image, memory, joules."""

    total: float
    components: dict[str, float]
    steps: list[float]
    evaluations: float
    memory: Memory
    joules: float | None


def summaries(
    samplers: Sequence[Any],
    taken: Mapping[str, Sequence[Taken]],
    peak: float | None,
    batch: int,
) -> list[SamplerSpeed]:
    """One for each of ``samplers`` (a name, a trajectory, operations), whose batches are in the order of their blocks.

    ``peak`` is the device's 10^12 operations a second. The teacher is among the samplers.
    """
    teacher = taken[TEACHER]
    return [
        _summary(one.name, one.trajectory, taken[one.name], teacher, one.operations, peak, batch)
        for one in samplers
    ]


def _summary(
    name: str,
    trajectory: Trajectory,
    own: Sequence[Taken],
    teacher: Sequence[Taken],
    operations: Any,
    peak: float | None,
    batch: int,
) -> SamplerSpeed:
    blocks = [one.total / batch for one in own]
    seconds = {"total": spread(blocks), "step": spread([np.mean(one.steps) / batch for one in own])}
    for component in own[0].components:
        seconds[component] = spread([one.components[component] / batch for one in own])
    evaluations = float(np.median([one.evaluations for one in own]))
    denoising = operations.denoise(trajectory, evaluations)
    joules = [one.joules / batch for one in own if one.joules is not None]
    return SamplerSpeed(
        sampler=name,
        steps=len(trajectory),
        nfe=trajectory.nfe,
        evaluations=evaluations,
        switches=switches(trajectory),
        seconds=seconds,
        step_seconds=list(np.median([one.steps for one in own], axis=0) / batch),
        blocks=blocks,
        faster=ratio([one.total for one in teacher], [one.total for one in own]),
        faster_denoise=ratio(_denoising(teacher), _denoising(own)),
        fewer=float(np.median([one.evaluations for one in teacher])) / evaluations,
        tflop=denoising + operations.decode,
        mfu=None if peak is None else denoising / seconds["denoise"].median / peak,
        memory=largest([one.memory for one in own]),
        joules=float(np.median(joules)) if joules else None,
    )


def _denoising(taken: Sequence[Taken]) -> list[float]:
    return [one.components["denoise"] for one in taken]


def switches(trajectory: Trajectory) -> int:
    """How often a step is served by another adapter, or strength of it, than the one before; at first there is none."""
    served = [(step.adapter, step.adapter_scale if step.adapter else 0.0) for step in trajectory.steps]
    return sum(one != before for before, one in zip([(None, 0.0), *served], served, strict=False))


def spread(values: Sequence[Any]) -> Spread:
    """Median and quartiles."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return Spread(median=float(middle), q25=float(low), q75=float(high), n=len(values))


def ratio(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """The median over blocks of ``above`` / ``below``, with its interval."""
    found = stats.log_ratio(above, below)
    low, high = (None if math.isnan(end) else end for end in (found.low, found.high))
    return Ratio(ratio=found.ratio, low=low, high=high, n=found.n)
