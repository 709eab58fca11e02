"""The names in a suite file: each must be known, and none may stand twice. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from .errors import UsageError, near_misses
from .keys import refuse_key
from .registry import FAMILIES, METRICS, MODELS, PROMPT_SETS
from .samplers.cards import load_card

if TYPE_CHECKING:
    from .suite import Profile, Suite

__all__ = ["complaints"]

Place = tuple[str | int, ...]


def complaints(suite: Suite) -> Iterator[tuple[Place, str]]:
    """Where in the file a name is unknown or stated twice, and what to say about it."""
    yield from _room(suite, (), suite)
    for name, profile in suite.profiles.items():
        yield from _room(profile, ("profiles", name), suite)
    if not suite.models and not suite.profiles:
        yield (), "a suite needs 'models', or 'profiles' that have them"
    yield from _training(suite)


def _training(suite: Suite) -> Iterator[tuple[Place, str]]:
    trained = [entry.name for entry in suite.train]
    yield from _twice("train entry", trained, ("train",))
    for number, entry in enumerate(suite.train):
        numbered = {f"{entry.name}.s{seed}" for seed in entry.seeds if len(entry.seeds) > 1}
        for clash in sorted(numbered.intersection(trained)):
            yield ("train", number), f"seed of {entry.name!r} and train entry {clash!r} have the same name"
        for family in entry.recipe if isinstance(entry.recipe, dict) else ():
            if family not in FAMILIES:
                hint = near_misses(family, FAMILIES.names())
                yield ("train", number, "recipe"), f"unknown model family {family!r}; {hint}"


def _room(room: Suite | Profile, at: Place, suite: Suite) -> Iterator[tuple[Place, str]]:
    """Of what a suite and each of its profiles have: models, prompts, samplers, metrics."""
    models = [model if isinstance(model, str) else model.name for model in room.models]
    yield from _twice("model", models, (*at, "models"))
    for number, model in enumerate(room.models):
        if isinstance(model, str):
            if model not in MODELS:
                hint = near_misses(model, MODELS.names())
                yield (*at, "models", number), f"unknown model {model!r}; {hint}"
        elif model.family not in FAMILIES:
            hint = near_misses(model.family, FAMILIES.names())
            yield (*at, "models", number, "family"), f"unknown model family {model.family!r}; {hint}"
    uses = room.prompts or []
    yield from _twice("prompt set", [use.set for use in uses], (*at, "prompts"))
    for number, use in enumerate(uses):
        if use.texts is None and use.set not in PROMPT_SETS:
            hint = near_misses(use.set, PROMPT_SETS.names())
            yield (*at, "prompts", number, "set"), f"unknown prompt set {use.set!r}; {hint}"
        for name in use.models or []:
            if models and name not in models:
                hint = near_misses(name, models)
                yield (*at, "prompts", number, "models"), f"model {name!r} is not one of the suite's; {hint}"
    yield from _samplers(room, at, suite)
    yield from _metrics(room, at, suite)


def _samplers(room: Suite | Profile, at: Place, suite: Suite) -> Iterator[tuple[Place, str]]:
    trained = [entry.name for entry in suite.train]
    samplers = room.samplers or []
    yield from _twice("sampler", map(str, samplers), (*at, "samplers"))
    for number, sampler in enumerate(samplers):
        try:
            load_card(sampler if isinstance(sampler, str) else sampler.like)
        except UsageError as error:
            yield (*at, "samplers", number), str(error)
        adapters = getattr(sampler, "adapters", None)
        if adapters is not None and adapters not in trained:
            hint = near_misses(adapters, trained) or "the suite has no 'train'"
            yield (*at, "samplers", number, "adapters"), f"no train entry {adapters!r}; {hint}"


def _metrics(room: Suite | Profile, at: Place, suite: Suite) -> Iterator[tuple[Place, str]]:
    metrics = room.metrics or []
    for place, name in (("judge", room.judge or ""), *(("metrics", metric) for metric in metrics)):
        try:
            refuse_key(name)
        except UsageError as error:
            yield (*at, place), str(error)
    yield from _twice("metric", metrics, (*at, "metrics"))
    for number, metric in enumerate(metrics):
        if metric not in METRICS:
            hint = near_misses(metric, METRICS.names())
            yield (*at, "metrics", number), f"unknown metric {metric!r}; {hint}"
        elif metric.endswith("[judge]") and not (room.judge or suite.judge):
            yield (*at, "metrics", number), f"metric {metric!r} needs 'judge': who answers its questions"


def _twice(kind: str, names: Iterable[str], at: Place) -> Iterator[tuple[Place, str]]:
    seen: set[str] = set()
    for number, name in enumerate(names):
        if name in seen:
            yield (*at, number), f"{kind} {name!r} is listed twice"
        seen.add(name)
