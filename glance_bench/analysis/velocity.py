"""How far each step of a sampler points away from the teacher, measured along the teacher's own trajectory.

For a step from sigma to sigma_next the latents are the teacher's at sigma. From there the step is played by the code
that samples; what it moves them by, over (sigma_next - sigma), is the student's velocity. What the teacher's
trajectory moves by between the same two levels is the teacher's.

    error = |v_student - v_teacher| / |v_teacher|, the L2 norm over all tokens and channels of an image

A sampler without adapters evaluates the teacher's model, so its error is the discretisation error of a long step: the
velocity at the start of the step against the mean velocity over it. An adapter is meant to lower it. Latents have the
model's dtype: in half precision their rounding is part of the error, most of all of short steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..errors import GlanceBenchError
from ..models.recorder import Recorder
from ..trajectory import FloatArray, Trajectory

__all__ = ["velocity_errors"]

SAME_LEVEL = 1e-4  # a teacher's level so near in sigma is the level


class _Played(Exception):
    """Raised at the end of the last step to leave the pipeline before it decodes an image nobody looks at."""


class _Latents(Recorder):
    """Keeps the latents after each of ``steps`` steps, float32 on the CPU, and ends the call there."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.kept: list[torch.Tensor] = []
        self._steps = steps

    def on_step(self, index: int, latents: Any) -> None:
        self.kept.append(latents.detach().to("cpu", torch.float32, copy=True))
        if len(self.kept) == self._steps:
            raise _Played


def velocity_errors(
    model: Any,
    embed: Mapping[str, Any],
    noise: torch.Tensor,
    teacher: Trajectory,
    students: Sequence[Trajectory],
    resolution: tuple[int, int],
) -> list[FloatArray]:
    """For each student float64[its steps]: the relative velocity error of every step, for one image.

    ``model`` is a loaded family, ``embed`` an entry of its ``encode`` and ``noise`` float32[1, tokens, channels].
    A step of no length has no velocity, and latents that are not finite have no error: NaN.
    Raises GlanceBenchError for a family that does not tell the recorder of its steps.
    """
    path = _play(model, teacher, embed, noise, resolution)
    levels = teacher.sigmas
    found = []
    for student in students:
        errors = []
        for step in student.steps:
            start, end = (_at(sigma, levels, path) for sigma in (step.sigma, step.sigma_next))
            made = _play(model, replace(student, steps=(step,), cache=None), embed, start, resolution)[1]
            errors.append(_relative(made - start, end - start))
        found.append(np.array(errors, np.float64))
    return found


def _play(
    model: Any,
    trajectory: Trajectory,
    embed: Mapping[str, Any],
    start: torch.Tensor,
    resolution: tuple[int, int],
) -> list[torch.Tensor]:
    """The latents float32[1, tokens, channels] at every level: ``start``, and after each step."""
    watch = _Latents(len(trajectory))
    with suppress(_Played):
        model.sample(trajectory, [embed], start, watch, resolution=resolution)
    if len(watch.kept) != len(trajectory):
        raise GlanceBenchError(
            f"model family {type(model).__name__} does not tell its recorder of every step: no velocities"
        )
    return [start, *watch.kept]


def _at(sigma: float, levels: FloatArray, path: Sequence[torch.Tensor]) -> torch.Tensor:
    """The teacher's latents at ``sigma``, of ``path`` at ``levels``, which fall.

    Between two levels they lie on the straight line, which is where an Euler step passes.
    """
    nearest = int(np.argmin(np.abs(levels - sigma)))
    if abs(levels[nearest] - sigma) <= SAME_LEVEL:
        return path[nearest]
    after = int(np.searchsorted(-levels, -sigma))
    share = (levels[after - 1] - sigma) / (levels[after - 1] - levels[after])
    return torch.lerp(path[after - 1], path[after], float(share))


def _relative(student: torch.Tensor, teacher: torch.Tensor) -> float:
    """|student - teacher| / |teacher| of two displacements over the same step, whose length cancels."""
    length = float(teacher.double().norm())
    return float((student.double() - teacher.double()).norm()) / length if length else float("nan")
