"""The first pass: images and their records, unit by unit."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import GlanceBenchError
from ..machine import made_with, settle_threads
from ..models.recorder import Recorder
from ..registry import FAMILIES
from ..store import Run
from ..terminal import Progress
from .base import Made, Team
from .embeddings import Embeddings
from .plan import PlannedModel, Work

__all__ = ["Generator", "HeldModel", "check_device", "generate", "load_model", "png"]


def generate(run: Run, pending: Sequence[Work], progress: Progress, team: Team) -> None:
    """Make every unit of ``pending``, model by model. Each one is published as soon as it is whole."""
    models = list(dict.fromkeys(work.sampler.model for work in pending))
    ordered = sorted(pending, key=lambda work: models.index(work.sampler.model))
    with progress.task("generate", sum(len(work.items) for work in pending)) as advance:
        for work in team.each("generate", run, ordered, partial(Generator, run.folder), progress):
            advance(len(work.items), f"{work.info.model} {work.sampler.name}")


class HeldModel:
    """The model of the last unit, loaded once for all units of it that follow each other."""

    def __init__(self) -> None:
        self._planned: PlannedModel | None = None
        self._loaded: Any = None

    def of(self, work: Work) -> Any:
        """The loaded model that a unit needs. Raises as ``load_model`` does."""
        model, placement = work.sampler.model, work.sampler.made_of
        if self._planned != model:
            self._planned, self._loaded = None, None  # the next one needs the memory
            self._loaded = load_model(model, placement["device"], placement["dtype"])
            self._planned = model
        return self._loaded


class Generator:
    """The worker of this pass, on the run in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._run = Run(folder)
        self._model = HeldModel()

    def __call__(self, work: Work) -> Made:
        """Make and publish one unit."""
        model = self._model.of(work)
        warnings = _make(self._run, work, model, Embeddings(self._run, work.sampler.model.digest))
        return Made(work.info.folder, tuple(warnings))


def load_model(model: PlannedModel, device: str, dtype: str) -> Any:
    """The model of a plan, loaded by its family, offline.

    Raises GlanceBenchError when weights are missing or the device cannot be used.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    settle_threads()
    check_device(device)
    return FAMILIES.get(model.family).load(model.path, device=device, dtype=dtype)


def check_device(device: str) -> None:
    """Raises GlanceBenchError when ``cuda`` is asked for and torch has no GPU to use."""
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise GlanceBenchError(
                f"torch {torch.__version__} finds no usable GPU; check the driver with "
                "nvidia-smi, and that this torch was built for this GPU"
            )


def _make(run: Run, work: Work, model: Any, embeddings: Embeddings) -> list[str]:
    """Make and publish one unit; returns what to warn of."""
    warnings = []
    batch_size = work.made_of["batch_size"]
    images: list[bytes] = []
    rows: list[dict[str, Any]] = []
    start = 0
    while start < len(work.items):
        items = work.items[start : start + batch_size]
        embeds = [embeddings.get(model, item.prompt.text) for item in items]
        recorder = Recorder()
        try:
            size = work.sampler.model.resolution
            noise = model.noise([item.seed for item in items], resolution=size)
            pixels = model.sample(work.sampler.trajectory, embeds, noise, recorder, resolution=size)
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            if batch_size == 1:
                raise GlanceBenchError(
                    f"{work.info.model} {work.info.sampler}: out of memory even for one image; "
                    "free memory, lower 'resolution' or take a profile for a smaller machine"
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
                    "evaluations": round(recorder.evaluations),
                    "batch_size": len(items),
                }
            )
        start += len(items)
    texts = [item.prompt.text for item in work.items]
    made = {"made_of": work.made_of, "sampler_made_of": work.sampler.made_of, "made_with": made_with()}
    run.publish_unit(work.info, images, rows, texts, made)
    return warnings


def png(picture: np.ndarray[Any, Any]) -> bytes:
    """uint8[H, W, 3] as PNG bytes; fast compression, because images are many and disks are not slow."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _out_of_memory(error: BaseException) -> bool:
    """Torch's error class is told by name, so that this module needs no torch."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or "not enough memory" in str(error)
