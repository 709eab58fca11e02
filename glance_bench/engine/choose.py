"""Engines by their names."""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError, near_misses
from .base import Engine
from .local import LocalEngine

__all__ = ["make_engine"]

NAMES = ("local", "ray")


def make_engine(
    name: str,
    folder: Path,
    device: str,
    *,
    address: str | None = None,
    workers: int | None = None,
    gpus_per_worker: float | None = None,
) -> Engine:
    """The engine called ``name`` for a run in ``folder`` on ``device``; what the rest means, ``RayEngine`` says.

    Raises UsageError for an unknown name and for options that the engine has no use for, GlanceBenchError when
    Ray is not installed.
    """
    if name not in NAMES:
        raise UsageError(f"unknown engine {name!r}; {near_misses(name, NAMES)}")
    if name == "ray":
        from .ray import RayEngine

        return RayEngine(
            folder, device, address=address, workers=workers, gpus_per_worker=gpus_per_worker or 1.0
        )
    given = {"--address": address, "--workers": workers, "--gpus-per-worker": gpus_per_worker}
    useless = [option for option, value in given.items() if value is not None]
    if useless:
        raise UsageError(f"{', '.join(useless)} is for --engine ray; engine local is one process")
    return LocalEngine()
