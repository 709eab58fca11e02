"""What a suite costs on a given machine, before anything of it is here: hours, memory, disk, downloads. No torch.

Needs neither weights nor prompts nor the machine: published models have known shapes and published prompt sets known
lengths. Each number says where it is from. What is counted is making the images; training adapters, scoring, timing
and encoding prompts come on top.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import MissingData, UsageError
from ..machine import free_ram_gib
from ..models.checkpoints import family_geometry, read_geometry, read_settings
from ..models.placement import Plan as Placement
from ..models.placement import activation_dtype, pick
from ..profiles import Target
from ..prompts.sources import SOURCES
from ..registry import PROMPT_SETS
from ..samplers.cards import Geometry, load_card, lora_card
from ..suite import LoraSampler, PromptUse, Suite, TrainedSampler
from ..trajectory import Trajectory
from .downloads import downloads
from .estimate import image_bytes
from .pace import Pace, Pacer, Subject, records
from .plan import TEACHER
from .planning import model_entry

__all__ = ["Forecast", "Memory", "Row", "document", "forecast"]

PUBLISHED_SIDE = 1024


@dataclass(frozen=True)
class Row:
    """One sampler on one model: its ``images`` and what one of them takes."""

    model: str
    sampler: str
    images: int
    steps: int
    nfe: int
    speedup: float
    pace: Pace

    @property
    def hours(self) -> float:
        return self.images * self.pace.seconds / 3600

    def document(self) -> dict[str, Any]:
        """JSON data; ``seconds`` are of one image, ``source`` and ``basis`` say where they are from."""
        own = {name: getattr(self, name) for name in ("model", "sampler", "images", "steps", "nfe", "hours")}
        return own | {"speedup": round(self.speedup, 4)} | asdict(self.pace)


@dataclass(frozen=True)
class Memory:
    """How a model is placed: the plan, or None and ``why`` none fits; and the ``dtype`` that it computes in."""

    model: str
    plan: Placement | None
    dtype: str
    why: str = ""


@dataclass(frozen=True)
class Forecast:
    """Rows in the suite's order, model by model."""

    target: Target
    rows: tuple[Row, ...]
    memory: tuple[Memory, ...]
    disk: int

    @property
    def hours(self) -> float:
        return sum(row.hours for row in self.rows)


def forecast(suite: Suite, target: Target, timed: dict[tuple[str, str], float]) -> Forecast:
    """For a resolved suite. ``timed`` are seconds of an image by model and sampler that this run measured itself.

    Raises UsageError for bad requests, GlanceBenchError for damaged files.
    """
    known = records()
    rows, memory, disk = [], [], 0
    for subject, shape in _models(suite):
        placed = _placed(subject, suite, target)
        memory.append(placed)
        pacer = Pacer(target, placed.dtype, timed, known, placed.plan.name if placed.plan else None)
        images = suite.images_per_prompt * sum(
            _count(use) for use in suite.prompts if use.models is None or subject.name in use.models
        )
        teacher = load_card(TEACHER).compile(shape)
        for name, trajectory in _samplers(suite, shape):
            pace = pacer(subject, name, trajectory.nfe)
            rows.append(
                Row(
                    subject.name,
                    name,
                    images,
                    len(trajectory),
                    trajectory.nfe,
                    trajectory.speedup(teacher),
                    pace,
                )
            )
            disk += images * image_bytes(subject.resolution)
    return Forecast(target, tuple(rows), tuple(memory), disk)


def document(made: Forecast, suite: Suite) -> dict[str, Any]:
    """JSON data: hours in all, memory of each model, bytes on disk, downloads."""
    wanted = downloads(suite)
    return {
        "device": str(made.target),
        "gpu": made.target.gpu is not None,
        "here": made.target.here,
        "hours": made.hours,
        "sources": sorted({row.pace.source for row in made.rows}),
        "memory": [
            {"model": one.model, **(one.plan.document() if one.plan else {"plan": None}), "why": one.why}
            for one in made.memory
        ],
        "disk": made.disk,
        "downloads": [asdict(one) for one in wanted],
        "download_gb": sum(one.gb or 0 for one in wanted if not one.here),
    }


def _models(suite: Suite) -> Iterator[tuple[Subject, Geometry]]:
    """The suite's models with their geometry; of those whose weights are not here what is published of them."""
    side = suite.resolution
    for entry in suite.models:
        found = model_entry(entry)
        path: Path | None = None
        try:
            path = found.path
        except MissingData:
            shape, size = family_geometry(found.family, side), (side or PUBLISHED_SIDE,) * 2
        if path is not None:
            size = (side, side) if side else read_settings(path).resolution
            shape = read_geometry(path, *size)
        yield Subject(found.name, found.family, path, size, shape.tokens), shape


def _samplers(suite: Suite, shape: Geometry) -> Iterator[tuple[str, Trajectory]]:
    """Names and steps of those that are for the model's family.

    Who serves the steps costs nothing, so adapters need not be trained or fetched for this.
    """
    trained = {entry.name: entry for entry in suite.train}
    for sampler in suite.samplers:
        if isinstance(sampler, LoraSampler):
            card = lora_card(sampler.lora, sampler.scale, sampler.like)
        else:
            card = load_card(sampler if isinstance(sampler, str) else sampler.like)
        names = [card.name]
        if isinstance(sampler, TrainedSampler):
            entry = trained[sampler.adapters]
            names = [sampler.label + entry.labels(seed)[-1].removeprefix(entry.name) for seed in entry.seeds]
        if shape.family in card.families:
            trajectory = card.compile(shape)
            yield from ((name, trajectory) for name in names)


def _placed(subject: Subject, suite: Suite, target: Target) -> Memory:
    """What the suite wants, if it fits. Of a machine that is not here the host memory is taken to suffice."""
    ram = free_ram_gib() if target.here else math.inf
    wanted = suite.placements.get(subject.name, [suite.placement])[-1]
    try:
        plan, said = pick(
            wanted,
            subject.path or subject.name,
            target.gpu,
            ram,
            subject.resolution,
            suite.dtype,
            here=target.here,
        )
    except UsageError as error:  # a family that places itself
        return Memory(subject.name, None, suite.dtype, str(error))
    if plan is not None:
        return Memory(subject.name, plan, plan.dtype)
    compute = target.gpu.compute if target.gpu else None
    dtype = activation_dtype(subject.family, suite.dtype, compute) if wanted else suite.dtype
    return Memory(subject.name, None, dtype, "; ".join(f"{name} {why}" for name, why in said.items()))


def _count(use: PromptUse) -> int:
    """How many prompts a suite takes of a set; published sets are as long as their publishers say."""
    if use.texts is not None:
        return len(use.texts[: use.limit])
    if use.set in SOURCES:
        total = sum(source.count for source in SOURCES[use.set])
        return total if use.limit is None else min(total, use.limit)
    return len(PROMPT_SETS.get(use.set)(use.limit).prompts)
