"""The first pass: images and their records, unit by unit."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..digests import file_digests
from ..errors import GlanceBenchError, out_of_memory
from ..machine import made_with, settle_threads
from ..models.checkpoints import checkpoint_digest
from ..models.placement import FORCED, refuse_emulation
from ..models.recorder import Recorder
from ..registry import FAMILIES
from ..store import Run
from ..terminal import Progress
from .base import Made, Team
from .embeddings import Embeddings, Limited
from .placements import Outgrown
from .plan import PlannedModel, Work

__all__ = [
    "Generator",
    "HeldModel",
    "check_device",
    "generate",
    "load_model",
    "placed_with",
    "played_files",
    "png",
    "prepare",
    "texts_of",
]

CURE = "free memory, lower 'resolution', take a profile for a smaller machine or try --placement auto"


def generate(run: Run, pending: Sequence[Work], progress: Progress, team: Team) -> None:
    """Make every unit of ``pending``, model by model. Each one is published as soon as it is whole.

    Raises Outgrown when one image does not fit under the placement that its model has.
    """
    models = list(dict.fromkeys(work.sampler.weights for work in pending))
    ordered = sorted(pending, key=lambda work: models.index(work.sampler.weights))
    factory = partial(Generator, run.folder, texts_of(pending), played_files(pending))
    with progress.task("generate", sum(len(work.items) for work in pending)) as advance:
        for work in team.each("generate", run, ordered, factory, progress):
            advance(len(work.items), f"{work.info.model} {work.sampler.name}")


def texts_of(works: Iterable[Work]) -> dict[str, tuple[Limited, ...]]:
    """All prompts by model, of the models that a placement has encode them before any image."""
    texts: dict[str, dict[Limited, None]] = {}
    for work in works:
        if work.sampler.model.placement:
            own, limit = texts.setdefault(work.info.model, {}), work.sampler.card.max_sequence_length
            own.update(dict.fromkeys((item.prompt.text, limit) for item in work.items))
    return {model: tuple(own) for model, own in texts.items()}


def played_files(works: Iterable[Work]) -> dict[str, str]:
    """The adapter files that ``works`` play, with their sha256."""
    steps = [step for sampler in {work.sampler for work in works} for step in sampler.trajectory.steps]
    files = sorted({step.adapter for step in steps if step.adapter})
    return dict(zip(files, file_digests([Path(file) for file in files]), strict=True))


class HeldModel:
    """The model of the last unit, loaded once for all units of it that follow each other.

    ``texts`` are those of ``texts_of``. A worker may run on another machine: its checkpoint and ``adapters``
    (``played_files``) must be the ones planned.
    """

    def __init__(self, run: Run, texts: Mapping[str, Sequence[Limited]], adapters: Mapping[str, str]) -> None:
        self._run = run
        self._texts = texts
        self._adapters = adapters
        self._checked: set[str] = set()
        self._planned: PlannedModel | None = None
        self._prepared: tuple[Any, Embeddings] | None = None

    def of(self, work: Work) -> tuple[Any, Embeddings]:
        """The loaded model that a unit needs, and its embeddings.

        Raises as ``prepare`` does, and GlanceBenchError for weights other than the planned ones.
        """
        model, made_of = work.sampler.weights, work.sampler.made_of
        for step in work.sampler.trajectory.steps:
            if step.adapter and step.adapter not in self._checked:
                _refuse_other(
                    step.adapter, file_digests([Path(step.adapter)])[0], self._adapters[step.adapter]
                )
                self._checked.add(step.adapter)
        if self._planned != model or self._prepared is None:
            self._planned = self._prepared = None  # the next one needs the memory
            _refuse_other(str(model.path), checkpoint_digest(model.path), model.digest)
            texts = self._texts.get(model.name, ())
            self._prepared = prepare(self._run, model, made_of["device"], made_of["dtype"], texts)
            self._planned = model
        return self._prepared


def _refuse_other(path: str, there: str, planned: str) -> None:
    if there != planned:
        raise GlanceBenchError(
            f"{path} is not what the run was planned with: {there[:12]}, not {planned[:12]}"
        )


class Generator:
    """The worker of this pass, on the run in ``folder``; ``texts`` and ``adapters`` are those of ``HeldModel``."""

    def __init__(
        self, folder: Path, texts: Mapping[str, Sequence[Limited]], adapters: Mapping[str, str]
    ) -> None:
        self._run = Run(folder)
        self._model = HeldModel(self._run, texts, adapters)
        self._not_finite: set[PlannedModel] = set()

    def __call__(self, work: Work) -> Made:
        """Make and publish one unit."""
        loaded, embeddings = self._model.of(work)
        embeddings.look()
        warnings, finite = _make(self._run, work, loaded, embeddings)
        model = work.sampler.model
        if not finite and model not in self._not_finite:
            self._not_finite.add(model)
            where = f" under placement {model.placement.name}" if model.placement else ""
            warnings.append(
                f"{model.name} {work.sampler.name}: an image is not finite in {work.sampler.made_of['dtype']}{where}; "
                "such images are kept and counted"
            )
        return Made(work.info.folder, tuple(warnings))


def prepare(
    run: Run, model: PlannedModel, device: str, dtype: str, texts: Iterable[Limited]
) -> tuple[Any, Embeddings]:
    """The model of a plan, ready to draw, and its embeddings; under a placement, those of ``texts`` are made first.

    Raises Outgrown when the model does not fit under its placement, GlanceBenchError when it does not without one, and
    as ``load_model`` does.
    """
    loaded, embeddings = None, Embeddings(run, model.encoded_by)
    try:
        loaded = load_model(model, device, dtype)
        if model.placement:
            embeddings.fill(loaded, texts)
            loaded.ready()
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        if model.placement is None:
            raise GlanceBenchError(f"{model.name}: out of memory while it is loaded; {CURE}") from error
        if loaded is not None:
            loaded.release()
        raise Outgrown(model.name, model.placement) from error
    return loaded, embeddings


def load_model(model: PlannedModel, device: str, dtype: str) -> Any:
    """The model of a plan, loaded by its family, offline; under the plan's placement, if it has one.

    Raises GlanceBenchError when weights are missing or the device cannot be used.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    settle_threads()
    check_device(device, dtype)
    placed = {"placement": model.placement} if model.placement else {}
    return FAMILIES.get(model.family).load(model.path, device=device, dtype=dtype, **placed)


