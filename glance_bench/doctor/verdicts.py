"""Which models and suites a machine runs, with which placement, or why not and what mends it. Judges a record only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..engine.downloads import downloads
from ..engine.forecast import forecast
from ..engine.planning import model_entry
from ..errors import GlanceBenchError, UsageError
from ..models.placement import Plan, lacking, pick, placements
from ..prefetch import cards_of
from ..profiles import Gpu, Target
from ..profiles import choose as choose_profile
from ..prompts.sources import SOURCES
from ..registry import MODELS, ModelEntry
from ..suite import Suite, load_suite
from ..weights import WEIGHTS
from .findings import pip
from .gpu import obstacle
from .record import Machine

__all__ = ["Verdict", "judge_model", "judge_suite"]

NO_GPU = "there is no GPU"
MINE = 0.9  # of a GPU's memory is free when nobody else uses it
LIBRARIES = {"int8": "optimum-quanto", "float8": "optimum-quanto", "nf4": "bitsandbytes"}


@dataclass(frozen=True)
class Verdict:
    """Whether something runs. ``placements`` says how each model is placed on the GPU.

    ``because`` are the reasons why it does not, ``cures`` the commands that mend them, in their order. ``profile`` is
    a suite's, and ``stands_in`` whether it has tiny models in place of those that need a GPU; ``waits`` are metrics'
    weights that are not there, without which a run goes on.
    """

    name: str
    placements: dict[str, dict[str, Any]]
    because: tuple[str, ...] = ()
    cures: tuple[str, ...] = ()
    profile: str | None = None
    stands_in: bool = False
    waits: tuple[str, ...] = ()

    @property
    def runs(self) -> bool:
        return not self.because

    @property
    def status(self) -> str:
        """For people: "runs", "runs with placement X", or "cannot, because ..., " and whose memory would do."""
        if self.because:
            fits = ", ".join(f"{name} with placement {one['plan']}" for name, one in self.placements.items())
            return (
                f"cannot, because {'; '.join(self.because)}{f'; there is memory for {fits}' if fits else ''}"
            )
        special = dict.fromkeys(str(one["plan"]) for one in self.placements.values())
        special.pop("all-on-gpu", None)
        placed = f" with placement {' and '.join(special)}" if special else ""
        under = f", profile {self.profile}" if self.profile else ""
        under += " (TINY MODELS STAND IN)" if self.stands_in else ""
        return f"runs{placed}{under}"

    def document(self) -> dict[str, Any]:
        """JSON data."""
        plain = {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }
        return {**plain, "runs": self.runs, "status": self.status}


class _Reasons:
    """Reasons and cures, each once, in the order in which they are found."""

    def __init__(self) -> None:
        self.because: dict[str, None] = {}
        self.cures: dict[str, None] = {}

    def add(self, why: str, *cures: str) -> None:
        self.because[why] = None
        self.cures |= dict.fromkeys(cure for cure in cures if cure)

    def verdict(self, name: str, placements: dict[str, dict[str, Any]], **more: Any) -> Verdict:
        return Verdict(name, placements, tuple(self.because), tuple(self.cures), **more)


def judge_model(machine: Machine, name: str) -> Verdict:
    """A registered model at its own resolution. The testbed's run on the processor too."""
    entry, reasons = MODELS.get(name), _Reasons()
    published = isinstance(entry.source, str)
    _torch(machine, reasons, gpu=published)
    placed = {}
    if published:
        if machine.gpus:
            placed = _place(machine, entry, machine.gpus[0], "auto", None, None, reasons)
        elif not machine.driver_error:
            reasons.add(NO_GPU)
        if NO_GPU not in reasons.because:
            source = str(entry.source)
            _fetched(machine, {source: WEIGHTS[source].gigabytes if source in WEIGHTS else 0.0}, reasons)
    return reasons.verdict(name, placed)


def judge_suite(machine: Machine, name: str) -> Verdict:
    """A suite under the profile that the machine takes. Raises UsageError for a name or a file that is none."""
    suite, reasons = load_suite(name), _Reasons()
    on_gpu = suite.device == "cuda" or any(profile.device == "cuda" for profile in suite.profiles.values())
    _torch(machine, reasons, gpu=on_gpu)
    try:
        resolved, _ = choose_profile(suite, None, gpus=machine.gpus)
    except UsageError:
        raise
    except GlanceBenchError as error:
        reasons.add(str(error))
        return reasons.verdict(name, {})
    placed: dict[str, dict[str, Any]] = {}
    entries = [model_entry(entry) for entry in resolved.models]
    if resolved.device == "cuda" and not machine.gpus:
        reasons.add(NO_GPU)
    elif resolved.device == "cuda":
        for entry in entries:
            wanted, size, dtype = resolved.placement, resolved.resolution, resolved.dtype
            others = ",".join(other.name for other in entries if other is not entry)
            without = f"or without {entry.name}: glance-bench run {name} --models {others}" if others else ""
            placed |= _place(machine, entry, machine.gpus[0], wanted, size, dtype, reasons, without)
    waits = _needed(machine, resolved, entries, reasons)
    if placed:  # on a processor images are few and small
        _room(machine, name, resolved, reasons)
    stands_in = on_gpu and resolved.device == "cpu"
    return reasons.verdict(name, placed, profile=resolved.profile, stands_in=stands_in, waits=waits)


