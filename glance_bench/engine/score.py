"""The second pass: scores and features of images, each image once for a recipe."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import GlanceBenchError, out_of_memory
from ..exchange.pending import ImportedWork
from ..metrics.base import FROM_FEATURES
from ..metrics.choose import make_metric
from ..sealed import Damaged, find_sealed, parquet_bytes, read_sealed, seal, sha256_bytes
from ..store import Run
from ..terminal import Progress
from ..units import read_unit
from .base import Made, Team
from .plan import Plan, PlannedMetric, Work

__all__ = ["HeldMetrics", "Pending", "Scorer", "pending_scores", "score"]

Scorable = Work | ImportedWork
Pending = list[tuple[PlannedMetric, list[Scorable]]]


def pending_scores(run: Run, plan: Plan, works: Iterable[Scorable], progress: Progress) -> Pending:
    """For every metric, those of ``works`` (which must be made) whose scores are missing.

    Score files that are damaged are named, quarantined and counted as missing. Metrics with the same features
    share them.
    """
    keys = {run.unit_marks(work.info.folder).score_key: work for work in works}
    found: Pending = []
    seen: set[str] = set()
    for metric in plan.metrics:
        if metric.folder is None or metric.metric.kind == "pair" or metric.folder in seen:
            continue
        seen.add(metric.folder)
        parts = find_sealed(run.folder / metric.folder, metric.suffix)
        for key in keys.keys() & parts.keys():
            try:
                read_sealed(parts[key])
            except Damaged as damage:
                progress.warn(f"{damage}; moved to quarantine, scored again")
                run.quarantine(damage)
                del parts[key]
        missing = [work for key, work in keys.items() if key not in parts]
        if missing:
            found.append((metric, missing))
    return found


@dataclass(frozen=True)
class Scoring:
    """One metric over one unit's worth of images; without ``work``, the making of what a metric compares with."""

    metric: str
    recipe: str
    folder: str
    work: Scorable | None

    @property
    def label(self) -> str:
        return f"{self.metric} of {self.work.info.folder if self.work else 'its reference'}"


def score(run: Run, pending: Pending, reference: str | None, progress: Progress, team: Team) -> None:
    """Compute what is missing, metric by metric, one file a unit's worth of images.

    ``reference`` is the suite's, for metrics that compare with one.
    """
    units: list[Scoring] = []
    for planned, works in pending:
        assert planned.folder is not None
        metric = planned.metric
        units += [Scoring(planned.name, metric.recipe, planned.folder, work) for work in works]
        if metric.kind == "corpus" and not getattr(metric, "against_board", False):
            units.append(Scoring(planned.name, metric.recipe, planned.folder, None))
    total = sum(len(work.items) for _, works in pending for work in works)
    with progress.task("score", total) as advance:
        for unit in team.each("score", run, units, partial(Scorer, run.folder, reference), progress):
            advance(len(unit.work.items) if unit.work else 0, unit.metric)


class HeldMetrics:
    """The metrics of a worker, each made once; ``reference`` is the suite's."""

    def __init__(self, reference: str | None = None) -> None:
        self._reference = reference
        self._made: dict[str, Any] = {}

    def of(self, name: str, recipe: str) -> Any:
        """The metric. Raises as ``make_metric`` does, and GlanceBenchError when it is another one here."""
        if name not in self._made:
            metric = make_metric(name, self._reference)
            if metric.recipe != recipe:
                raise GlanceBenchError(
                    f"metric {name} is {metric.recipe!r} here, and {recipe!r} was asked for"
                )
            self._made[name] = metric
        return self._made[name]


class Scorer:
    """The worker of this pass, on the run in ``folder``."""

    def __init__(self, folder: Path, reference: str | None) -> None:
        self._run = Run(folder)
        self._metrics = HeldMetrics(reference)

    def __call__(self, unit: Scoring) -> Made:
        """Score one unit's images and publish the file. Raises GlanceBenchError when memory runs out."""
        metric = self._metrics.of(unit.metric, unit.recipe)
        try:
            return self._score(unit, metric)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            raise GlanceBenchError(
                f"metric {unit.metric}: out of memory ({unit.recipe}); free memory, or leave it out (--metrics)"
            ) from error

    def _score(self, unit: Scoring, metric: Any) -> Made:
        room = self._run.folder / unit.folder
        if unit.work is None:
            metric.reference(room)
            return Made()
        key, shas, images = read_images(self._run, unit.work)
        prompts = [item.prompt for item in unit.work.items]
        if metric.kind in FROM_FEATURES:
            seal(room, key, "npz", _features(shas, metric.features(images)))
        else:
            seal(room, key, "parquet", _scores(metric, shas, prompts, metric.score(images, prompts)))
        return Made(f"{unit.folder}/{key}")


def read_images(run: Run, work: Scorable) -> tuple[str, list[str], np.ndarray[Any, Any]]:
    """A unit's score key, its images' sha256, and the images, uint8[N, H, W, 3].

    Raises Damaged for an image that is not the one recorded.
    """
    place = run.folder / work.info.folder
    document = read_unit(place)
    pictures = []
    for image in document["images"]:
        data = (place / image["file"]).read_bytes()
        if sha256_bytes(data) != image["sha256"]:
            raise Damaged(place / image["file"], "was altered while the run was going on; run again")
        with Image.open(io.BytesIO(data)) as opened:
            pictures.append(np.asarray(opened.convert("RGB")))
    return run.score_key(document), [image["sha256"] for image in document["images"]], np.stack(pictures)


def _scores(
    metric: Any, shas: Sequence[str], prompts: Sequence[Any], rows: Sequence[dict[str, Any]]
) -> bytes:
    columns = {"image_sha256": "string", "prompt_id": "string"}
    columns |= {column.name: "float64" for column in metric.columns}
    columns |= dict.fromkeys(metric.notes, "string")
    keyed = [
        {"image_sha256": sha, "prompt_id": prompt.id, **row}
        for sha, prompt, row in zip(shas, prompts, rows, strict=True)
    ]
    return parquet_bytes(keyed, columns)


def _features(shas: Sequence[str], features: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, image_sha256=np.array(shas), features=features.astype(np.float32))
    return buffer.getvalue()
