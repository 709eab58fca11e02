"""The second pass: scores and features of images, each image once for a recipe."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ..exchange.pending import ImportedWork
from ..metrics.base import FROM_FEATURES
from ..sealed import Damaged, find_sealed, parquet_bytes, read_sealed, seal, sha256_bytes
from ..store import Run
from ..terminal import Progress
from ..units import read_unit
from .plan import Plan, PlannedMetric, Work
from .trace import trace

__all__ = ["Pending", "pending_scores", "score"]

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


def score(run: Run, pending: Pending, progress: Progress) -> None:
    """Compute what is missing, metric by metric, one file a unit's worth of images."""
    total = sum(len(work.items) for _, works in pending for work in works)
    with progress.task("score", total) as advance:
        for metric, works in pending:
            assert metric.folder is not None
            for work in works:
                key, shas, images = read_images(run, work)
                prompts = [item.prompt for item in work.items]
                if metric.metric.kind in FROM_FEATURES:
                    data = _features(shas, metric.metric.features(images))
                else:
                    data = _scores(metric.metric, shas, prompts, metric.metric.score(images, prompts))
                seal(run.folder / metric.folder, key, metric.suffix, data)
                trace("score", f"{metric.folder}/{key}")
                advance(len(work.items), metric.name)
            if metric.metric.kind == "corpus" and not getattr(metric.metric, "against_board", False):
                metric.metric.reference(run.folder / metric.folder)


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
