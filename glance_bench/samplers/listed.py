"""Schedules that start from a published list of timesteps: as printed, and as published code plays it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from ..trajectory import TIMESTEPS, Move, bfloat16, grid_moves, shifted_grid, teacher_grid, told
from .published import load_published, published_moves

if TYPE_CHECKING:
    from .schedules import Geometry


class _Listed(BaseModel):
    """``published`` is the name of a schedule in ``baselines/published/``.

    Every ``moves`` raises UsageError for an unknown name, or a family without a list.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    published: str


class Printed(_Listed):
    """The printed levels of the model's family, whatever the resolution."""

    kind: Literal["printed"]

    def moves(self, geometry: Geometry) -> list[Move]:
        """One move a step; the model is told ``told(sigma)``."""
        timesteps = load_published(self.published).timesteps(self.published, geometry.family)
        return [move._replace(t_cond=told(move.sigma)) for move in published_moves(timesteps)]


class Reshifted(_Listed):
    """The printed levels of ``family``, given to the stock scheduler of any model as ``sigmas=``.

    It shifts them by the model's own shift, though they are shifted already; see ``trajectory.shifted_grid``.
    """

    kind: Literal["reshifted"]
    family: str

    def moves(self, geometry: Geometry) -> list[Move]:
        """One move a step; the model is told ``told(sigma)``."""
        timesteps = load_published(self.published).timesteps(self.published, self.family)
        levels = [t / TIMESTEPS for t in timesteps.all]
        return grid_moves(shifted_grid(geometry.shift, geometry.tokens, levels), range(len(levels)))


class TimestepsOnly(_Listed):
    """The stock scheduler's own grids, with only the timesteps that the model is told replaced by the printed ones.

    The slow phase steps along the first levels of the teacher's grid; the fast phase starts again, on a
    native grid with as many steps as it has. The timesteps are bfloat16 tensors, which rounds them.
    """

    kind: Literal["timesteps-only"]

    def moves(self, geometry: Geometry) -> list[Move]:
        """One move a step. The fast phase starts at sigma 1, so they do not connect."""
        timesteps = load_published(self.published).timesteps(self.published, geometry.family)
        slow = teacher_grid(geometry.shift, geometry.tokens)[: len(timesteps.slow) + 1]
        fast = teacher_grid(geometry.shift, geometry.tokens, len(timesteps.fast))
        return [
            Move(float(grid[i]), float(grid[i + 1]), told(bfloat16(t) / TIMESTEPS))
            for grid, phase in ((slow, timesteps.slow), (fast, timesteps.fast))
            for i, t in enumerate(phase)
        ]
