"""Sampler cards: a YAML file that says which steps a sampler takes and who serves them.

    name: uniform-8
    title: Uniform skipping, 8 steps
    schedule: {kind: uniform, steps: 8}

No torch. The shipped cards lie in ``baselines/``; a card may as well be named by its path.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from ..errors import GlanceBenchError, UsageError, near_misses
from ..registry import FAMILIES
from ..resources import data_dir
from ..sealed import digest_of
from ..trajectory import (
    TEACHER_STEPS,
    FloatArray,
    Move,
    Phase,
    TimeShift,
    Trajectory,
    boundary_step,
    from_moves,
    grid_moves,
    slow_fast_indices,
    slow_fast_is_derived,
    teacher_grid,
    uniform_indices,
)
from .listed import Printed, Reshifted, TimestepsOnly
from .lora_files import contents

__all__ = [
    "Expert",
    "Geometry",
    "OnGrid",
    "SamplerCard",
    "list_cards",
    "load_card",
    "lora_card",
    "lora_name",
]

ADAPTER_NAME = r"^[A-Za-z0-9][A-Za-z0-9._+@=-]*/[A-Za-z0-9][A-Za-z0-9._+@=-]*$"


@dataclass(frozen=True)
class Geometry:
    """What a card needs to know of a model at a resolution.

    ``tokens`` is the number of packed image tokens, ``guidance`` the model's default, ``cfg`` whether
    guidance above 1 costs a second pass. ``adapters`` are the LoRA files trained for the model, by the names
    that cards use.
    """

    family: str
    shift: TimeShift
    tokens: int
    guidance: float
    cfg: bool
    adapters: Mapping[str, Path] = field(default_factory=dict, compare=False)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Steps = Annotated[int, Field(ge=1, le=1000)]


class OnGrid(_Strict, ABC):
    """A schedule that keeps some levels of a grid of the model's own."""

    @abstractmethod
    def levels(self, geometry: Geometry) -> tuple[FloatArray, Sequence[int]]:
        """The grid, float64[n + 1], and the kept indices."""

    def moves(self, geometry: Geometry) -> list[Move]:
        """One move a step, from each kept level to the next and from the last to 0."""
        return grid_moves(*self.levels(geometry))


class Native(OnGrid):
    """The stock scheduler asked for ``steps`` steps; with 50 it is the teacher."""

    kind: Literal["native"]
    steps: Steps

    def levels(self, geometry: Geometry) -> tuple[FloatArray, Sequence[int]]:
        """The grid, float64[n + 1], and the kept indices."""
        return teacher_grid(geometry.shift, geometry.tokens, self.steps), range(self.steps)


class Uniform(OnGrid):
    """``steps`` evenly skipped steps of the ``of``-step grid; see ``trajectory.uniform_indices``."""

    kind: Literal["uniform"]
    steps: Steps
    of: Steps = TEACHER_STEPS

    @model_validator(mode="after")
    def _fits(self) -> Uniform:
        if self.steps > self.of:
            raise ValueError(f"cannot keep {self.steps} of {self.of} steps")
        return self

    def levels(self, geometry: Geometry) -> tuple[FloatArray, Sequence[int]]:
        """The grid, float64[n + 1], and the kept indices."""
        return teacher_grid(geometry.shift, geometry.tokens, self.of), uniform_indices(self.steps, self.of)


class Indices(OnGrid):
    """These indices (0-based, rising) of the ``of``-step grid."""

    kind: Literal["indices"]
    indices: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    of: Steps = TEACHER_STEPS

    @model_validator(mode="after")
    def _fits(self) -> Indices:
        if sorted(set(self.indices)) != self.indices or self.indices[-1] >= self.of:
            raise ValueError(f"indices must rise strictly within 0..{self.of - 1}")
        return self

    def levels(self, geometry: Geometry) -> tuple[FloatArray, Sequence[int]]:
        """The grid, float64[n + 1], and the kept indices."""
        return teacher_grid(geometry.shift, geometry.tokens, self.of), self.indices


class SlowFast(OnGrid):
    """Glance's sets of the 50-step grid; see ``trajectory.slow_fast_indices`` for what is published."""

    kind: Literal["slow-fast"]
    slow: Annotated[int, Field(ge=1, le=10)]
    fast: Annotated[int, Field(ge=2, le=20)]

    def levels(self, geometry: Geometry) -> tuple[FloatArray, Sequence[int]]:
        """The grid, float64[n + 1], and the kept indices."""
        early, late = slow_fast_indices(self.slow, self.fast)
        return teacher_grid(geometry.shift, geometry.tokens), early + late


