"""The pass that makes trajectory strips: steps played again for a few images, to see where each was heading.

At a step from sigma the estimate is x - sigma * v, with the latents x at its start and the velocity v that the sampler
used there, guidance and adapter included. Nothing of an image's unit changes. Images are played one at a time, so what
fits memory for a run fits here; it also means that in the last bits the image may differ from the stored one, which
was made in a batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from ..errors import GlanceBenchError
from ..machine import made_with
from ..models.recorder import Recorder
from ..sealed import Damaged, digest_of, find_sealed, json_bytes, seal
from ..store import Run
from ..strips import SCHEMA, check_strip
from ..terminal import Progress
from ..units import read_unit
from .base import Made, Team
from .embeddings import Embeddings, Limited
from .generate import HeldModel, placed_with, played_files, png, texts_of
from .plan import Item, Plan, Work

__all__ = ["Strip", "Stripper", "is_made", "make_strips", "pending_strips", "planned_strips", "strip_entries"]

ROUNDING = 2  # levels of 255 by which the same image may differ when it is made in a batch of another size


@dataclass(frozen=True)
class Strip:
    """The strip of one image: its unit, the image, and the steps (0-based) whose estimates are kept."""

    work: Work
    item: Item
    steps: tuple[int, ...]

    @property
    def folder(self) -> str:
        """Relative to the run folder; it has the name of the sampler's own below ``units``."""
        return str(PurePosixPath("strips", *PurePosixPath(self.work.info.folder).parts[1:-1]))

    @cached_property
    def key(self) -> str:
        """Changes with the unit, so with everything that can change a pixel."""
        return digest_of([SCHEMA, self.work.info.key, self.item.prompt.id, self.item.index, self.steps])[:16]

    @property
    def label(self) -> str:
        info = self.work.info
        return f"{info.model} {info.sampler}, prompt {self.item.prompt.id} of {info.prompt_set}"


def planned_strips(plan: Plan) -> list[Strip]:
    """The strips that the suite asks for, of each sampler's first prompts in each set."""
    settings = plan.suite.strips
    if settings is None:
        return []
    taken: Counter[tuple[Any, str]] = Counter()
    found = []
    for work in plan.works:
        group = (work.sampler, work.info.prompt_set)
        steps = settings.of(len(work.sampler.trajectory))
        for item in work.items if steps else ():
            if item.index == 0 and taken[group] < settings.prompts:
                taken[group] += 1
                found.append(Strip(work, item, steps))
    return found


def strip_entries(plan: Plan) -> list[dict[str, Any]]:
    """The strips of a plan as the manifest lists them: folders, each with the keys that belong to the run."""
    folders: dict[str, list[str]] = {}
    for strip in planned_strips(plan):
        folders.setdefault(strip.folder, []).append(strip.key)
    return [{"folder": folder, "keys": keys} for folder, keys in folders.items()]


def is_made(run: Run, strip: Strip) -> bool:
    """Whether a strip is there, whole. Changes nothing."""
    return check_strip(run.folder / strip.folder, strip.key) == []


def pending_strips(run: Run, plan: Plan, progress: Progress) -> list[Strip]:
    """The strips that are missing. Damaged ones are named, quarantined and count as missing."""
    missing = []
    for strip in planned_strips(plan):
        damages = check_strip(run.folder / strip.folder, strip.key)
        for damage in damages or ():
            progress.warn(f"{damage}; moved to quarantine, made again")
            run.quarantine(damage)
        if damages:
            _retire(run, strip)
        if damages != []:
            missing.append(strip)
    return missing


def _retire(run: Run, strip: Strip) -> None:
    """Quarantine the record of a strip whose files are damaged: the next one may have another name."""
    record = find_sealed(run.folder / strip.folder, "json").get(strip.key)
    if record is not None:
        run.quarantine(Damaged(record, "is the record of a damaged strip"))


