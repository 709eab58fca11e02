"""Recipes: a YAML file with everything that decides what an adapter becomes, except the samples. No torch.

The published recipes lie in ``baselines/recipes/``; one's own is named by its path. The source of the published ones
is appendix C of arXiv:2512.02899 and the training configs released with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import UsageError, near_misses
from ..resources import data_dir
from ..samplers.cards import Geometry, Indices, SlowFast, Uniform
from ..trajectory import bfloat16

__all__ = ["PUBLISHED", "PhaseLevels", "Recipe", "changed", "load_recipe", "recipe_names"]

PUBLISHED = {"flux": "glance-flux", "qwen_image": "glance-qwen"}  # by family

Positive = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]
SINGLE = "single"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


@dataclass(frozen=True)
class PhaseLevels:
    """The noise levels that one expert is trained at: sigmas, falling, each in (0, 1]."""

    name: str
    sigmas: tuple[float, ...]


class Recipe(_Strict):
    """How adapters are trained.

    experts: ``pair`` trains one LoRA for each phase of a slow-fast schedule, ``single`` one LoRA on all of its levels.
    sigma: ``exact``, or ``nearest-table`` as the released trainer looks it up: the nearest of the stock scheduler's
    1000 training timesteps. timesteps: what the model is told, ``exact`` or rounded to ``bf16``.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+@=-]{0,99}$")]
    title: str = ""
    family: str
    schedule: Annotated[SlowFast | Uniform | Indices, Field(discriminator="kind")]
    experts: Literal["pair", "single"] = "pair"
    rank: Annotated[int, Field(ge=1, le=4096)]
    alpha: Annotated[float, Field(gt=0)]
    init: Literal["gaussian"] = "gaussian"
    targets: list[Annotated[str, Field(min_length=1)]] = Field(min_length=1)
    steps: Annotated[int, Field(ge=1)] = 60
    batch: Annotated[int, Field(ge=1)] = 1
    learning_rate: Positive
    rate_schedule: Literal["constant", "constant_with_warmup", "cosine"] = "constant"
    warmup: Annotated[int, Field(ge=0)] = 10
    optimizer: Literal["adamw", "adamw-8bit"] = "adamw-8bit"
    betas: tuple[Share, Share] = Field((0.9, 0.999), strict=False)
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    epsilon: Positive = 1e-8
    clip: Annotated[float, Field(gt=0)] = 1.0
    caption_dropout: Share = 0.0
    guidance: Annotated[float, Field(ge=0, le=100)] | None = Field(
        None, description="what a model with embedded guidance is told; null for the others"
    )
    base_weights: Literal["float32", "bfloat16", "float16", "float8", "int8", "nf4"] = "float8"
    precision: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    sigma: Literal["exact", "nearest-table"] = "exact"
    timesteps: Literal["exact", "bf16"] = "exact"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    @model_validator(mode="after")
    def _a_pair_has_phases(self) -> Recipe:
        if self.experts == "pair" and not isinstance(self.schedule, SlowFast):
            raise ValueError("experts: pair needs a slow-fast schedule; others take experts: single")
        return self

    @model_validator(mode="after")
    def _precision_fits_the_weights(self) -> Recipe:
        if self.precision == "float32" and self.base_weights != "float32":
            raise ValueError(
                f"precision float32 goes with base_weights float32, not with {self.base_weights}"
            )
        return self

    @property
    def phase_names(self) -> tuple[str, ...]:
        return ("slow", "fast") if self.experts == "pair" else (SINGLE,)

    def phases(self, geometry: Geometry) -> tuple[PhaseLevels, ...]:
        """The levels of each expert on the model's own 50-step grid. Raises UsageError for another family."""
        if geometry.family != self.family:
            raise UsageError(f"recipe {self.name!r} is for {self.family}, not for {geometry.family}")
        grid, kept = self.schedule.levels(geometry)
        levels = tuple(float(grid[index]) for index in kept)
        if isinstance(self.schedule, SlowFast) and self.experts == "pair":
            slow = self.schedule.slow
            return (
                PhaseLevels(name="slow", sigmas=levels[:slow]),
                PhaseLevels(name="fast", sigmas=levels[slow:]),
            )
        return (PhaseLevels(name=SINGLE, sigmas=levels),)

    def chosen(self, phases: list[str], geometry: Geometry) -> tuple[PhaseLevels, ...]:
        """Those phases, or all when none is named. Raises UsageError for a phase that the recipe does not have."""
        for name in phases:
            if name not in self.phase_names:
                raise UsageError(
                    f"recipe {self.name!r} has no phase {name!r}; {near_misses(name, self.phase_names)}"
                )
        return tuple(phase for phase in self.phases(geometry) if not phases or phase.name in phases)

    def told(self, sigma: float) -> float:
        """What the model is told at ``sigma``, in [0, 1]: as it is, or 1000 sigma rounded to bfloat16."""
        return bfloat16(1000 * sigma) / 1000 if self.timesteps == "bf16" else sigma

    def stepped(self, sigma: float) -> float:
        """The noise level that the sample is mixed at: ``sigma``, or the nearest 1/1000 of the training table.

        The stock FlowMatchEulerDiscreteScheduler with a dynamic shift holds sigmas 1, 0.999, ..., 0.001 until a
        pipeline sets its steps.
        """
        return min(max(round(1000 * sigma), 1), 1000) / 1000 if self.sigma == "nearest-table" else sigma


def recipe_names() -> list[str]:
    return sorted(path.stem for path in (data_dir("baselines") / "recipes").glob("*.yaml"))


def load_recipe(name_or_path: str) -> Recipe:
    """A shipped recipe by name, or any by its path (ending in .yaml or .yml).

    Raises UsageError for an unknown name with the nearest ones, or for a bad file with its line.
    """
    from ..yamlfile import read_yaml, validated

    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        if name_or_path not in recipe_names():
            raise UsageError(f"unknown recipe {name_or_path!r}; {near_misses(name_or_path, recipe_names())}")
        path = data_dir("baselines") / "recipes" / f"{name_or_path}.yaml"
    elif not path.is_file():
        raise UsageError(f"no recipe at {name_or_path}")
    return validated(Recipe, path, read_yaml(path))


def changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """The recipe with some settings replaced; ``slow`` and ``fast`` are the step counts of its schedule.

    Raises UsageError for an unknown setting with the nearest ones, or for a value out of range.
    """
    known = {*Recipe.model_fields, "slow", "fast"}
    for name in changes:
        if name not in known:
            raise UsageError(f"recipe {recipe.name!r} has no setting {name!r}; {near_misses(name, known)}")
    data, given = recipe.model_dump(), dict(changes)
    for part in ("slow", "fast"):
        if part in given:
            if not isinstance(recipe.schedule, SlowFast):
                raise UsageError(f"{part}: recipe {recipe.name!r} has no slow-fast schedule")
            data["schedule"][part] = given.pop(part)
    try:
        return Recipe.model_validate(data | given)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            f"recipe {recipe.name!r}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        ) from error