class Boundary(_Strict):
    """Where an expert hands over: after ``step`` steps, or at the first step at or past a sigma or an SNR."""

    step: Annotated[int, Field(ge=0)] | None = None
    sigma: Annotated[float, Field(ge=0, le=1)] | None = None
    snr: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Boundary:
        if [self.step, self.sigma, self.snr].count(None) != 2:
            raise ValueError("expected exactly one of step, sigma, snr")
        return self


class Expert(_Strict):
    """Who serves a phase: a LoRA file, an adapter trained for the model, or neither: the base model."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    lora: str | None = Field(None, description="path of a LoRA file, relative to the card")
    adapter: str | None = Field(None, pattern=ADAPTER_NAME, description="an adapter of the model, by name")
    scale: Annotated[float, Field(allow_inf_nan=False)] | None = Field(
        None, description="times the file's own alpha / rank; must be given for a file without alpha"
    )
    until: Boundary | None = Field(None, description="absent for the last expert")

    @field_validator("lora")
    @classmethod
    def _absolute(cls, lora: str | None, info: ValidationInfo) -> str | None:
        return None if lora is None else str((Path(info.context or ".") / lora).absolute())

    @model_validator(mode="after")
    def _one_source(self) -> Expert:
        if self.lora and self.adapter:
            raise ValueError("expected lora or adapter, not both")
        return self

    @property
    def weight(self) -> float:
        """The scale, 1 where it is the file's own."""
        return 1.0 if self.scale is None else self.scale

    def file(self, geometry: Geometry) -> str | None:
        """The LoRA file that serves on a model: its path, or the adapter's bare name where it is not trained yet."""
        if self.adapter is None:
            return self.lora
        return str(geometry.adapters.get(self.adapter, self.adapter))