def check_device(device: str, dtype: str = "float32") -> None:
    """Raises GlanceBenchError when ``cuda`` is asked for and torch has no GPU, or one that only emulates ``dtype``."""
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise GlanceBenchError(
                f"torch {torch.__version__} finds no usable GPU; check the driver with "
                "nvidia-smi, and that this torch was built for this GPU"
            )
        major, minor = torch.cuda.get_device_capability()
        refuse_emulation(dtype, major + minor / 10, bool(os.environ.get(FORCED)))


def _make(run: Run, work: Work, model: Any, embeddings: Embeddings) -> tuple[list[str], bool]:
    """Make and publish one unit; returns what to warn of, and whether every image is finite."""
    warnings = []
    batch_size, placement = work.made_of["batch_size"], work.sampler.model.placement
    images: list[bytes] = []
    rows: list[dict[str, Any]] = []
    start = 0
    while start < len(work.items):
        items = work.items[start : start + batch_size]
        limit = work.sampler.card.max_sequence_length
        recorder = Recorder()
        try:
            embeds = [embeddings.get(model, item.prompt.text, limit) for item in items]
            size = work.sampler.model.resolution
            noise = model.noise([item.seed for item in items], resolution=size)
            pixels = model.sample(work.sampler.trajectory, embeds, noise, recorder, resolution=size)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if batch_size == 1 and placement:
                model.release()
                raise Outgrown(work.info.model, placement) from error
            if batch_size == 1:
                raise GlanceBenchError(
                    f"{work.info.model} {work.info.sampler}: out of memory even for one image; {CURE}"
                ) from error
            batch_size = max(1, batch_size // 2)
            warnings.append(f"{work.info.sampler}: out of memory, going on with {batch_size} images at once")
            continue
        for item, embed, picture, finite in zip(items, embeds, pixels, recorder.finite, strict=True):
            images.append(png(picture))
            rows.append(
                {
                    "model": work.info.model,
                    "sampler": work.info.sampler,
                    "prompt_set": work.info.prompt_set,
                    "prompt_id": item.prompt.id,
                    "index": item.index,
                    "seed": item.seed,
                    "width": picture.shape[1],
                    "height": picture.shape[0],
                    "finite": bool(finite),
                    "black": not picture.any(),
                    "truncated": bool(embed["truncated"]),
                    "evaluations": round(recorder.evaluations, 6),
                    "batch_size": len(items),
                }
            )
        start += len(items)
    texts = [item.prompt.text for item in work.items]
    made = {
        "made_of": work.made_of,
        "sampler_made_of": work.sampler.made_of,
        "made_with": made_with() | placed_with(work.sampler.model),
    }
    run.publish_unit(work.info, images, rows, texts, made)
    return warnings, all(row["finite"] for row in rows)


def placed_with(model: PlannedModel) -> dict[str, Any]:
    """What ``made_with`` says of a placement: the plan, and the plans that ran out of memory before it."""
    if model.placement is None:
        return {}
    return {"placement": {**model.placement.document(), "outgrown": list(model.outgrown)}}


def png(picture: np.ndarray[Any, Any]) -> bytes:
    """uint8[H, W, 3] as PNG bytes; fast compression, because images are many and disks are not slow."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
