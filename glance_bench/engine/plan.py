"""What a run consists of: models, samplers, units of work and metrics, each with the key of all that can change it.

``planning`` makes it from a suite. Needs no torch: what is done and what is left is known before any model is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..metrics.base import FROM_FEATURES
from ..models.placement import Plan as Placement
from ..samplers.cards import SamplerCard
from ..sealed import digest_of
from ..suite import Suite
from ..trajectory import Trajectory
from ..units import UnitInfo
from .adapt import Job

if TYPE_CHECKING:
    from ..prompts import Prompt

__all__ = ["TEACHER", "Item", "Plan", "PlannedMetric", "PlannedModel", "PlannedSampler", "Work"]

TEACHER = "teacher-50"


@dataclass(frozen=True)
class PlannedModel:
    """A checkpoint with its digest and the resolution (height, width) it runs at.

    ``placement`` is None where the whole pipeline is on the device; ``outgrown`` names the plans that ran out of
    memory before it.
    """

    name: str
    family: str
    path: Path
    digest: str
    resolution: tuple[int, int]
    adapters: Path | None
    placement: Placement | None = None
    outgrown: tuple[str, ...] = ()

    @property
    def encoded_by(self) -> str:
        """What prompt embeddings depend on besides the prompt."""
        return digest_of([self.digest, self.placement.encoding]) if self.placement else self.digest


@dataclass(frozen=True, eq=False)
class PlannedSampler:
    """A card compiled for one model. ``key`` hashes ``made_of``: all that its images share.

    ``weights`` is what is loaded: the model, or with the path and digest of the base that the card names in its place.
    ``group`` is the name that it shares with those that differ from it by their training seed alone.
    """

    model: PlannedModel
    weights: PlannedModel
    card: SamplerCard
    group: str
    trajectory: Trajectory
    speedup: float
    made_of: dict[str, Any]

    @cached_property
    def key(self) -> str:
        return digest_of(self.made_of)

    @property
    def name(self) -> str:
        return str(self.card.name)


@dataclass(frozen=True)
class Item:
    """One image to make: prompt, index among the prompt's images, and the seed of its noise."""

    prompt: Prompt
    index: int
    seed: int


@dataclass(frozen=True)
class Work:
    """A unit: a slice of a prompt set under one sampler. ``made_of`` is what its key hashes."""

    info: UnitInfo
    sampler: PlannedSampler
    items: tuple[Item, ...]
    made_of: dict[str, Any]

    @property
    def label(self) -> str:
        return self.info.folder


@dataclass(frozen=True)
class PlannedMetric:
    """A metric, the folder its scores or features go to (None: it reads the records only)."""

    name: str
    metric: Any
    folder: str | None

    @property
    def suffix(self) -> str:
        return "npz" if self.metric.kind in FROM_FEATURES else "parquet"


@dataclass(frozen=True)
class Plan:
    """Everything a run consists of. ``jobs`` are the trainings whose adapters some sampler plays, done or not;
    ``waiting`` says of each metric that cannot be measured here what it waits for.
    """

    suite: Suite
    samplers: tuple[PlannedSampler, ...]
    prompt_sets: tuple[tuple[str, str, tuple[Prompt, ...]], ...]  # name, revision, prompts
    works: tuple[Work, ...]
    metrics: tuple[PlannedMetric, ...]
    jobs: tuple[Job, ...]
    waiting: dict[str, str]

    @cached_property
    def images(self) -> int:
        return sum(len(work.items) for work in self.works)

    @property
    def evaluations(self) -> int:
        """Nominal forward passes of all images together."""
        return sum(len(work.items) * work.sampler.trajectory.nfe for work in self.works)

    def by_model(self) -> Iterator[tuple[PlannedModel, list[PlannedSampler]]]:
        for model in dict.fromkeys(sampler.model for sampler in self.samplers):
            yield model, [sampler for sampler in self.samplers if sampler.model == model]

    def prompts_document(self) -> dict[str, Any]:
        """What ``prompts.json`` holds."""
        sets = [
            {"name": name, "revision": revision, "prompts": [_plain_prompt(p) for p in prompts]}
            for name, revision, prompts in self.prompt_sets
        ]
        return {"schema": "glance-bench/prompts/1", "sets": sets}

    def manifest(self, timing: list[dict[str, str]], strips: list[dict[str, Any]]) -> dict[str, Any]:
        """What ``manifest.json`` holds; ``timing`` and ``strips`` as those passes list their files."""
        return {
            "schema": "glance-bench/manifest/1",
            "name": self.suite.label,
            "units": [asdict(work.info) for work in self.works],
            "samplers": [
                {
                    "model": s.model.name,
                    "sampler": s.name,
                    "group": s.group,
                    "title": str(s.card.title),
                    "nfe": s.trajectory.nfe,
                    "steps": len(s.trajectory),
                    "speedup": s.speedup,
                    "teacher": s.name == TEACHER,
                    **{key: value for key in ("licence", "citation") if (value := getattr(s.card, key))},
                }
                for s in self.samplers
            ],
            "adapters": [job.document() for job in self.jobs],
            "metrics": [
                {"name": m.name, "recipe": m.metric.recipe, "kind": m.metric.kind, "folder": m.folder}
                for m in self.metrics
            ],
            "waiting": self.waiting,
            "timing": timing,
            "strips": strips,
        }


def _plain_prompt(prompt: Prompt) -> dict[str, Any]:
    return {
        "id": prompt.id,
        "text": prompt.text,
        "category": prompt.category,
        "wanted_text": list(prompt.wanted_text),
        "meta": dict(prompt.meta),
    }
