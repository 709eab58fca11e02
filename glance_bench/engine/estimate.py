"""What is left of a plan: images, evaluations, disk, time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .pace import ARITHMETIC, RECORD, TIMED, Pace
from .plan import Work

__all__ = ["Cost", "cost_of", "image_bytes"]

PNG_RATIO = 0.5  # bytes of a PNG over bytes of its pixels
SOURCES = (TIMED, RECORD, ARITHMETIC)  # the surest first


@dataclass(frozen=True)
class Cost:
    """What is left to do: images, nominal evaluations, bytes on disk, seconds of generation and their source.

    ``source`` is that of the least sure pace among them; see ``pace.Pace``.
    """

    images: int
    evaluations: int
    disk: int
    seconds: float
    source: str


def cost_of(works: Iterable[Work], paces: Mapping[tuple[str, str], Pace]) -> Cost:
    """The cost of making ``works``, with what an image takes by model and sampler."""
    images = evaluations = disk = 0
    seconds = 0.0
    source = TIMED
    for work in works:
        sampler, count = work.sampler, len(work.items)
        pace = paces[sampler.model.name, sampler.name]
        images += count
        evaluations += count * sampler.trajectory.nfe
        disk += count * image_bytes(sampler.model.resolution)
        seconds += count * pace.seconds
        source = max(source, pace.source, key=SOURCES.index)
    return Cost(images, evaluations, disk, seconds, source)


def image_bytes(resolution: tuple[int, int]) -> int:
    """About how many bytes a PNG of this (height, width) has."""
    height, width = resolution
    return math.ceil(height * width * 3 * PNG_RATIO)
