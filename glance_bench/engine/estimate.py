"""What a plan will cost: evaluations, disk, time; from measurements where the run has any, else a guess."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..machine import threads
from ..sealed import find_sealed
from ..store import Run
from .plan import Plan, PlannedModel, Work

__all__ = ["Cost", "cost_of"]

# Useful floating point operations a second, for a first guess: one CPU thread in float32, a V100 in float16.
CPU_THREAD = 3e10
GPU = 5e13
TEXT_TOKENS = 64
PNG_RATIO = 0.5  # bytes of a PNG over bytes of its pixels


@dataclass(frozen=True)
class Cost:
    """What is left to do: images, nominal evaluations, bytes on disk, seconds of generation and their source.

    ``source`` is "measured" (the run's own timing pass) or "guessed" (parameters, tokens and a rate for the
    kind of device; right within a factor of three).
    """

    images: int
    evaluations: int
    disk: int
    seconds: float
    source: str


def cost_of(run: Run, plan: Plan, works: Iterable[Work]) -> Cost:
    """The cost of making ``works``."""
    measured = _measured(run, plan)
    images = evaluations = disk = 0
    seconds = 0.0
    source = "measured"
    for work in works:
        sampler, count = work.sampler, len(work.items)
        height, width = sampler.model.resolution
        images += count
        evaluations += count * sampler.trajectory.nfe
        disk += math.ceil(count * height * width * 3 * PNG_RATIO)
        one = measured.get((sampler.model.name, sampler.name))
        if one is None:
            source = "guessed"
            one = sampler.trajectory.nfe * _guess(sampler.model, plan.suite.device)
        seconds += count * one
    return Cost(images, evaluations, disk, seconds, source)


def _measured(run: Run, plan: Plan) -> dict[tuple[str, str], float]:
    """Median seconds of an image by model and sampler, where this run was timed on this hardware."""
    from ..timing import timing_entries

    entries = timing_entries(plan)
    timed = [e for e in entries if e["key"] in find_sealed(run.folder / e["folder"], "parquet")]
    if not timed or not (run.folder / "manifest.json").is_file():
        return {}
    frame = run.timing()
    totals = frame[frame["component"] == "total"].groupby(["model", "sampler"])["seconds"].median()
    return {(str(model), str(sampler)): float(value) for (model, sampler), value in totals.items()}


def _guess(model: PlannedModel, device: str) -> float:
    """Seconds of one evaluation for one image: 2 operations a parameter and token, at the device's rate."""
    height, width = model.resolution
    parameters = sum(_parameters(path) for path in (model.path / "transformer").glob("*.safetensors"))
    tokens = height * width / 256 + TEXT_TOKENS
    return 2 * parameters * tokens / (GPU if device == "cuda" else CPU_THREAD * threads())


def _parameters(path: Any) -> int:
    """How many numbers a safetensors file holds, from its header."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