def make_strips(run: Run, pending: Sequence[Strip], progress: Progress, team: Team) -> None:
    """Make ``pending``, model by model. Their images must have been made.

    Raises GlanceBenchError for a family that cannot do it.
    """
    models = list(dict.fromkeys(strip.work.sampler.weights for strip in pending))
    ordered = sorted(pending, key=lambda strip: models.index(strip.work.sampler.weights))
    works = [strip.work for strip in pending]
    factory = partial(Stripper, run.folder, texts_of(works), played_files(works))
    with progress.task("strips", len(pending), "strips") as advance:
        for strip in team.each("strips", run, ordered, factory, progress):
            advance(1, f"{strip.work.info.model} {strip.work.info.sampler}")


class Stripper:
    """The worker of this pass, on the run in ``folder``; ``texts`` and ``adapters`` are those of ``HeldModel``."""

    def __init__(
        self, folder: Path, texts: Mapping[str, Sequence[Limited]], adapters: Mapping[str, str]
    ) -> None:
        self._run = Run(folder)
        self._model = HeldModel(self._run, texts, adapters)

    def __call__(self, strip: Strip) -> Made:
        """Make and publish one strip."""
        warnings = _make(self._run, strip, *self._model.of(strip.work))
        return Made(f"{strip.folder}/{strip.key}", tuple(warnings))


class _Estimates(Recorder):
    """Keeps the estimates of some steps, one image's latents each."""

    def __init__(self, steps: Sequence[int]) -> None:
        super().__init__()
        self.estimated = frozenset(steps)
        self.kept: dict[int, Any] = {}

    def on_estimate(self, index: int, latents: Any) -> None:
        self.kept[index] = latents


def _make(run: Run, strip: Strip, model: Any, embeddings: Embeddings) -> list[str]:
    """Make and publish one strip; returns what to warn of."""
    warnings = []
    sampler, info, item = strip.work.sampler, strip.work.info, strip.item
    size = sampler.model.resolution
    watch = _Estimates(strip.steps)
    embed = embeddings.get(model, item.prompt.text, sampler.card.max_sequence_length)
    noise = model.noise([item.seed], resolution=size)
    picture = model.sample(sampler.trajectory, [embed], noise, watch, resolution=size)[0]
    if set(watch.kept) != set(strip.steps):
        raise GlanceBenchError(
            f"model family {type(model).__name__} does not tell its recorder of the estimates: no strips"
        )
    difference = int(np.abs(picture.astype(int) - _stored(run, strip).astype(int)).max())
    if difference > ROUNDING:
        warnings.append(
            f"strip of {strip.label}: the steps played again end {difference} levels of 255 away from the stored "
            "image; its last pictures are not quite of that image"
        )
    estimates = []
    for number in strip.steps:
        step = sampler.trajectory.steps[number]
        pixels = model.decode(watch.kept[number], resolution=size)[0]
        file = seal(run.folder / strip.folder, f"{strip.key}-{number:04d}", "png", png(pixels))
        adapter = _adapter_name(step.adapter)
        estimates.append({"step": number, "sigma": step.sigma, "adapter": adapter, "file": file.name})
    document = {
        "schema": SCHEMA,
        "unit": info.key,
        "made_with": made_with() | placed_with(sampler.model),
        "model": info.model,
        "sampler": info.sampler,
        "prompt_set": info.prompt_set,
        "prompt_id": item.prompt.id,
        "index": item.index,
        "difference": difference,
        "estimates": estimates,
    }
    seal(run.folder / strip.folder, strip.key, "json", json_bytes(document))
    return warnings


def _adapter_name(file: str | None) -> str:
    """Folder and name of a LoRA file, as cards name trained ones: glance-10/slow. The base model has no name."""
    return "" if file is None else f"{Path(file).parent.name}/{Path(file).stem}"


def _stored(run: Run, strip: Strip) -> np.ndarray[Any, Any]:
    """uint8[H, W, 3]: the image in its unit."""
    place = run.folder / strip.work.info.folder
    listed = read_unit(place)["images"][strip.work.items.index(strip.item)]
    with Image.open(place / listed["file"]) as opened:
        return np.asarray(opened.convert("RGB"))
