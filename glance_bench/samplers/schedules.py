"""Schedules that keep levels of a grid of the model's own, and what they need to know of a model. No torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..trajectory import (
    TEACHER_STEPS,
    FloatArray,
    Move,
    TimeShift,
    grid_moves,
    slow_fast_indices,
    teacher_grid,
    uniform_indices,
)

__all__ = ["Geometry", "Indices", "Native", "OnGrid", "Shift", "SlowFast", "Uniform"]


@dataclass(frozen=True)
class Geometry:
    """What a card needs to know of a model at a resolution.

    ``tokens`` is the number of packed image tokens, ``guidance`` the model's default, ``cfg`` whether
    guidance above 1 costs a second pass. ``adapters`` are the LoRA files trained for the model, by the names
    that cards use.
    """

    family: str
    shift: TimeShift
    tokens: int
    guidance: float
    cfg: bool
    adapters: Mapping[str, Path] = field(default_factory=dict, compare=False)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Steps = Annotated[int, Field(ge=1, le=1000)]


class OnGrid(_Strict, ABC):
    """A schedule that keeps some levels of a grid of the model's own."""

    @abstractmethod
    def levels(self, geometry: Geometry) -> tuple[FloatArray, Sequence[int]]:
        """The grid, float64[n + 1], and the kept indices."""

    def moves(self, geometry: Geometry) -> list[Move]:
        """One move a step, from each kept level to the next and from the last to 0."""
        return grid_moves(*self.levels(geometry))


class Shift(_Strict):
    """A scheduler's time shift in place of the model's own: the fields of ``trajectory.TimeShift``."""

    dynamic: bool = True
    base_shift: float = 0.5
    max_shift: float = 1.15
    base_tokens: Annotated[int, Field(ge=1)] = 256
    max_tokens: Annotated[int, Field(ge=1)] = 4096
    terminal: Annotated[float, Field(gt=0, lt=1)] | None = None
    shift: Annotated[float, Field(gt=0)] = 1.0

    @model_validator(mode="after")
    def _has_a_slope(self) -> Shift:
        if self.max_tokens <= self.base_tokens:
            raise ValueError(f"max_tokens must be above base_tokens, {self.base_tokens}")
        return self

    def time_shift(self) -> TimeShift:
        """The same for ``trajectory``."""
        return TimeShift(**self.model_dump())


class Native(OnGrid):
    """The stock scheduler asked for ``steps`` steps; with 50 it is the teacher.

    ``shift`` is that of a scheduler which comes with the sampler.
    """

    kind: Literal["native"]
    steps: Steps
    shift: Shift | None = None

    def levels(self, geometry: Geometry) -> tuple[FloatArray, Sequence[int]]:
        """The grid, float64[n + 1], and the kept indices."""
        shift = geometry.shift if self.shift is None else self.shift.time_shift()
        return teacher_grid(shift, geometry.tokens, self.steps), range(self.steps)


class Uniform(OnGrid):
    """``steps`` evenly skipped steps of the ``of``-step grid; see ``trajectory.uniform_indices``."""

    kind: Literal["uniform"]
    steps: Steps
    of: Steps = TEACHER_STEPS

    @model_validator(mode="after")
    def _fits(self) -> Uniform:
        if self.steps > self.of:
            raise ValueError(f"cannot keep {self.steps} of {self.of} steps")
        return self

    def levels(self, geometry: Geometry) -> tuple[FloatArray, Sequence[int]]:
        """The grid, float64[n + 1], and the kept indices."""
        return teacher_grid(geometry.shift, geometry.tokens, self.of), uniform_indices(self.steps, self.of)


class Indices(OnGrid):
    """These indices (0-based, rising) of the ``of``-step grid."""

    kind: Literal["indices"]
    indices: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    of: Steps = TEACHER_STEPS

    @model_validator(mode="after")
    def _fits(self) -> Indices:
        if sorted(set(self.indices)) != self.indices or self.indices[-1] >= self.of:
            raise ValueError(f"indices must rise strictly within 0..{self.of - 1}")
        return self

    def levels(self, geometry: Geometry) -> tuple[FloatArray, Sequence[int]]:
        """The grid, float64[n + 1], and the kept indices."""
        return teacher_grid(geometry.shift, geometry.tokens, self.of), self.indices


class SlowFast(OnGrid):
    """Glance's sets of the 50-step grid; see ``trajectory.slow_fast_indices`` for what is published."""

    kind: Literal["slow-fast"]
    slow: Annotated[int, Field(ge=1, le=10)]
    fast: Annotated[int, Field(ge=2, le=20)]

    def levels(self, geometry: Geometry) -> tuple[FloatArray, Sequence[int]]:
        """The grid, float64[n + 1], and the kept indices."""
        early, late = slow_fast_indices(self.slow, self.fast)
        return teacher_grid(geometry.shift, geometry.tokens), early + late
