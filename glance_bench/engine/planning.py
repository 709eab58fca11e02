"""From a resolved suite to units of work, each with a key that covers everything which can change a pixel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import GlanceBenchError, UsageError
from ..metrics.base import FROM_FEATURES
from ..metrics.choose import available
from ..models.checkpoints import checkpoint_digest, read_geometry, read_settings
from ..profiles import Target
from ..registry import MODELS, PROMPT_SETS, ModelEntry
from ..samplers.cards import Geometry, SamplerCard, load_card, lora_card
from ..samplers.lora_files import trained_adapters
from ..samplers.trained import check_phases, trained_card
from ..sealed import digest_of, sha256_bytes, slug
from ..suite import LocalModel, LoraSampler, PromptUse, Suite
from ..units import UnitInfo
from .adapt import Job, planned
from .placements import plans_of, settled
from .plan import TEACHER, Item, Plan, PlannedMetric, PlannedModel, PlannedSampler, Work

if TYPE_CHECKING:
    from ..prompts import Prompt

__all__ = ["make_plan", "model_entry"]

GENERATION_VERSION = 1  # raise it when the same key would give other pixels


def make_plan(suite: Suite, folder: Path | None = None, target: Target | None = None) -> Plan:
    """Resolve every name, read every prompt, compile every card, hash every key.

    Adapters that are still to be trained enter the keys with the key of their training, later with their content.
    Placements are settled for ``target``, by default this machine, as the run in ``folder`` has them; the plan's suite
    names them.
    Raises UsageError for bad requests and GlanceBenchError for weights that are missing.
    """
    found = [_model(entry, suite) for entry in suite.models]
    suite = settled(suite, folder, target)
    plans = plans_of(suite, target)
    models = [replace(model, **plans.get(model.name, {})) for model in found]
    prompt_sets = [(use, *_prompts(use)) for use in suite.prompts]
    metrics, waiting = _metrics(suite)
    jobs = {model: planned(suite, model) for model in models}
    families = {read_settings(model.path).family for model in models}
    samplers = tuple(s for model in models for s in _samplers(model, suite, jobs[model], families))
    _refuse_strips_beyond(suite, samplers)
    played = {step.adapter for sampler in samplers for step in sampler.trajectory.steps}
    needed = [job for model in models for job in jobs[model] if played & set(map(str, job.adapters.values()))]
    sliced = [(use, name, _slices(prompts, suite)) for use, name, _, prompts in prompt_sets]
    works = [
        work
        for sampler in samplers
        for use, name, slices in sliced
        if use.models is None or sampler.model.name in use.models
        for work in _works(sampler, name, slices, suite)
    ]
    sets = tuple((name, revision, prompts) for _, name, revision, prompts in prompt_sets)
    return Plan(suite, samplers, sets, tuple(works), metrics, tuple(needed), waiting)


def model_entry(entry: str | LocalModel) -> ModelEntry:
    """What a suite means by one of its models."""
    if isinstance(entry, str):
        found: ModelEntry = MODELS.get(entry)
        return found
    folder = Path(entry.adapters) if entry.adapters else None
    return ModelEntry(entry.name, entry.family, Path(entry.path), folder)


def _model(entry: str | LocalModel, suite: Suite) -> PlannedModel:
    found = model_entry(entry)
    try:
        path, side = found.path, suite.resolution
        resolution = (side, side) if side else read_settings(path).resolution
        digest = checkpoint_digest(path)
    except GlanceBenchError as error:
        raise type(error)(f"model {found.name!r}: {error}") from error
    return PlannedModel(found.name, found.family, path, digest, resolution, found.adapters)


def _prompts(use: PromptUse) -> tuple[str, str, tuple[Prompt, ...]]:
    """Name, revision and prompts of one set."""
    from ..prompts import Prompt

    if use.texts is None:
        loaded = PROMPT_SETS.get(use.set)(use.limit)
        revision, prompts = str(loaded.revision), tuple(loaded.prompts)
    else:
        texts = use.texts[: use.limit]
        revision = digest_of(texts)[:12]
        prompts = tuple(Prompt(sha256_bytes(text.encode())[:12], text, "custom") for text in texts)
    if not prompts:
        raise UsageError(f"prompt set {use.set!r} is empty; at least one prompt is needed")
    seen: set[str] = set()
    for prompt in prompts:
        if prompt.id in seen:
            raise UsageError(f"prompt set {use.set!r} has prompt {prompt.id!r} twice ({prompt.text[:60]!r})")
        seen.add(prompt.id)
    return use.set, revision, prompts


def _metrics(suite: Suite) -> tuple[tuple[PlannedMetric, ...], dict[str, str]]:
    """What is measured, and what waits: of the suite's metrics and of those that its profile leaves out."""
    names, left_out = suite.metric_names()
    found, waiting = available(names, suite.reference)
    others, absent = available(left_out, suite.reference or "teacher")
    waiting |= absent | dict.fromkeys(others, f"left out by profile {suite.profile}")
    return tuple(_metric(name, metric) for name, metric in found.items()), waiting


def _metric(name: str, metric: Any) -> PlannedMetric:
    if metric.kind == "unit":
        return PlannedMetric(name, metric, None)
    recipe, room = metric.recipe, "scores"
    if metric.kind in FROM_FEATURES:
        recipe, room = metric.extractor, "features"
    folder = f"{room}/{slug(recipe.partition(':')[0])}-{digest_of(recipe)[:8]}"
    return PlannedMetric(name, metric, folder)


