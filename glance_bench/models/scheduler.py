"""The diffusers scheduler that plays a Trajectory inside an unmodified pipeline."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import ConfigMixin, SchedulerMixin
from diffusers.configuration_utils import register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerOutput

from ..trajectory import TIMESTEPS, Trajectory


class TrajectoryScheduler(SchedulerMixin, ConfigMixin):
    """Euler steps from ``sigmas[i]`` to ``sigmas_next[i]`` while the model is told ``t_cond[i]``.

    Put it into a pipeline with ``pipe.scheduler = TrajectoryScheduler.of(trajectory)``. The plan is the whole
    schedule: the sigmas, the shift and the number of steps that a pipeline computes for itself are ignored,
    at any resolution. On the stock scheduler's own grid it takes the stock scheduler's steps, bit for bit.
    The three lists have one value in [0, 1] a step; the pipelines cast ``t_cond`` to the dtype of the
    latents.
    """

    order = 1

    @register_to_config
    def __init__(self, sigmas: list[float], sigmas_next: list[float], t_cond: list[float]) -> None:
        if not len(sigmas) == len(sigmas_next) == len(t_cond) > 0:
            raise ValueError(
                "sigmas, sigmas_next and t_cond must have the same number of steps, at least one"
            )
        self.set_timesteps()

    @classmethod
    def of(cls, trajectory: Trajectory) -> TrajectoryScheduler:
        """The scheduler for ``trajectory``; its adapters and guidance are the caller's to apply."""
        steps = trajectory.steps
        return cls([s.sigma for s in steps], [s.sigma_next for s in steps], [s.t_cond for s in steps])

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
        self.timesteps = torch.tensor(self.config.t_cond, dtype=torch.float32, device=device) * TIMESTEPS
        starts, ends = (
            torch.tensor(values, dtype=torch.float32)
            for values in (self.config.sigmas, self.config.sigmas_next)
        )
        self._lengths = ends - starts
        self._to_image = -starts
        self._index = 0

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Start at this step of the plan (pipelines say 0)."""
        self._index = begin_index

    def step(
        self, model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, return_dict: bool = True
    ) -> tuple[torch.Tensor] | SchedulerOutput:
        """The next Euler step of the plan, computed in float32: ``sample + (sigma_next - sigma) *
        model_output``.

        Tensors are [N, tokens, channels] in the model's dtype, which the result keeps. ``timestep`` is not
        used: two steps of a plan may tell the model the same time. Returns the new sample.
        """
        moved = _moved(sample, model_output, self._lengths[self._index])
        self._last = sample, model_output
        self._index += 1
        return SchedulerOutput(prev_sample=moved) if return_dict else (moved,)

    def estimate(self) -> torch.Tensor:
        """The image that the last step was heading for, [N, tokens, channels]: ``sample - sigma * model_output``.

        It is the end of that step had it gone from its ``sigma`` down to 0, so after a step that did it is the new
        sample, bit for bit.
        """
        return _moved(*self._last, self._to_image[self._index - 1])


def _moved(sample: torch.Tensor, velocity: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    """``sample`` moved along ``velocity`` by ``length`` in sigma, in float32, in the dtype of ``velocity``."""
    return (sample.to(torch.float32) + length * velocity).to(velocity.dtype)
