"""The suite file: what is generated, with what, how it is scored. Checked before any model is loaded.

Errors name the file, the line, the key that is wrong and the nearest valid one. No torch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from .errors import UsageError, near_misses
from .gate.settings import GateSettings
from .resources import data_dir
from .samplers.cards import load_card
from .suite_names import complaints
from .yamlfile import line_of, read_yaml, validated

__all__ = [
    "LocalModel",
    "LoraSampler",
    "Profile",
    "PromptUse",
    "Samples",
    "Strips",
    "Suite",
    "TrainAdapters",
    "TrainedSampler",
    "find_suite",
    "list_suites",
    "load_suite",
]


def _from_here(path: str, info: ValidationInfo) -> str:
    """A relative path in a suite file starts at the file's folder, which is the validation's context."""
    return path if info.context is None else os.path.join(info.context, os.path.expanduser(path))


def _yaml_from_here(name: str, info: ValidationInfo) -> str:
    return _from_here(name, info) if name.endswith((".yaml", ".yml")) else name


def _list_from_here(name: str, info: ValidationInfo) -> str:
    kind, colon, path = name.partition(":")
    return f"file:{_from_here(path, info)}" if colon and kind == "file" else name


def _reference_from_here(value: str, info: ValidationInfo) -> str:
    return value if value == "teacher" or value.startswith("data:") else _from_here(value, info)


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("a prompt must not be blank")
    return text


def _no_seed(changes: dict[str, Any]) -> dict[str, Any]:
    if "seed" in changes:
        raise ValueError("the seeds of the training are 'seeds', beside 'changes'")
    return changes


def _distinct(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("a seed is listed twice")
    return seeds


def _rising(steps: list[int]) -> list[int]:
    if sorted(set(steps)) != steps:
        raise ValueError(f"steps must rise, each listed once, got {steps}")
    return steps


Name = Annotated[str, Field(min_length=1, max_length=200)]
FilePath = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_from_here)]
CardName = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_yaml_from_here)]
RecipeName = CardName
SetName = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_list_from_here)]
Reference = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_reference_from_here)]
PlanName = Literal[  # models.placement.PLANS
    "all-on-gpu",
    "encode-then-drop",
    "quanto-int8",
    "quanto-float8",
    "bnb-nf4",
    "group-offload",
    "sequential",
]
Placement = Annotated[
    Literal["auto", PlanName] | None,
    Field(description="where a model's parts lie; auto: the fastest that fits; null: whole, on the device"),
]
Label = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Count = Annotated[int, Field(ge=1)]
Pixels = Annotated[int, Field(ge=16, le=8192, multiple_of=8)]
Text = Annotated[str, Field(min_length=1, max_length=100_000), AfterValidator(_not_blank)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LocalModel(_Strict):
    """A checkpoint folder on this machine, in the diffusers layout."""

    name: Name
    family: Name
    path: FilePath
    adapters: FilePath | None = Field(None, description="folder of adapters trained for this checkpoint")


class LoraSampler(_Strict):
    """A LoRA file played on the schedule of another sampler, without a card of its own."""

    lora: FilePath
    scale: float | None = Field(None, description="default: the file's own alpha / rank")
    like: Name


class Samples(_Strict):
    """What adapters are trained on: exactly one of an image, a folder, noise, or what the teacher draws."""

    image: FilePath | None = None
    caption: Text | None = Field(None, description="the image's; default: the .txt file beside it")
    folder: FilePath | None = Field(None, description="of images with a .txt caption beside each")
    noise: Literal[True] | None = Field(None, description="Gaussian noise")
    teacher: list[Text] | None = Field(
        None,
        min_length=1,
        description="captions; each model draws them with teacher-50, from seeds 0, 1, ...",
    )

    @model_validator(mode="after")
    def _one(self) -> Samples:
        if [self.image, self.folder, self.noise, self.teacher].count(None) != 3:
            raise ValueError("expected exactly one of image, folder, noise, teacher")
        if self.caption and not self.image:
            raise ValueError("'caption' goes with 'image'")
        return self


class TrainAdapters(_Strict):
    """Adapters that a run trains where they are missing, once for each model and seed."""

    name: Label
    recipe: RecipeName | dict[Name, RecipeName] | None = Field(
        None, description="name or path, or one for each family; default: the published one of the family"
    )
    changes: Annotated[dict[str, Any], AfterValidator(_no_seed)] = Field(
        {}, description="settings that replace the recipe's"
    )
    sample: Samples
    seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(_distinct)] = [0]

    def labels(self, seed: int) -> list[str]:
        """The adapter folders by which cards name what one seed gives: NAME.s<seed>, NAME for the first."""
        numbered = [f"{self.name}.s{seed}"] if len(self.seeds) > 1 else []
        return [self.name, *numbered] if seed == self.seeds[0] else numbered


class TrainedSampler(_Strict):
    """The card ``like`` played with adapters that the suite trains: a sampler for each of their seeds."""

    like: CardName
    adapters: Name = Field(description="the name of an entry of 'train'")
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+@=-]{0,99}$")] | None = Field(
        None, description="default: <like>+<adapters>; with several seeds .s<seed> is appended"
    )

    @property
    def label(self) -> str:
        """What the sampler is called, but for its seed. Raises UsageError when ``like`` is no card."""
        return self.name or f"{load_card(self.like).name}+{self.adapters}"


CARD, LORA, TRAINED = "a card", "a LoRA file", "trained adapters"  # blanks: these are no keys of a file


def _sort_of_sampler(given: Any) -> str:
    """Which kind of entry stands in ``samplers``, so that a mistake in one is told as a mistake in that kind."""
    if isinstance(given, LoraSampler) or (isinstance(given, dict) and "adapters" not in given):
        return LORA
    return TRAINED if isinstance(given, TrainedSampler | dict) else CARD


Sampler = Annotated[
    Annotated[CardName, Tag(CARD)]
    | Annotated[LoraSampler, Tag(LORA)]
    | Annotated[TrainedSampler, Tag(TRAINED)],
    Discriminator(_sort_of_sampler),
]


class PromptUse(_Strict):
    """A registered prompt set, ``file:PATH`` for a list, or with ``texts`` a set of the suite's own named ``set``."""

    set: SetName
    limit: Count | None = Field(None, description="the first so many prompts; fewer are contained in more")
    texts: list[Text] | None = Field(None, min_length=1, description="the prompts themselves")
    models: list[Name] | None = Field(None, min_length=1, description="only these models; default: all")