def _cards(suite: Suite, jobs: Sequence[Job]) -> list[tuple[SamplerCard, str]]:
    """The suite's samplers for the model of ``jobs``, with their groups.

    What the model's recipe trains decides whom a card's steps go to.
    """
    cards, groups = [], []
    for sampler in suite.samplers:
        if isinstance(sampler, str):
            cards.append(load_card(sampler))
        elif isinstance(sampler, LoraSampler):
            cards.append(lora_card(sampler.lora, sampler.scale, sampler.like))
        else:
            own = [job for job in jobs if job.entry.name == sampler.adapters]
            if not own:
                raise UsageError(f"sampler {sampler.label!r}: no train entry {sampler.adapters!r}")
            for job in own:
                name = sampler.label + job.label.removeprefix(sampler.adapters)
                cards.append(trained_card(sampler.like, name, job.label, job.recipe.phase_names))
                groups.append(sampler.label)
        groups += [card.name for card in cards[len(groups) :]]
    names = [card.name for card in cards]
    for card in cards:
        if names.count(card.name) > 1:
            raise UsageError(f"two samplers are called {card.name!r}; rename one of them")
        for job in jobs:
            check_phases(card, job.labels, job.recipe.phase_names)
    return list(zip(cards, groups, strict=True))


def _samplers(
    model: PlannedModel, suite: Suite, jobs: Sequence[Job], families: set[str]
) -> Iterator[PlannedSampler]:
    """A card for another family is left out; raises UsageError when none of the suite's ``families`` is its own."""
    adapters = trained_adapters(model.adapters)
    promised: dict[str, str] = {}
    for job in jobs:
        adapters |= job.adapters
        if not job.done:
            promised |= {str(file): job.key for file in job.adapters.values()}
    shape = replace(read_geometry(model.path, *model.resolution), adapters=adapters)
    for card, group in _cards(suite, jobs):
        if shape.family in card.families:
            yield _sampler(model, card, group, shape, promised, suite)
        elif families.isdisjoint(card.families):
            names = " and ".join(card.families)
            raise UsageError(f"sampler {card.name!r} is for {names}, which none of the suite's models is")


def _sampler(
    model: PlannedModel,
    card: SamplerCard,
    group: str,
    shape: Geometry,
    promised: Mapping[str, str],
    suite: Suite,
) -> PlannedSampler:
    weights, own = model, shape
    if card.base is not None:
        try:
            base = MODELS.get(card.base).path
            weights = replace(model, path=base, digest=checkpoint_digest(base))
        except GlanceBenchError as error:
            raise type(error)(f"sampler {card.name!r}: base {card.base!r}: {error}") from error
        own = replace(read_geometry(base, *model.resolution), adapters=shape.adapters)
    trajectory = card.compile(own)
    made_of: dict[str, Any] = {
        "generation_version": GENERATION_VERSION,
        "family": model.family,
        "checkpoint": weights.digest,
        "card": card.digest(own, promised),
        "trajectory": [{**row, "adapter": row["adapter"] is not None} for row in trajectory.to_rows()],
        "resolution": list(model.resolution),
        "device": suite.device,
        "dtype": model.placement.dtype if model.placement else suite.dtype,
    }
    if model.placement and model.placement.numerics:
        made_of["placement"] = model.placement.numerics
    speedup = trajectory.speedup(load_card(TEACHER).compile(shape))
    return PlannedSampler(model, weights, card, group, trajectory, speedup, made_of)


def _refuse_strips_beyond(suite: Suite, samplers: Sequence[PlannedSampler]) -> None:
    """Raises UsageError when the suite asks for a strip's picture of a step that no sampler has."""
    longest = max(samplers, key=lambda sampler: len(sampler.trajectory))
    asked = suite.strips.steps if suite.strips else 0
    if isinstance(asked, list) and asked[-1] >= len(longest.trajectory):
        raise UsageError(
            f"strips: no sampler has a step {asked[-1]}; {longest.name}, the longest, has steps 0 to "
            f"{len(longest.trajectory) - 1}"
        )


def _slices(prompts: tuple[Prompt, ...], suite: Suite) -> list[tuple[tuple[Item, ...], list[Any]]]:
    """The images of each slice, the same for every sampler, and what a unit's key hashes of them."""
    slices = []
    for start in range(0, len(prompts), suite.slice_size):
        items = tuple(
            Item(prompt, index, _seed(suite, prompt, position, index))
            for position, prompt in enumerate(prompts[start : start + suite.slice_size], start)
            for index in range(suite.images_per_prompt)
        )
        hashed = [[i.prompt.id, sha256_bytes(i.prompt.text.encode()), i.index, i.seed] for i in items]
        slices.append((items, hashed))
    return slices


def _works(
    sampler: PlannedSampler,
    prompt_set: str,
    slices: Sequence[tuple[tuple[Item, ...], list[Any]]],
    suite: Suite,
) -> Iterator[Work]:
    room = f"units/{slug(sampler.model.name)}/{slug(sampler.name)}-{sampler.key[:12]}/{slug(prompt_set)}"
    for number, (items, hashed) in enumerate(slices):
        made_of = {
            "sampler": sampler.key,
            "batch_size": suite.batch_size,
            "noise": suite.noise,
            "images": hashed,
        }
        key = digest_of(made_of)
        folder = f"{room}/{number:05d}-{key[:12]}"
        info = UnitInfo(sampler.model.name, sampler.name, prompt_set, number, key, folder)
        yield Work(info, sampler, items, made_of)


def _seed(suite: Suite, prompt: Prompt, position: int, index: int) -> int:
    """63 bits from suite seed, prompt id and image index; or by position in the set, a million an index."""
    if suite.noise == "by-index":
        return suite.seed + position + 1_000_000 * index
    return int(digest_of([suite.seed, prompt.id, index])[:16], 16) >> 1
