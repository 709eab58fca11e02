"""The suite file: what is generated, with what, how it is scored. Checked before any model is loaded.

Errors name the file, the line, the key that is wrong and the nearest valid one. No torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from .errors import UsageError, near_misses
from .registry import FAMILIES, METRICS, MODELS, PROMPT_SETS
from .resources import data_dir

__all__ = [
    "LocalModel",
    "LoraSampler",
    "Profile",
    "PromptUse",
    "Suite",
    "find_suite",
    "list_suites",
    "load_suite",
]

Name = Annotated[str, Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=1)]
Pixels = Annotated[int, Field(ge=16, le=8192, multiple_of=8)]
Text = Annotated[str, Field(min_length=1, max_length=100_000)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LocalModel(_Strict):
    """A checkpoint folder on this machine, in the diffusers layout."""

    name: Name
    family: Name
    path: Name


class LoraSampler(_Strict):
    """A LoRA file played on the schedule of another sampler, without a card of its own."""

    lora: Name
    scale: float = 1.0
    like: Name


class PromptUse(_Strict):
    """A registered prompt set, or with ``texts`` a set of the suite's own under the name ``set``."""

    set: Name
    limit: Count | None = Field(None, description="the first so many prompts; fewer are contained in more")
    texts: list[Text] | None = Field(None, min_length=1, description="the prompts themselves")
    models: list[Name] | None = Field(None, min_length=1, description="only these models; default: all")

    @field_validator("texts")
    @classmethod
    def _encodable(cls, texts: list[str] | None) -> list[str] | None:
        for text in texts or []:
            if not text.strip():
                raise ValueError("a prompt must not be blank")
            if any("\ud800" <= character <= "\udfff" for character in text):
                raise ValueError("a prompt must be valid Unicode, without lone surrogates")
        return texts


class Timing(_Strict):
    """The timing pass: ``repeats`` rounds over ``prompts`` prompts after ``warmup`` rounds, one image each."""

    repeats: Annotated[int, Field(ge=0)] = 3
    warmup: Annotated[int, Field(ge=0)] = 1
    prompts: Count = 1


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
    resolution: Pixels | None = None
    batch_size: Count | None = None
    slice_size: Count | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"


