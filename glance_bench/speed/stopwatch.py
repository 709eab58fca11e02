"""Component times of one image, without stopping a GPU for them.

On a GPU a mark is an event in the stream of its work; the host runs ahead, and only when the image is there are the
distances between events read. On a CPU a mark is the clock's time.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from ..models.recorder import Recorder

__all__ = ["Clock", "CudaClock", "HostClock", "Stopwatch", "clock_of"]


class Clock(Protocol):
    """Marks moments. ``seconds`` may be asked once the device is idle."""

    def mark(self) -> Any:
        """This moment in the device's work."""

    def seconds(self, start: Any, end: Any) -> float:
        """From one mark to another."""


class HostClock:
    """The wall."""

    def mark(self) -> float:
        return time.perf_counter()

    def seconds(self, start: float, end: float) -> float:
        return end - start


class CudaClock:
    """Events in the current stream of the current GPU."""

    def mark(self) -> Any:
        import torch

        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, start: Any, end: Any) -> float:
        return float(start.elapsed_time(end)) / 1000.0


def clock_of(device: str) -> Clock:
    """For "cpu" or "cuda"."""
    return CudaClock() if device == "cuda" else HostClock()


class Stopwatch(Recorder):
    """Watches one call of ``model.sample``; read it when the images are there."""

    waits = False

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._spans: dict[str, list[tuple[Any, Any]]] = defaultdict(list)
        self._ends: list[Any] = []

    def on_step(self, index: int, latents: Any) -> None:
        """Marks the end of step ``index``."""
        self._ends.append(self._clock.mark())

    @contextmanager
    def component(self, name: str) -> Iterator[None]:
        """Marks both ends of the block."""
        start = self._clock.mark()
        try:
            yield
        finally:
            self._spans[name].append((start, self._clock.mark()))

    def spent(self, name: str) -> float | None:
        """Seconds of a component, its blocks added up; None for one that did not occur."""
        spans = self._spans.get(name)
        return None if spans is None else sum(self._clock.seconds(*span) for span in spans)

    def steps(self) -> list[float]:
        """Seconds of each step, without the switch of adapters before it."""
        starts = [end for _, end in self._spans["switch"]]
        return [self._clock.seconds(*span) for span in zip(starts, self._ends, strict=True)]
