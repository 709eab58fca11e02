"""What is measured: a model and its samplers' steps, looked at before any weight is loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import GlanceBenchError, UsageError, near_misses
from ..machine import free_ram_gib
from ..models.checkpoints import read_geometry, read_settings
from ..models.placement import PLANS, Plan, lacking, placements
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


@dataclass(frozen=True)
class Played:
    """A sampler's name and steps, the most tokens of a prompt that it takes, and what it computes with them."""

    name: str
    trajectory: Trajectory
    limit: int | None
    operations: Operations


@dataclass(frozen=True)
class Subject:
    """One model. ``folder`` has its configurations; ``bare`` is what a loop around the pipeline plays too."""

    entry: ModelEntry
    folder: Path
    resolution: tuple[int, int]
    samplers: tuple[Played, ...]
    bare: Trajectory
    operations: Operations
    plan: Plan
    notes: tuple[str, ...]

    def load(self, request: Request) -> Any:
        """The model, placed as its plan says."""
        if request.random_weights:
            return build(self.folder, device=request.device, dtype=self.plan.dtype, plan=self.plan)
        placed = {} if _is_default(self.plan) else {"placement": self.plan}
        return FAMILIES.get(self.entry.family).load(
            self.folder, device=request.device, dtype=self.plan.dtype, **placed
        )


def resolve(name: str, request: Request, scratch: Path) -> Subject:
    """Everything that a request can be refused for about the model ``name``; ``scratch`` takes random adapters.

    Raises UsageError for unknown names and sizes that do not fit, MissingData for weights that are not here, and
    GlanceBenchError for an adapter that is not trained, or where no placement fits: what each would need.
    """
    entry = MODELS.get(name)
    folder = shape_folder(entry) if request.random_weights else entry.path
    resolution = (request.side, request.side) if request.side else read_settings(folder).resolution
    geometry = replace(read_geometry(folder, *resolution), adapters=trained_adapters(entry.adapters))
    plan = _plan(name, resolution, request)
    samplers = []
    operations: dict[int | None, Operations] = {}
    made: dict[str, Path] = {}
    for card in map(load_card, request.samplers):
        if not request.random_weights:
            card.digest(geometry)  # says which adapter is missing
        if card.base is not None:
            raise UsageError(
                f"sampler {card.name!r} brings the weights of {card.base}: time that model instead"
            )
        trajectory = card.compile(geometry)
        if request.random_weights:
            served = (_with_adapter(step, folder, plan.dtype, scratch, made) for step in trajectory.steps)
            trajectory = replace(trajectory, steps=tuple(served))
        limit = card.max_sequence_length
        operations[limit] = operations.get(limit) or count(folder, resolution, limit)
        samplers.append(Played(card.name, trajectory, limit, operations[limit]))
    notes = []
    if request.random_weights:
        notes.append("encoding: not measured, the prompt is a random embedding")
        if any(sampler.trajectory.cache is not None for sampler in samplers):
            notes.append(
                "caches: what they leave out depends on the weights, and random ones say little about it"
            )
    if made:
        notes.append(f"adapters: {', '.join(sorted(made))} are random, of the published recipe's shape")
    bare = load_card(BARE).compile(geometry)
    return Subject(entry, folder, resolution, tuple(samplers), bare, operations[None], plan, tuple(notes))


def _plan(name: str, resolution: tuple[int, int], request: Request) -> Plan:
    """The fastest placement that fits, or the one asked for if it does; random weights have no encoders to keep."""
    gpu, ram = request.gpu, free_ram_gib()
    plans = placements(name, resolution, gpu.compute if gpu else None, request.dtype)
    plans = [plan for plan in plans if plan.drops_encoders or not request.random_weights]
    if request.placement != "auto":
        known = [plan.name for plan in plans]
        if request.placement not in known:
            raise UsageError(
                f"--placement {request.placement}: {near_misses(request.placement, ['auto', *known])}"
            )
        plans = [plans[known.index(request.placement)]]
    reasons = {plan.name: lacking(plan, gpu, ram, here=True) for plan in plans}
    fitting = next((plan for plan in plans if not reasons[plan.name]), None)
    if fitting is None:
        why = "; ".join(f"{plan} {reason}" for plan, reason in reasons.items())
        raise GlanceBenchError(
            f"{name} at {resolution[0]}x{resolution[1]} does not fit {gpu or 'this CPU'}: {why}"
        )
    return fitting


def _is_default(plan: Plan) -> bool:
    """Whether it does what loading does without a plan."""
    return plan.name == PLANS[0] and not plan.numerics


def _with_adapter(step: Step, folder: Path, dtype: str, scratch: Path, made: dict[str, Path]) -> Step:
    """The step with a random file in place of an adapter that is not here."""
    if step.adapter is None or Path(step.adapter).is_file():
        return step
    if step.adapter not in made:
        file = scratch / folder.name / f"{len(made)}.safetensors"
        random_adapter(folder, dtype, file, seed=len(made))
        made[step.adapter] = file
    return replace(step, adapter=str(made[step.adapter]))