class Suite(_Strict):
    """One benchmark: models x samplers x prompts, and how the images are scored."""

    version: Literal[1] = Field(1, description="the version of this file format")
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    title: str = ""
    models: list[Name | LocalModel] = Field([], description="registered names, or folders")
    prompts: list[PromptUse] = Field(min_length=1)
    samplers: list[Name | LoraSampler] = Field(min_length=1, description="names, or paths of cards")
    metrics: list[Name] = Field([])
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    images_per_prompt: Count = 1
    noise: Literal["hashed", "by-index"] = "hashed"
    resolution: Pixels | None = Field(None, description="of a side; default: the model's own")
    batch_size: Count = 8
    slice_size: Count = Field(16, description="prompts in a unit of work")
    timing: Timing = Timing()
    device: Literal["cpu", "cuda"] = "cpu"
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    profiles: dict[Name, Profile] = Field({}, description="by name, in the order in which auto tries them")
    profile: str | None = Field(None, description="the profile applied; set when a run is resolved")

    def with_profile(self, name: str) -> Suite:
        """The suite as it runs under one of its profiles. Raises UsageError for an unknown one."""
        if name not in self.profiles:
            raise UsageError(
                f"suite {self.name!r} has no profile {name!r}; {near_misses(name, self.profiles)}"
            )
        profile = self.profiles[name]
        changes = profile.model_dump(exclude={"needs"}, exclude_none=True)
        return Suite.model_validate({**self.model_dump(), **changes, "profiles": {}, "profile": name})

    def with_overrides(
        self,
        *,
        limit: int | None = None,
        samplers: Sequence[str] = (),
        metrics: Sequence[str] = (),
        prompts: Sequence[str] = (),
        lora: LoraSampler | None = None,
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
        if samplers:
            data["samplers"] = list(samplers)
        if lora is not None:
            data["samplers"].append(lora.model_dump())
        if metrics:
            data["metrics"] = list(metrics)
        try:
            suite = Suite.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UsageError(f"command line: {where}: {first['msg']}") from error
        check_names(suite, lambda place, message: UsageError(f"command line: {message}"))
        return suite

    @property
    def label(self) -> str:
        """The name of everything the run writes: the suite's, and the profile's where one was applied."""
        return f"{self.name}-{self.profile}" if self.profile else self.name


def list_suites() -> dict[str, Path]:
    """The suites that ship with the package, by name."""
    return {path.stem: path for path in sorted(data_dir("suites").glob("*.yaml"))}


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
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    path = find_suite(name_or_path)
    try:
        tree = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text ({error.reason} at byte {error.start})") from error
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1
        raise UsageError(f"{path}:{line}: {str(error.problem).splitlines()[0]}") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise UsageError(f"{path}:{mark.line + 1 if mark else 1}: not YAML: {error.problem}") from error
    except YAMLError as error:
        raise UsageError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise UsageError(f"{path}:1: expected a mapping of settings such as 'name:' and 'models:'")
    try:
        suite = Suite.model_validate(_plain(tree))
    except ValidationError as error:
        raise _explain(path, tree, error) from error
    check_names(suite, lambda place, message: UsageError(f"{path}:{_line(tree, place)}: {message}"))
    return suite


def json_schema() -> dict[str, Any]:
    """The JSON Schema of suite files, as committed in ``suites/suite.schema.json``."""
    schema = Suite.model_json_schema()
    schema["properties"].pop("profile")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def json_schema_text() -> str:
    return json.dumps(json_schema(), indent=2, sort_keys=True) + "\n"


# -- names ---------------------------------------------------------------------------------------------------


def check_names(suite: Suite, complaint: Any) -> None:
    """Every name is known and stated once. ``complaint(place, message)`` makes the error to raise."""
    from .samplers.cards import list_cards, load_card

    rooms: list[tuple[tuple[str | int, ...], Suite | Profile]] = [((), suite)]
    rooms += [(("profiles", name), profile) for name, profile in suite.profiles.items()]
    for base, room in rooms:
        _once(
            complaint, (*base, "models"), "model", [m if isinstance(m, str) else m.name for m in room.models]
        )
        for number, model in enumerate(room.models):
            place = (*base, "models", number)
            if isinstance(model, str) and model not in MODELS:
                raise complaint(place, f"unknown model {model!r}; {near_misses(model, MODELS.names())}")
            if isinstance(model, LocalModel) and model.family not in FAMILIES:
                hint = near_misses(model.family, FAMILIES.names())
                raise complaint((*place, "family"), f"unknown model family {model.family!r}; {hint}")
        known = {m if isinstance(m, str) else m.name for m in room.models}
        _once(complaint, (*base, "prompts"), "prompt set", [use.set for use in room.prompts or []])
        for number, use in enumerate(room.prompts or []):
            if use.texts is None and use.set not in PROMPT_SETS:
                hint = near_misses(use.set, PROMPT_SETS.names())
                place = (*base, "prompts", number, "set")
                raise complaint(place, f"unknown prompt set {use.set!r}; {hint}")
            for model_name in use.models or []:
                if known and model_name not in known:
                    hint = near_misses(model_name, known)
                    place = (*base, "prompts", number, "models")
                    raise complaint(
                        place, f"prompts name model {model_name!r}, not one of the suite's; {hint}"
                    )
    if not suite.models and not suite.profiles:
        raise complaint((), "a suite needs 'models', or 'profiles' that have them")
    _once(complaint, ("metrics",), "metric", suite.metrics)
    for number, metric in enumerate(suite.metrics):
        if metric not in METRICS:
            hint = near_misses(metric, METRICS.names())
            raise complaint(("metrics", number), f"unknown metric {metric!r}; {hint}")
    names = [s if isinstance(s, str) else f"{Path(s.lora).stem} like {s.like}" for s in suite.samplers]
    _once(complaint, ("samplers",), "sampler", names)
    cards = {card.name for card in list_cards()}
    for number, sampler in enumerate(suite.samplers):
        name = sampler if isinstance(sampler, str) else sampler.like
        if name in cards:
            continue
        try:
            load_card(name)
        except UsageError as error:
            raise complaint(("samplers", number), str(error)) from error


def _once(complaint: Any, place: tuple[str | int, ...], kind: str, names: Iterable[str]) -> None:
    seen = set()
    for number, name in enumerate(names):
        if name in seen:
            raise complaint((*place, number), f"{kind} {name!r} is listed twice")
        seen.add(name)


# -- places in the file --------------------------------------------------------------------------------------


def _plain(node: Any) -> Any:
    """The parsed YAML as plain dicts, lists and scalars."""
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def _line(tree: Any, place: Sequence[str | int]) -> int:
    """The 1-based line of the deepest part of ``place`` that the file has."""
    line = 1
    node: Any = tree
    for part in place:
        at: Any = getattr(node, "lc", None)
        if isinstance(node, dict) and part in node:
            line = at.key(part)[0] + 1
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            line = at.item(part)[0] + 1
        else:
            continue
        node = node[part]
    return line


def _explain(path: Path, tree: Any, error: ValidationError) -> UsageError:
    """The most telling of pydantic's complaints as one line."""
    first = min(error.errors(), key=lambda e: (e["type"] != "extra_forbidden", -len(e["loc"])))
    place = first["loc"]
    key = ".".join(
        str(part) for part in place if not str(part).startswith(("str", "constrained-str", "function"))
    )
    where = f"{path}:{_line(tree, place)}"
    if first["type"] == "extra_forbidden":
        return UsageError(
            f"{where}: unknown key {key!r}; {near_misses(str(place[-1]), _keys_at(place[:-1]))}"
        )
    if first["type"] == "missing":
        return UsageError(f"{where}: {key!r} is required")
    message = first["msg"].removeprefix("Value error, ")
    given = repr(first["input"])
    return UsageError(f"{where}: {key}: {message}, got {given if len(given) <= 60 else given[:57] + '...'}")


def _keys_at(place: Sequence[str | int]) -> list[str]:
    """The keys that the mapping at ``place`` may have."""
    kinds: dict[str, type[BaseModel]] = {
        "prompts": PromptUse,
        "timing": Timing,
        "profiles": Profile,
        "needs": Needs,
        "LocalModel": LocalModel,
        "LoraSampler": LoraSampler,
    }
    found: type[BaseModel] = Suite
    for part in place:
        found = kinds.get(str(part), found)
    return list(found.model_fields)
