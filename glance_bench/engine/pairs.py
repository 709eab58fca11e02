"""Scores of image pairs: each image beside the one that the board's reference made from the same noise."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..metrics.base import Images
from ..sealed import Damaged, digest_of, find_sealed, parquet_bytes, read_sealed, seal, sha256_bytes
from ..store import Run
from ..terminal import Progress
from ..units import PAIR_KEYS
from .base import Made, Team
from .plan import Plan, PlannedMetric
from .score import HeldMetrics

__all__ = ["Comparer", "PendingPairs", "pending_pairs", "score_pairs"]

SLICE = 64  # pairs read at once


@dataclass(frozen=True)
class Pairs:
    """Some pairs of one sampler. Each row is (image, reference's image, their two sha256, prompt id)."""

    key: str
    rows: tuple[tuple[str, str, str, str, str], ...]


PendingPairs = list[tuple[PlannedMetric, list[Pairs]]]


def pending_pairs(run: Run, plan: Plan, progress: Progress) -> PendingPairs:
    """For every pair metric, the pairs without a score. All units must have been made.

    Score files that are damaged are named, quarantined and counted as missing.
    """
    metrics = [metric for metric in plan.metrics if metric.metric.kind == "pair"]
    if not metrics:
        return []
    slices = list(_slices(run))
    found: PendingPairs = []
    for metric in metrics:
        assert metric.folder is not None
        parts = find_sealed(run.folder / metric.folder, metric.suffix)
        for part in slices:
            if part.key in parts:
                try:
                    read_sealed(parts[part.key])
                except Damaged as damage:
                    progress.warn(f"{damage}; moved to quarantine, scored again")
                    run.quarantine(damage)
                    del parts[part.key]
        missing = [part for part in slices if part.key not in parts]
        if missing:
            found.append((metric, missing))
    return found


@dataclass(frozen=True)
class Comparing:
    """One metric over some pairs."""

    metric: str
    recipe: str
    folder: str
    pairs: Pairs

    @property
    def label(self) -> str:
        return f"{self.metric} of {self.pairs.rows[0][0]} and {len(self.pairs.rows) - 1} more"


def score_pairs(run: Run, pending: PendingPairs, progress: Progress, team: Team) -> None:
    """Compute what is missing, metric by metric."""
    units = [
        Comparing(planned.name, planned.metric.recipe, str(planned.folder), part)
        for planned, parts in pending
        for part in parts
    ]
    with progress.task("compare", sum(len(unit.pairs.rows) for unit in units)) as advance:
        for unit in team.each("compare", run, units, partial(Comparer, run.folder), progress):
            advance(len(unit.pairs.rows), unit.metric)


class Comparer:
    """The worker of this pass, on the run in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._run = Run(folder)
        self._metrics = HeldMetrics()

    def __call__(self, unit: Comparing) -> Made:
        """Score some pairs and publish the file."""
        metric = self._metrics.of(unit.metric, unit.recipe)
        columns = dict.fromkeys(PAIR_KEYS, "string")
        columns |= {column.name: "float64" for column in metric.columns}
        own = unit.pairs.rows
        images = _read(self._run, [(row[0], row[2]) for row in own])
        references = _read(self._run, [(row[1], row[3]) for row in own])
        rows = [
            {**dict(zip(PAIR_KEYS, row[2:], strict=True)), **values}
            for row, values in zip(own, metric.score_pairs(images, references), strict=True)
        ]
        seal(self._run.folder / unit.folder, unit.pairs.key, "parquet", parquet_bytes(rows, columns))
        return Made(f"{unit.folder}/{unit.pairs.key}")


def _slices(run: Run) -> list[Pairs]:
    """Every image beside the reference's of its board, where that has one from the same noise."""
    columns = ("prompt_id", "index", "image", "image_sha256")
    boards: dict[tuple[str, str], dict[str, list[tuple[Any, ...]]]] = {}
    for unit, table in zip(run.units(), run.record_tables(columns), strict=True):
        own = boards.setdefault((unit.model, unit.prompt_set), {}).setdefault(unit.sampler, [])
        own += zip(*(table[name].to_pylist() for name in columns), strict=True)
    found = []
    for (model, _), samplers in boards.items():
        reference = run.reference_of(model, list(samplers))
        theirs = {(prompt, index): there for prompt, index, *there in samplers.pop(reference)}
        for own in samplers.values():
            rows = []
            for prompt, index, image, sha in own:
                if (there := theirs.get((prompt, index))) is not None:
                    rows.append((image, there[0], sha, there[1], prompt))
            for start in range(0, len(rows), SLICE):
                some = tuple(rows[start : start + SLICE])
                found.append(Pairs(digest_of([row[2:] for row in some])[:16], some))
    return found


def _read(run: Run, files: list[tuple[str, str]]) -> Images:
    """uint8[N, H, W, 3]. Raises Damaged for an image that is not the one recorded."""
    pictures: list[np.ndarray[Any, Any]] = []
    for name, sha256 in files:
        data = (run.folder / name).read_bytes()
        if sha256_bytes(data) != sha256:
            raise Damaged(run.folder / name, "was altered while the run was going on; run again")
        with Image.open(io.BytesIO(data)) as opened:
            pictures.append(np.asarray(opened.convert("RGB")))
    return np.stack(pictures)