def _torch(machine: Machine, reasons: _Reasons, *, gpu: bool) -> None:
    """What keeps torch from computing at all, or from computing on the GPU where that is wanted."""
    hindered = obstacle(machine) if gpu else None
    if hindered:
        reasons.add(hindered.what, hindered.cure)
    elif machine.torch.version is None:
        reasons.add(machine.torch.error or "torch is not installed", pip("torch", "torchvision"))


def _place(
    machine: Machine,
    entry: ModelEntry,
    gpu: Gpu,
    wanted: str | None,
    side: int | None,
    dtype: str | None,
    reasons: _Reasons,
    without: str = "",
) -> dict[str, dict[str, Any]]:
    """The placement of one model, by its name; nothing for a family that places itself.

    ``without`` is how to do without the model where none fits.
    """
    model: str | Path = entry.name if isinstance(entry.source, str) else entry.source
    try:
        plan, said = pick(wanted, model, gpu, machine.ram_free_gib, side, dtype)
    except GlanceBenchError:
        return {}
    if plan is None:
        others = "nvidia-smi" if gpu.free_gib < MINE * gpu.memory_gib else ""  # it lists who holds the memory
        each = "; ".join(f"{name} {why}" for name, why in said.items())
        reasons.add(
            f"no placement of {entry.name} fits: {each}",
            others,
            _more_memory(machine, model, gpu, wanted, side, dtype),
            without,
        )
        return {}
    _library(machine, plan, reasons)
    return {entry.name: plan.document()}


def _more_memory(
    machine: Machine, model: str | Path, gpu: Gpu, wanted: str | None, side: int | None, dtype: str | None
) -> str:
    """With how much free host memory which plans would fit, where that is all they lack; "" where there are none."""
    plans = placements(model, side, gpu.compute, dtype)
    enough = [plan for plan in plans if wanted in ("auto", plan.name) and not lacking(plan, gpu, math.inf)]
    each = ", ".join(f"{plan.ram_gib:.1f} GiB for {plan.name}" for plan in enough)
    return f"more free host memory than {machine.ram_free_gib:g} GiB: {each}" if each else ""


def _library(machine: Machine, plan: Plan, reasons: _Reasons) -> None:
    name = LIBRARIES.get(plan.weights)
    found = {library.name for library in machine.libraries if library.found}
    if name and name not in found:
        reasons.add(f"placement {plan.name} needs {name}", pip(name))


def _needed(machine: Machine, suite: Suite, entries: list[ModelEntry], reasons: _Reasons) -> tuple[str, ...]:
    """Models, prompts and samplers' weights must be there; returns the metrics' weights that are not."""
    wanted = {one.name: one.gb or 0.0 for one in downloads(suite)}
    played = {name for card in cards_of(suite) for name in card.published}
    played |= {str(entry.source) for entry in entries if isinstance(entry.source, str)}
    needed = {name: gb for name, gb in wanted.items() if name in played or name in SOURCES}
    _fetched(machine, needed, reasons)
    return tuple(name for name in wanted if name not in needed and name not in machine.here)


def _fetched(machine: Machine, sizes: Mapping[str, float], reasons: _Reasons) -> None:
    """Whether published files, GB by name, are on the machine, and whether there is room for those that are not."""
    absent = {name: gb for name, gb in sizes.items() if name not in machine.here}
    for name, gb in absent.items():
        reasons.add(
            f"{name} is not there{f' ({gb:.3g} GB)' if gb >= 0.01 else ''}", f"glance-bench prefetch {name}"
        )
    _fits(machine, "hub cache", sum(absent.values()), "export HF_HOME=/a/larger/disk", reasons)


def _room(machine: Machine, name: str, suite: Suite, reasons: _Reasons) -> None:
    """Whether the disk of the runs holds all images of a suite."""
    try:
        size = forecast(suite, Target(machine.gpus[0], here=False), {}).disk / 1e9
    except GlanceBenchError:  # a prompt file or a speed record that `plan` complains of
        return
    _fits(machine, "runs", size, f"glance-bench run {name} -o /a/larger/disk/{suite.label}", reasons)


def _fits(machine: Machine, what: str, gigabytes: float, cure: str, reasons: _Reasons) -> None:
    for disk in machine.disks:
        if disk.what == what and disk.free_gb < gigabytes:
            reasons.add(f"the disk of {what} has room for {disk.free_gb:g} of {gigabytes:.3g} GB", cure)
