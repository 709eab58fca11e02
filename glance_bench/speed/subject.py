"""What is measured: a model and its samplers' steps, looked at before any weight is loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import GlanceBenchError
from ..models.checkpoints import read_geometry, read_settings
from ..models.random_weights import build, shape_folder
from ..registry import FAMILIES, MODELS, ModelEntry
from ..samplers.cards import load_card
from ..samplers.lora_files import trained_adapters
from ..trajectory import Step, Trajectory
from .adapters import random_adapter
from .flops import Operations, count
from .request import Request

__all__ = ["BARE", "Played", "Subject"]

BARE = "native-10"  # steps that the stock scheduler can play too
BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
GIB = 2**30


@dataclass(frozen=True)
class Played:
    """A sampler's name and steps."""

    name: str
    trajectory: Trajectory


@dataclass(frozen=True)
class Subject:
    """One model. ``folder`` has its configurations; ``bare`` is what a loop around the pipeline plays too."""

    entry: ModelEntry
    folder: Path
    resolution: tuple[int, int]
    samplers: tuple[Played, ...]
    bare: Trajectory
    operations: Operations
    notes: tuple[str, ...]

    def load(self, request: Request) -> Any:
        """The model on its device."""
        if request.random_weights:
            return build(self.folder, device=request.device, dtype=request.dtype)
        return FAMILIES.get(self.entry.family).load(self.folder, device=request.device, dtype=request.dtype)


def resolve(name: str, request: Request, scratch: Path) -> Subject:
    """Everything that a request can be refused for about the model ``name``; ``scratch`` takes random adapters.

    Raises UsageError for unknown names and sizes that do not fit, MissingData for weights that are not here, and
    GlanceBenchError for an adapter that is not trained, or for weights that the device has no room for.
    """
    entry = MODELS.get(name)
    folder = shape_folder(entry) if request.random_weights else entry.path
    resolution = (request.side, request.side) if request.side else read_settings(folder).resolution
    geometry = replace(read_geometry(folder, *resolution), adapters=trained_adapters(entry.adapters))
    samplers = []
    made: dict[str, Path] = {}
    for card in map(load_card, request.samplers):
        if not request.random_weights:
            card.digest(geometry)  # says which adapter is missing
        steps = card.compile(geometry).steps
        if request.random_weights:
            steps = tuple(_with_adapter(step, folder, request.dtype, scratch, made) for step in steps)
        samplers.append(Played(card.name, Trajectory(steps)))
    operations = count(folder, resolution)
    notes = []
    if request.random_weights:
        notes.append("encoding: not measured, the prompt is a random embedding")
    if made:
        notes.append(f"adapters: {', '.join(sorted(made))} are random, of the published recipe's shape")
    needed = (operations.transformer + operations.vae) * BYTES[request.dtype] / GIB
    if needed > request.free_gib:
        raise GlanceBenchError(
            f"{name} in {request.dtype} takes {needed:.1f} GiB for its weights alone, and {request.device} has "
            f"{request.free_gib:.1f} GiB free"
        )
    bare = load_card(BARE).compile(geometry)
    return Subject(entry, folder, resolution, tuple(samplers), bare, operations, tuple(notes))


def _with_adapter(step: Step, folder: Path, dtype: str, scratch: Path, made: dict[str, Path]) -> Step:
    """The step with a random file in place of an adapter that is not here."""
    if step.adapter is None or Path(step.adapter).is_file():
        return step
    if step.adapter not in made:
        file = scratch / folder.name / f"{len(made)}.safetensors"
        random_adapter(folder, dtype, file, seed=len(made))
        made[step.adapter] = file
    return replace(step, adapter=str(made[step.adapter]))
