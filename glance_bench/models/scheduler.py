"""The diffusers scheduler that plays a Trajectory inside an unmodified pipeline."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import ConfigMixin, SchedulerMixin
from diffusers.configuration_utils import register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerOutput

from ..trajectory import TIMESTEPS, Trajectory, told
from .solvers import Multistep, corrected


class TrajectoryScheduler(SchedulerMixin, ConfigMixin):
    """Steps from ``sigmas[i]`` to ``sigmas_next[i]`` while the model is told ``t_cond[i]``.

    Euler's by default. ``solver`` "heun" evaluates a second time at the end of each step that does not end at 0, and
    steps along the mean of the two velocities; "ab2" and "dpmpp-2m" correct the velocity by that of the step before
    (see ``solvers``). A step of ``fresh`` is not to look at the one before it: another adapter served that one.

    Put it into a pipeline with ``pipe.scheduler = TrajectoryScheduler.of(trajectory)``. The plan is the whole
    schedule: the sigmas, the shift and the number of steps that a pipeline computes for itself are ignored,
    at any resolution. With Euler, on the stock scheduler's own grid it takes the stock scheduler's steps, bit for bit.
    The three lists have one value in [0, 1] a step; the pipelines cast ``t_cond`` to the dtype of the
    latents.
    """

    order = 1

    @register_to_config
    def __init__(
        self,
        sigmas: list[float],
        sigmas_next: list[float],
        t_cond: list[float],
        solver: str = "euler",
        fresh: list[int] | None = None,
    ) -> None:
        if not len(sigmas) == len(sigmas_next) == len(t_cond) > 0:
            raise ValueError(
                "sigmas, sigmas_next and t_cond must have the same number of steps, at least one"
            )
        self.set_timesteps()

    @classmethod
    def of(cls, trajectory: Trajectory) -> TrajectoryScheduler:
        """The scheduler for ``trajectory``; its adapters and guidance are the caller's to apply."""
        steps = trajectory.steps
        sigmas, ends = [s.sigma for s in steps], [s.sigma_next for s in steps]
        fresh = [phase.start for phase in trajectory.phases]
        return cls(sigmas, ends, [s.t_cond for s in steps], trajectory.solver, fresh)

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        sigmas: Any = None,
        mu: float | None = None,
    ) -> None:
        """Rewinds to the first step and moves ``timesteps`` (float32[steps], t_cond * 1000) to ``device``.

        The other arguments are what pipelines pass, and change nothing.
        """
        config = self.config
        self._evaluations = [  # step, and whether it is the second evaluation in that step
            (step, second)
            for step, end in enumerate(config.sigmas_next)
            for second in ((False, True) if config.solver == "heun" and end > 0 else (False,))
        ]
        times = [
            told(config.sigmas_next[i]) if second else config.t_cond[i] for i, second in self._evaluations
        ]
        self.timesteps = torch.tensor(times, dtype=torch.float32, device=device) * TIMESTEPS
        starts, ends = (
            torch.tensor(values, dtype=torch.float32) for values in (config.sigmas, config.sigmas_next)
        )
        self._lengths = ends - starts
        self._to_image = -starts
        self._multistep = (
            Multistep(config.solver, config.sigmas, config.sigmas_next, config.fresh or [])
            if config.solver in ("ab2", "dpmpp-2m")
            else None
        )
        self._index = 0

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Start at this evaluation of the plan (pipelines say 0)."""
        self._index = begin_index

    @property
    def midway(self) -> bool:
        """Whether the last evaluation did not end its step: another one of the same step follows."""
        return self._index < len(self._evaluations) and self._evaluations[self._index][1]

    def step(
        self, model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, return_dict: bool = True
    ) -> tuple[torch.Tensor] | SchedulerOutput:
        """What follows the plan's next evaluation: ``sample + (sigma_next - sigma) * velocity``, in float32.

        ``velocity`` is ``model_output``, or what the solver makes of it. Tensors are [N, tokens, channels] in the
        model's dtype, which the result keeps. ``timestep`` is not used: two steps of a plan may tell the model the
        same time. Returns the new sample.
        """
        number, second = self._evaluations[self._index]
        start, velocity = sample, model_output
        if second:
            start, first = self._last
            velocity = corrected(first, model_output)
        elif self._multistep:
            velocity = self._multistep.velocity(number, sample, model_output)
        self._last: tuple[torch.Tensor, torch.Tensor] = start, velocity
        moved = _moved(start, velocity, self._lengths[number])
        self._index += 1
        return SchedulerOutput(prev_sample=moved) if return_dict else (moved,)

    def estimate(self) -> torch.Tensor:
        """The image that the last step was heading for, [N, tokens, channels]: ``sample - sigma * velocity``.

        It is the end of that step had it gone from its ``sigma`` down to 0, so after a step that did it is the new
        sample, bit for bit.
        """
        return _moved(*self._last, self._to_image[self._evaluations[self._index - 1][0]])


def _moved(sample: torch.Tensor, velocity: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    """``sample`` moved along ``velocity`` by ``length`` in sigma, in float32, in the dtype of ``velocity``."""
    return (sample.to(torch.float32) + length * velocity).to(velocity.dtype)
