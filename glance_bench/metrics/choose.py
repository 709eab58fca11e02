"""The metrics of a suite by their names: what can be measured here, and what waits for weights or images."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from glance_bench.errors import MissingData, UsageError
from glance_bench.metrics.base import ReferencedMetric
from glance_bench.registry import METRICS

__all__ = ["available", "make_metric"]

TEACHER, DATA = "teacher", "data:"


def make_metric(name: str, reference: str | None = None) -> Any:
    """The registered metric, set against the suite's ``reference`` where it compares with one.

    ``reference`` is "teacher" (the board's reference sampler), "data:" and a path below GLANCE_BENCH_DATA, or a path.
    Raises MissingData when weights or reference images are not here, UsageError for an unknown name or when the
    metric needs a reference and there is none.
    """
    metric = METRICS.get(name)()
    if not isinstance(metric, ReferencedMetric):
        return metric
    if reference is None:
        raise UsageError(
            f"metric {name!r} compares with images of a reference: the suite needs 'reference' "
            "(teacher, data:<path> or a path)"
        )
    return metric.against(None if reference == TEACHER else _place(reference))


def available(names: Iterable[str], reference: str | None) -> tuple[dict[str, Any], dict[str, str]]:
    """The metrics that can be measured on this machine by name, and for the others what they wait for."""
    found: dict[str, Any] = {}
    waiting: dict[str, str] = {}
    for name in names:
        try:
            found[name] = make_metric(name, reference)
        except MissingData as missing:
            waiting[name] = str(missing)
    return found, waiting


def _place(reference: str) -> Path:
    if not reference.startswith(DATA):
        place = Path(reference)
        if not place.exists():
            raise UsageError(f"reference {reference}: no such file or folder")
        return place
    below = reference.removeprefix(DATA)
    folder = os.environ.get("GLANCE_BENCH_DATA")
    if not folder:
        raise MissingData(f"waits for reference images: put them at DIR/{below}, and run with --data DIR")
    place = Path(folder) / below
    if not place.exists():
        raise MissingData(f"waits for reference images at {place}")
    return place
