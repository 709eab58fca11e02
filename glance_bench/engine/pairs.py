"""Scores of image pairs: each image beside the one that the board's reference made from the same noise."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..metrics.base import Images
from ..sealed import Damaged, digest_of, find_sealed, parquet_bytes, read_sealed, seal, sha256_bytes
from ..store import Run
from ..terminal import Progress
from ..units import PAIR_KEYS
from .plan import Plan, PlannedMetric
from .trace import trace

__all__ = ["PendingPairs", "pending_pairs", "score_pairs"]

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


def score_pairs(run: Run, pending: PendingPairs, progress: Progress) -> None:
    """Compute what is missing, metric by metric."""
    with progress.task("compare", sum(len(part.rows) for _, parts in pending for part in parts)) as advance:
        for metric, parts in pending:
            assert metric.folder is not None
            columns = dict.fromkeys(PAIR_KEYS, "string")
            columns |= {column.name: "float64" for column in metric.metric.columns}
            for part in parts:
                images = _read(run, [(row[0], row[2]) for row in part.rows])
                references = _read(run, [(row[1], row[3]) for row in part.rows])
                scored = metric.metric.score_pairs(images, references)
                rows = [
                    {**dict(zip(PAIR_KEYS, row[2:], strict=True)), **values}
                    for row, values in zip(part.rows, scored, strict=True)
                ]
                seal(run.folder / metric.folder, part.key, metric.suffix, parquet_bytes(rows, columns))
                trace("compare", f"{metric.folder}/{part.key}")
                advance(len(part.rows), metric.name)


def _slices(run: Run) -> list[Pairs]:
    """Every image beside the reference's of its board, where that has one from the same noise."""
    columns = ("model", "prompt_set", "sampler", "prompt_id", "index", "image", "image_sha256")
    boards: dict[tuple[str, str], dict[str, list[tuple[Any, ...]]]] = {}
    for table in run.record_tables(columns):
        for model, prompts, sampler, *image in zip(*(table[c].to_pylist() for c in columns), strict=True):
            boards.setdefault((model, prompts), {}).setdefault(sampler, []).append(tuple(image))
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