class Timing(_Strict):
    """The timing pass: ``repeats`` rounds over ``prompts`` prompts, after ``warmup`` rounds to warm up."""

    repeats: Annotated[int, Field(ge=0)] = 3
    warmup: Annotated[int, Field(ge=0)] = 1
    prompts: Count = 1


COUNTED, LISTED = "a number", "a list"  # blanks: these are no keys of a file


def _sort_of_steps(given: Any) -> str:
    return LISTED if isinstance(given, list) else COUNTED


class Strips(_Strict):
    """Trajectory strips: what the first ``prompts`` prompts' images were heading for at some of their steps."""

    prompts: Count = Field(4, description="the first so many of each prompt set")
    steps: Annotated[
        Annotated[int, Field(ge=2, le=1000), Tag(COUNTED)]
        | Annotated[
            list[Annotated[int, Field(ge=0)]], Field(min_length=1), AfterValidator(_rising), Tag(LISTED)
        ],
        Discriminator(_sort_of_steps),
    ] = Field(
        6,
        description="so many of a sampler's steps, evenly spread, the first and the last among them; or a list of "
        "steps, counted from 0, of which each sampler keeps those that it has",
    )

    def of(self, length: int) -> tuple[int, ...]:
        """The steps that are kept of a sampler with ``length`` steps, rising."""
        if isinstance(self.steps, list):
            return tuple(step for step in self.steps if step < length)
        gaps = min(self.steps, length) - 1
        return tuple((2 * i * (length - 1) + gaps) // (2 * gaps) for i in range(gaps + 1)) if gaps else (0,)


class Needs(_Strict):
    """What a machine must have. ``memory_gb`` is the nominal size, ``compute`` is 7.0 for a V100."""

    gpu: str | None = Field(
        None, description="a part of the GPU's name, such as V100; null: no GPU is needed"
    )
    memory_gb: float = Field(default=0.0, ge=0)
    compute: float = Field(default=0.0, ge=0)


class Profile(_Strict):
    """What replaces the suite's own settings on one kind of machine."""

    needs: Needs = Needs()
    models: list[Name | LocalModel] = Field(min_length=1)
    prompts: list[PromptUse] | None = Field(None, min_length=1)
    samplers: list[Sampler] | None = Field(None, min_length=1)
    metrics: list[Name] | None = None
    judge: Name | None = None
    reference: Reference | None = None
    images_per_prompt: Count | None = None
    resolution: Pixels | None = None
    strips: Strips | None = None
    timing: Timing | None = None
    batch_size: Count | None = None
    slice_size: Count | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    placement: Placement = None


class Suite(_Strict):
    """One benchmark: models x samplers x prompts, and how the images are scored."""

    version: Literal[1] = Field(1, description="the version of this file format")
    name: Label
    title: str = ""
    models: list[Name | LocalModel] = Field([], description="registered names, or folders")
    prompts: list[PromptUse] = Field(min_length=1)
    train: list[TrainAdapters] = Field([], description="adapters to be trained, for samplers to play")
    samplers: list[Sampler] = Field(min_length=1, description="names, or paths of cards")
    metrics: list[Name] = Field([])
    judge: Name | None = Field(None, description="who stands for 'judge' in names such as dpg[judge]")
    reference: Reference | None = Field(
        None,
        description="what Frechet-type metrics compare with: 'teacher', data:<path in the data folder>, "
        "or the path of a folder of images or of an archive of images or features",
    )
    seed: Seed = 0
    images_per_prompt: Count = 1
    noise: Literal["hashed", "by-index"] = "hashed"
    resolution: Pixels | None = Field(None, description="of a side; default: the model's own")
    batch_size: Count = 8
    slice_size: Count = Field(16, description="prompts in a unit of work")
    strips: Strips | None = Field(None, description="null: none are kept")
    timing: Timing = Timing()
    gate: GateSettings = Field(GateSettings(), description="how much worse than a baseline a run may be")
    device: Literal["cpu", "cuda"] = "cpu"
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    placement: Placement = None
    profiles: dict[Name, Profile] = Field({}, description="by name, in the order in which auto tries them")
    profile: str | None = Field(None, description="the profile applied; set when a run is resolved")
    left_out: list[Name] = Field([], description="metrics that the profile does without; set with it")
    placements: dict[Name, Annotated[list[PlanName], Field(min_length=1)]] = Field(
        {},
        description="by model: the plan in use, after those that ran out of memory; set when a run is resolved",
    )

    def with_profile(self, name: str) -> Suite:
        """The suite as it runs under one of its profiles. Raises UsageError for an unknown one."""
        if name not in self.profiles:
            raise UsageError(
                f"suite {self.name!r} has no profile {name!r}; {near_misses(name, self.profiles)}"
            )
        profile = self.profiles[name]
        changes = profile.model_dump(exclude={"needs"}, exclude_none=True)
        if profile.metrics is not None:
            changes["left_out"] = [name for name in self.metrics if name not in profile.metrics]
        return Suite.model_validate({**self.model_dump(), **changes, "profiles": {}, "profile": name})

    def with_overrides(
        self,
        *,
        limit: int | None = None,
        models: Sequence[str] = (),
        samplers: Sequence[str] = (),
        metrics: Sequence[str] = (),
        prompts: Sequence[str] = (),
        lora: LoraSampler | None = None,
        placement: str | None = None,
    ) -> Suite:
        """The suite narrowed by the command line. ``prompts`` are texts that replace the suite's own.

        Raises UsageError where the result would not be a valid suite.
        """
        data = self.model_dump()
        if prompts:
            data["prompts"] = [{"set": "custom", "texts": list(prompts)}]
        if limit is not None:
            for use in data["prompts"]:
                use["limit"] = limit if use["limit"] is None else min(limit, use["limit"])
        if models:
            own = {m.name: m.model_dump() for m in self.models if isinstance(m, LocalModel)}
            data["models"] = [own.get(name, name) for name in models]
            for use in data["prompts"]:
                use["models"] = use["models"] and [name for name in use["models"] if name in models]
            data["prompts"] = [use for use in data["prompts"] if use["models"] != []]
        if samplers:
            trained = {s.label: s.model_dump() for s in self.samplers if isinstance(s, TrainedSampler)}
            data["samplers"] = [trained.get(name, name) for name in samplers]
        if lora is not None:
            data["samplers"].append(lora.model_dump())
        if metrics:
            data["metrics"] = list(metrics)
            data["left_out"] = []
        if placement is not None:
            data |= {"placement": placement, "placements": {}}
        try:
            suite = Suite.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UsageError(f"command line: {where}: {first['msg']}") from error
        for _, message in complaints(suite):
            raise UsageError(f"command line: {message}")
        return suite

    def metric_names(self) -> tuple[list[str], list[str]]:
        """The metrics to measure and those left out, the suite's judge named where they say 'judge'."""
        judge = f"[{self.judge}]"
        measured, left_out = ([n.replace("[judge]", judge) for n in x] for x in (self.metrics, self.left_out))
        return measured, left_out

    @property
    def label(self) -> str:
        """The name of everything the run writes: the suite's, and the profile's where one was applied."""
        return f"{self.name}-{self.profile}" if self.profile else self.name


def list_suites() -> dict[str, Path]:
    """The suites that ship with the package, by name; those in a folder are called FOLDER/NAME."""
    root = data_dir("suites")
    found = sorted(root.glob("*.yaml")) + sorted(root.glob("*/*.yaml"))
    return {path.relative_to(root).with_suffix("").as_posix(): path for path in found}


def find_suite(name_or_path: str) -> Path:
    """A suite file by path or by name. Raises UsageError with the nearest name when there is none."""
    path = Path(name_or_path)
    if path.is_file():
        return path
    shipped = list_suites()
    if name_or_path in shipped:
        return shipped[name_or_path]
    if path.is_dir() or path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        raise UsageError(f"no suite file at {name_or_path}; {near_misses(path.stem, shipped)}")
    raise UsageError(f"unknown suite {name_or_path!r}; {near_misses(name_or_path, shipped)}")


def load_suite(name_or_path: str) -> Suite:
    """Read and check a suite file, names included. Raises UsageError with file, line and nearest name."""
    path = find_suite(name_or_path)
    tree = read_yaml(path)
    suite = validated(Suite, path, tree, context=path.parent)
    for place, message in complaints(suite):
        raise UsageError(f"{path}:{line_of(tree, place)}: {message}")
    return suite


def json_schema() -> dict[str, Any]:
    """The JSON Schema of suite files, as committed in ``suites/suite.schema.json``."""
    schema = Suite.model_json_schema()
    for resolved in ("profile", "left_out", "placements"):
        schema["properties"].pop(resolved)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def json_schema_text() -> str:
    return json.dumps(json_schema(), indent=2, sort_keys=True) + "\n"