class SamplerCard(_Strict):
    """One sampler, for any model of the families that it names."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+@=-]{0,99}$")]
    title: str = ""
    description: str = ""
    families: list[str] = Field(["flux", "qwen_image"], min_length=1)
    schedule: Annotated[
        Native | Uniform | Indices | SlowFast | Printed | Reshifted | TimestepsOnly,
        Field(discriminator="kind"),
    ]
    experts: list[Expert] = Field(
        [], description="who serves which steps; default: the base model, all of them"
    )
    guidance: dict[str, Annotated[float, Field(ge=0, le=100)]] = Field(
        {}, description="by family; default: the model's own"
    )
    licence: str = ""
    citation: str = ""

    @field_validator("families", "guidance")
    @classmethod
    def _known(cls, families: Any) -> Any:
        for family in families:
            if family not in FAMILIES:
                raise ValueError(f"unknown model family {family!r}; {near_misses(family, FAMILIES.names())}")
        return families

    @model_validator(mode="after")
    def _handed_over(self) -> SamplerCard:
        for expert in self.experts[:-1]:
            if expert.until is None:
                raise ValueError(f"expert {expert.name!r} is not the last one and needs 'until'")
        if self.experts and self.experts[-1].until is not None:
            raise ValueError(f"expert {self.experts[-1].name!r} is the last one and takes no 'until'")
        return self

    @property
    def derived(self) -> bool:
        """Whether the schedule follows a rule of ours because its index list is not published."""
        schedule = self.schedule
        return isinstance(schedule, SlowFast) and slow_fast_is_derived(schedule.slow, schedule.fast)

    def compile(self, geometry: Geometry) -> Trajectory:
        """The steps for a model. Every step's guidance and passes are explicit.

        Raises UsageError when the card is not for the model's family, a boundary lies outside the steps, or no
        published schedule of the name that the card gives exists for the family.
        """
        if geometry.family not in self.families:
            names = " and ".join(self.families)
            raise UsageError(f"sampler {self.name!r} is for {names}, not for {geometry.family}")
        moves = self.schedule.moves(geometry)
        guidance = self.guidance.get(geometry.family, geometry.guidance)
        return from_moves(
            moves,
            guidance=guidance,
            passes=2 if geometry.cfg and guidance > 1 else 1,
            phases=self._phases([move.sigma for move in moves], geometry),
        )

    def digest(self, geometry: Geometry, promised: Mapping[str, str] | None = None) -> str:
        """Hash of everything in the card that can change a model's pixels, the LoRA files' contents included.

        ``promised`` has what stands for the content of files that are yet to be trained, by their path.
        Raises GlanceBenchError when a LoRA file is missing, or an adapter was not trained for the model.
        """
        for expert in self.experts:
            if expert.adapter and expert.adapter not in geometry.adapters:
                known = near_misses(expert.adapter, geometry.adapters) or "it has none"
                raise GlanceBenchError(
                    f"sampler {self.name!r}: the model has no adapter {expert.adapter!r} ({known}); "
                    "glance-bench train glance makes one"
                )
        served = [(expert, expert.file(geometry)) for expert in self.experts]
        content = dict(promised or {})
        content |= contents([(file, e.scale) for e, file in served if file and file not in content])
        experts = [
            {
                "lora": content[file] if file else None,
                "scale": expert.weight,
                "until": expert.until.model_dump() if expert.until else None,
            }
            for expert, file in served
        ]
        return digest_of(
            {"schedule": self.schedule.model_dump(), "experts": experts, "guidance": self.guidance}
        )

    def _phases(self, sigmas: Sequence[float], geometry: Geometry) -> list[Phase]:
        if isinstance(self.schedule, SlowFast) and not self.experts:
            slow = self.schedule.slow
            return [Phase("slow", 0, slow), Phase("fast", slow, len(sigmas))]
        phases = []
        start = 0
        for expert in self.experts:
            until = expert.until
            stop = len(sigmas)
            if until is not None:
                stop = boundary_step(sigmas, step=until.step, sigma=until.sigma, at_snr=until.snr)
            if stop <= start:
                raise UsageError(f"sampler {self.name!r}: expert {expert.name!r} has no step to serve")
            phases.append(Phase(expert.name, start, stop, expert.file(geometry), expert.weight))
            start = stop
        return phases


def list_cards() -> list[SamplerCard]:
    """The shipped cards, by nominal number of steps, the teacher first, then by name."""
    cards = [_read(path) for path in data_dir("baselines").glob("*.yaml")]
    order = {
        card.name: len(card.schedule.moves(Geometry(card.families[0], TimeShift(), 4096, 1.0, False)))
        for card in cards
    }
    return sorted(cards, key=lambda card: (-order[card.name], card.name))


def load_card(name_or_path: str) -> SamplerCard:
    """A shipped card by name, or any card by its path (ending in .yaml or .yml).

    Raises UsageError for an unknown name with the nearest ones, or for a bad file with its line.
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise UsageError(f"no sampler card at {name_or_path}")
        return _read(path)
    shipped = {file.stem: file for file in data_dir("baselines").glob("*.yaml")}
    if name_or_path not in shipped:
        raise UsageError(f"unknown sampler {name_or_path!r}; {near_misses(name_or_path, shipped)}")
    return _read(shipped[name_or_path])


def lora_name(file: str | Path, scale: float | None, like: str) -> str:
    """What ``lora_card`` calls a sampler; the file need not be there, ``like`` is the name of its card."""
    shown = "1" if scale is None else f"{scale:g}"
    return f"{re.sub('[^A-Za-z0-9._+=-]', '-', Path(file).stem)[:40]}@{shown}-like-{like}"


def lora_card(file: str | Path, scale: float | None, like: str) -> SamplerCard:
    """A sampler that plays the schedule and guidance of the card ``like`` with one LoRA throughout.

    Its name says all three; a scale of None is the file's own. Raises UsageError when the file is missing or the
    scale is not finite.
    """
    path = Path(file).absolute()
    if not path.is_file():
        raise UsageError(f"no LoRA file at {file}")
    if scale is not None and not np.isfinite(scale):
        raise UsageError(f"LoRA scale must be a finite number, got {scale}")
    base = load_card(like)
    shown = "1" if scale is None else f"{scale:g}"
    return base.model_copy(
        update={
            "name": lora_name(path, scale, base.name),
            "title": f"{path.name} at {shown} on {base.name}",
            "description": f"One LoRA on the schedule of {base.name}.",
            "experts": [Expert(name="lora", lora=str(path), scale=scale)],
            "licence": "",
            "citation": "",
        }
    )


def _read(path: Path) -> SamplerCard:
    state = path.stat()
    return _parsed(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=256)
def _parsed(path: Path, *state: int) -> SamplerCard:
    """The card in a file of this ``state``: a plan asks for each of its cards several times."""
    from ..yamlfile import read_yaml, validated

    return validated(SamplerCard, path, read_yaml(path), context=path.parent)
