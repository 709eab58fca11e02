"""Sampler cards: a YAML file that says which steps a sampler takes and who serves them.

    name: uniform-8
    title: Uniform skipping, 8 steps
    schedule: {kind: uniform, steps: 8}

No torch. The shipped cards lie in ``baselines/``; a card may as well be named by its path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ..errors import GlanceBenchError, MissingData, UsageError, near_misses
from ..registry import FAMILIES, MODELS
from ..resources import data_dir
from ..sealed import digest_of
from ..trajectory import (
    SOLVERS,
    Phase,
    TimeShift,
    Trajectory,
    boundary_step,
    from_moves,
    slow_fast_is_derived,
)
from ..weights import HubFile
from .experts import Expert, HubLora
from .listed import Printed, Reshifted, TimestepsOnly
from .lora_files import contents
from .options import Cache, MagCache
from .schedules import Geometry, Indices, Native, OnGrid, SlowFast, Uniform

__all__ = [
    "Expert",
    "Geometry",
    "Indices",
    "OnGrid",
    "SamplerCard",
    "SlowFast",
    "Uniform",
    "list_cards",
    "load_card",
    "lora_card",
    "lora_name",
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


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
    solver: str = Field("euler", description="euler, heun, ab2 or dpmpp-2m")
    cache: Cache | None = Field(
        None, description="what is not evaluated at every step; default: everything is"
    )
    max_sequence_length: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        None, description="tokens of a prompt at most; a model with a lower limit keeps its own"
    )
    base: str | None = Field(
        None, description="a registered model whose weights stand in for those of the models that it runs on"
    )
    licence: str = Field("", description="of the weights that the card names, as their publisher states it")
    citation: str = ""

    @field_validator("families", "guidance")
    @classmethod
    def _known(cls, families: Any) -> Any:
        for family in families:
            if family not in FAMILIES:
                raise ValueError(f"unknown model family {family!r}; {near_misses(family, FAMILIES.names())}")
        return families

    @field_validator("solver")
    @classmethod
    def _has_solver(cls, solver: str) -> str:
        if solver not in SOLVERS:
            raise ValueError(f"unknown solver {solver!r}; {near_misses(solver, SOLVERS)}")
        return solver

    @field_validator("base")
    @classmethod
    def _registered(cls, base: str | None) -> str | None:
        if base is not None and base not in MODELS:
            raise ValueError(f"unknown model {base!r}; {near_misses(base, MODELS.names())}")
        return base

    @model_validator(mode="after")
    def _fits_its_families(self) -> SamplerCard:
        if self.base is not None and self.families != [MODELS.get(self.base).family]:
            family = MODELS.get(self.base).family
            raise ValueError(f"base {self.base!r} is of family {family}: expected families: [{family}]")
        if isinstance(self.cache, MagCache):
            for family in self.families:
                if not self.cache.ratios.get(family):
                    raise ValueError(f"cache: ratios of family {family!r} are missing")
        if self.cache is not None and self.solver == "heun":
            raise ValueError("solver heun, which evaluates twice a step, takes no cache")
        return self

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
            solver=self.solver,
            cache=self.cache,
        )

    @property
    def hub_files(self) -> list[HubFile]:
        """The published LoRA files of its experts."""
        return [expert.lora.published for expert in self.experts if isinstance(expert.lora, HubLora)]

    @property
    def published(self) -> list[str]:
        """What ``prefetch`` fetches for this card: published LoRA files, and the weights of its base."""
        source = MODELS.get(self.base).source if self.base else None
        return [*map(str, self.hub_files), *([source] if isinstance(source, str) else [])]

    def digest(self, geometry: Geometry, promised: Mapping[str, str] | None = None) -> str:
        """Hash of everything in the card that can change a model's pixels, the LoRA files' contents included.

        ``promised`` has what stands for the content of files that are yet to be trained, by their path.
        The options that a card may leave out enter it when they are set. ``base`` does not: its weights are the
        checkpoint. Raises GlanceBenchError when a LoRA file is missing, or an adapter was not trained for the model,
        and MissingData when a published one was not fetched.
        """
        for expert in self.experts:
            if isinstance(expert.lora, HubLora) and expert.lora.published.place() is None:
                raise MissingData(f"sampler {self.name!r} {expert.lora.published.missing()}")
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
        content_of: dict[str, Any] = {
            "schedule": self.schedule.model_dump(exclude_none=True),
            "experts": experts,
            "guidance": self.guidance,
        }
        if self.solver != "euler":
            content_of["solver"] = self.solver
        if self.cache is not None:
            content_of["cache"] = self.cache.model_dump(exclude_none=True)
        if self.max_sequence_length is not None:
            content_of["max_sequence_length"] = self.max_sequence_length
        return digest_of(content_of)

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
