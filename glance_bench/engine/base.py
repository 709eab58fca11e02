"""What an engine is: something that has workers do units of work, without knowing what a unit is.

A pass gives its units and a way to make a worker; a worker writes what it makes into the run folder, whole, and says
where. What fails is tried again as often as the team has patience for, then listed, and everything else goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..errors import Failures, GlanceBenchError
from ..mirror import Mirror
from ..store import Run
from ..terminal import Progress
from .trace import trace

__all__ = ["RETRIES", "Engine", "Halt", "Made", "Team", "Unit", "UnitResult", "Worker"]

RETRIES = 2


class Unit(Protocol):
    """Something to do, small enough to be sent to another machine."""

    @property
    def label(self) -> str:
        """What it is called where it failed."""
        ...


@dataclass(frozen=True)
class Made:
    """What a worker made of a unit.

    ``path`` is relative to the run folder: a folder, or sealed files whose names begin so; "" when there is nothing
    to tell of. ``warnings`` are for the user.
    """

    path: str = ""
    warnings: tuple[str, ...] = ()


class Halt(GlanceBenchError):
    """Raised by a worker when other units would fare no better: it ends the map, in the process that maps.

    It travels between processes, so a class with arguments of its own must be picklable.
    """


class Worker(Protocol):
    """Does one unit after the other in one process, and keeps what the next one can use: a loaded model."""

    def __call__(self, unit: Any, /) -> Made: ...


@dataclass(frozen=True)
class UnitResult:
    """What became of a unit: ``failed`` says why it was given up, ``retried`` why each earlier try ended."""

    unit: Any
    made: Made = Made()
    failed: str | None = None
    retried: tuple[str, ...] = ()


class Engine(Protocol):
    """Maps units over workers."""

    def map(
        self, units: Sequence[Any], worker_factory: Callable[[], Worker], *, retries: int, timeout: float
    ) -> Iterator[UnitResult]:
        """The results of ``units`` as they come, each unit at most once; the order may be another one.

        ``retries`` is how often a unit that failed is tried again, ``timeout`` how many seconds a try may take.
        An engine stops early when nothing succeeds any more. No worker is left when the iterator has ended. Raises the
        Halt of a worker.
        """
        ...

    def about(self) -> dict[str, Any]:
        """What env.json says of it; nothing when it is this process alone."""
        ...

    def close(self) -> None:
        """End what may still run; called however a run ends."""
        ...


@dataclass
class Team:
    """An engine, how patient it is, where else the run is kept, and what went wrong so far. One run has one.

    ``timeout`` is in seconds; by default none is watched for.
    """

    engine: Engine
    retries: int = RETRIES
    timeout: float = float("inf")
    mirror: Mirror | None = None
    failures: list[str] = field(default_factory=list)
    retried: list[dict[str, str]] = field(default_factory=list)

    def each(
        self,
        a_pass: str,
        run: Run,
        units: Sequence[Any],
        worker_factory: Callable[[], Worker],
        progress: Progress,
    ) -> Iterator[Any]:
        """The units of a pass as they are done. Those that fail are kept in ``failures``."""
        results = self.engine.map(units, worker_factory, retries=self.retries, timeout=self.timeout)
        left, again = len(units), len(self.retried)
        for result in results:
            left -= 1
            label = f"{a_pass} {result.unit.label}"
            for reason in result.retried:
                self.retried.append({"unit": label, "why": reason})
                progress.warn(f"{label}: {reason}; tried again")
                trace("retry", label)
            if result.failed is not None:
                self.failures.append(f"{label}: {result.failed}")
                continue
            for warning in result.made.warnings:
                progress.warn(warning)
            if result.made.path:
                trace(a_pass, result.made.path)
                self.publish(result.made.path)
            yield result.unit
        if left:
            self.failures.append(
                f"{a_pass}: {left} more units were not tried, since nothing succeeded any more"
            )
        if len(self.retried) > again:
            run.sweep()  # what killed workers left

    def publish(self, *paths: str) -> None:
        """Copy these paths below the run folder to where the run is kept as well, if anywhere."""
        if self.mirror:
            for path in paths:
                self.mirror.push(path)

    def settle(self) -> None:
        """Raises Failures when a unit was given up."""
        if self.failures:
            raise Failures([*self.failures, "the same command tries again what failed; the rest is done"])

    def about(self) -> dict[str, Any]:
        """The engine and the tries that failed, for env.json; nothing for one process."""
        engine = self.engine.about()
        return {"engine": {**engine, "tried_again": self.retried}} if engine else {}
