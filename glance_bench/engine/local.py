"""One process, one unit after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .base import UnitResult, Worker

__all__ = ["LocalEngine"]


class LocalEngine:
    """Does everything here. The first error ends the map: the same process would only meet it again."""

    def map(
        self, units: Sequence[Any], worker_factory: Callable[[], Worker], *, retries: int, timeout: float
    ) -> Iterator[UnitResult]:
        """See ``Engine.map``. Raises what a unit raises; nothing is tried again and nothing watched."""
        worker = worker_factory()
        for unit in units:
            yield UnitResult(unit, worker(unit))

    def about(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass
