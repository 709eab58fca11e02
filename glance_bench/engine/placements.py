"""Which placement each model of a suite gets, settled before any key is hashed; and the next when memory ran out.

A run keeps what was settled first, in its suite.json: killed and started again, it has the same keys although another
process may hold memory of the GPU by then. No torch.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import GlanceBenchError
from ..machine import free_ram_gib
from ..models.placement import FORCED, PLANS, Plan, choose, lacking, placement, placements, refuse_emulation
from ..profiles import Gpu, Target, find_gpus
from ..suite import LocalModel, Suite
from .base import Halt

__all__ = ["Outgrown", "moved_on", "plans_of", "settled"]

RESOLVED = ("placement", "device", "dtype", "resolution")  # what makes an earlier choice hold


class Outgrown(Halt):
    """One image of ``model`` at a time does not fit where its placement ``plan`` puts it."""

    def __init__(self, model: str, plan: Plan) -> None:
        super().__init__(
            f"{model}: out of memory even for one image under placement {plan.name}; free memory, lower "
            "'resolution' or take a profile for a smaller machine"
        )
        self.model = model
        self.plan = plan

    def __reduce__(self) -> tuple[Any, ...]:
        return Outgrown, (self.model, self.plan)


def settled(suite: Suite, folder: Path | None = None, target: Target | None = None) -> Suite:
    """The suite with the name of a plan for each of its models in ``placements``; as it is without a placement.

    What was settled before is kept where this machine could still hold it: by the suite itself, or by the run in
    ``folder``. The machine is this one, or ``target``; of one that is not here the host memory is taken to suffice.
    Raises GlanceBenchError, naming what every plan lacks, when ``auto`` finds none that fits.
    """
    if suite.placement is None:
        return suite
    gpu = _gpu(suite, target)
    here = target is None or target.here
    ram = free_ram_gib() if here else math.inf
    earlier = suite.placements or _earlier(suite, folder)
    chosen = {}
    for entry in suite.models:
        name, model = _named(entry)
        names = earlier.get(name)
        if names and not (suite.placement == "auto" and _lacks(suite, model, names[-1], gpu, ram)):
            chosen[name] = names
        elif suite.placement != "auto":
            chosen[name] = [suite.placement]
        else:
            plan, reasons = choose(model, gpu, ram, suite.resolution, suite.dtype, here=here)
            if plan is None:
                why = "; ".join(f"{plan} {reason}" for plan, reason in reasons.items())
                raise GlanceBenchError(f"model {name!r}: no placement fits {gpu or 'this machine'}: {why}")
            chosen[name] = [plan.name]
    return suite.model_copy(update={"placements": chosen})


def plans_of(suite: Suite, target: Target | None = None) -> dict[str, dict[str, Any]]:
    """By model of a settled suite its plan, ``placement``, and the names of those that it has ``outgrown``."""
    if suite.placement is None:
        return {}
    gpu = _gpu(suite, target)
    found: dict[str, dict[str, Any]] = {}
    for entry in suite.models:
        name, model = _named(entry)
        *outgrown, last = suite.placements[name]
        plan = placement(last, model, suite.resolution, gpu.compute if gpu else None, suite.dtype)
        found[name] = {"placement": plan, "outgrown": tuple(outgrown)}
    return found


def moved_on(suite: Suite, outgrown: Outgrown) -> tuple[Suite, bool]:
    """The settled suite with the model that ran out of memory on its next plan, and whether its keys stay.

    That is the next plan with equal numbers. Where none fits and the suite says ``auto``, it is any later plan
    that fits: the model's images are then made anew, under other keys. Raises GlanceBenchError when there is none.
    """
    name, plan = outgrown.model, outgrown.plan
    model = next(model for known, model in map(_named, suite.models) if known == name)
    gpu, ram = _gpu(suite, None), free_ram_gib()
    plans = placements(model, suite.resolution, gpu.compute if gpu else None, suite.dtype)
    rest = plans[PLANS.index(plan.name) + 1 :]
    later = [p for p in rest if not lacking(p, _emptied(gpu), ram, here=True)]
    equal = [other for other in later if other.numerics == plan.numerics]
    if not equal and later and suite.placement != "auto":
        raise GlanceBenchError(
            f"{outgrown}; placement {later[0].name} needs less and gives other pixels: a suite that names it, or auto, "
            "makes this model's images anew"
        ) from outgrown
    if not later:
        raise outgrown
    following = (equal or later)[0]
    names = [*suite.placements[name], following.name]
    return suite.model_copy(update={"placements": {**suite.placements, name: names}}), bool(equal)


def _lacks(suite: Suite, model: str | Path, name: str, gpu: Gpu | None, ram: float) -> str:
    plan = placement(name, model, suite.resolution, gpu.compute if gpu else None, suite.dtype)
    return lacking(plan, _emptied(gpu), ram)


def _emptied(gpu: Gpu | None) -> Gpu | None:
    """The GPU with nothing else on it: what holds its memory now may be a part of this run."""
    return replace(gpu, free_mib=None) if gpu else None


def _gpu(suite: Suite, target: Target | None) -> Gpu | None:
    """The GPU that the suite runs on, None for the CPU. Raises GlanceBenchError when there is none or it is unfit."""
    if suite.device == "cpu":
        return None
    gpus = [target.gpu] if target and target.gpu else find_gpus()
    if not gpus:
        raise GlanceBenchError(
            f"placement {suite.placement}: device cuda, and nvidia-smi finds no GPU; without one, device cpu"
        )
    refuse_emulation(suite.dtype, gpus[0].compute, bool(os.environ.get(FORCED)))
    return gpus[0]


def _named(entry: str | LocalModel) -> tuple[str, str | Path]:
    """A model's name, and what its parts are counted by."""
    return (entry, entry) if isinstance(entry, str) else (entry.name, Path(entry.path))


def _earlier(suite: Suite, folder: Path | None) -> dict[str, list[str]]:
    """What the run in ``folder`` settled, of a suite that asked for the same."""
    try:
        last: dict[str, Any] = json.loads((folder / "suite.json").read_bytes()) if folder else {}
    except (OSError, ValueError):
        return {}
    asked = suite.model_dump(mode="json", include=set(RESOLVED))
    if not isinstance(last, dict) or any(last.get(name) != asked[name] for name in RESOLVED):
        return {}
    kept = last.get("placements")
    known = isinstance(kept, dict) and all(names and set(names) <= set(PLANS) for names in kept.values())
    return dict(kept) if known and kept else {}
