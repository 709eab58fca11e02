"""In which order samplers are played, so that a machine that slows down slows all of them. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from ..trajectory import Trajectory

__all__ = ["turns"]


class Timed(Protocol):
    """Something with steps."""

    @property
    def trajectory(self) -> Trajectory: ...


T = TypeVar("T", bound=Timed)


def turns(samplers: Sequence[T], blocks: int, warmup: int) -> list[tuple[int | None, T]]:
    """Who is played when: (block, sampler), the block None while warming up.

    Each block plays every sampler once, every other block backwards: A B, B A, A B, ... Every step of a model is
    alike, so the shortest sampler warms it up; those with adapters load their own.
    """
    shortest = min(samplers, key=lambda sampler: sampler.trajectory.nfe)
    adapted = [s for s in samplers if any(step.adapter for step in s.trajectory.steps)]
    order: list[tuple[int | None, T]] = []
    for _ in range(warmup):
        order += [(None, sampler) for sampler in dict.fromkeys([shortest, *adapted])]
    for block in range(blocks):
        order += [(block, sampler) for sampler in samplers[:: -1 if block % 2 else 1]]
    return order
