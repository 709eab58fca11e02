"""The steps that a board's samplers played, and the sampler cards that say who served them.

A run records the steps of every unit; what is kept of a run has only their digest. The card of a sampler, compiled
here, names the experts: it is believed where its steps have the digest that the results state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from glance_bench.errors import GlanceBenchError
from glance_bench.models.checkpoints import family_geometry, read_geometry
from glance_bench.registry import MODELS, ModelEntry
from glance_bench.report.model import Board
from glance_bench.samplers.cards import Geometry, SamplerCard, load_card, lora_card
from glance_bench.samplers.lora_files import trained_adapters
from glance_bench.samplers.trained import trained_card
from glance_bench.sealed import digest_of
from glance_bench.suite import LocalModel, LoraSampler, Suite, TrainedSampler
from glance_bench.training.recipe import PUBLISHED, changed, load_recipe
from glance_bench.trajectory import Trajectory
from glance_bench.units import read_unit

__all__ = ["BASE", "Played", "cards_of", "geometry_of", "played"]

BASE = "base model"
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Played:
    """The steps of the samplers at these ``places`` of a board, which all have the same.

    ``rows`` have sigma, sigma_next, t_cond, adapter (bool), adapter_scale, guidance, passes, phase, and ``expert``:
    whose adapter serves the step, or BASE. ``named`` is false where only the run's record speaks, which knows that an
    adapter was there and not which.
    """

    places: tuple[int, ...]
    rows: Rows
    named: bool

    @property
    def evaluations(self) -> int:
        """Model evaluations an image, two a step where guidance takes two or the solver does; without a cache."""
        costs: list[int] = [row["cost"] if "cost" in row else row["passes"] for row in self.rows]
        return sum(costs)


def played(board: Board) -> tuple[list[Played], list[tuple[int, str]]]:
    """Every sampler's steps, those with the same ones together; and the places of the others, with the reason."""
    cards, shape = cards_of(board), geometry_of(board)
    found: dict[str, Played] = {}
    unknown = []
    for place, row in enumerate(board.results["samplers"]):
        made = row.get("made_of")
        rows = _compiled(cards.get(row["sampler"]), shape)
        named = made is not None and rows is not None and digest_of(_plain(rows)) == made["trajectory"]
        if not named:
            rows = _recorded(board, row)
        if not rows:
            unknown.append((place, _why(made)))
            continue
        same = found.setdefault(digest_of(rows), Played((), rows, named))
        found[digest_of(rows)] = replace(same, places=(*same.places, place))
    return list(found.values()), unknown


def geometry_of(board: Board) -> Geometry | None:
    """What the board's model tells cards: read from its checkpoint, or the published one of its family.

    None where neither is known.
    """
    entry = _model(board)
    sizes = [row["made_of"]["resolution"] for row in board.results["samplers"] if row.get("made_of")]
    if entry is None or not sizes:
        return None
    height, width = sizes[0]
    shape: Geometry | None = None
    try:
        shape = read_geometry(Path(entry.path), height, width)
    except GlanceBenchError:  # its weights are elsewhere: a report is often made on another machine
        try:
            shape = family_geometry(entry.family, height) if height == width else None
        except GlanceBenchError:
            return None
    return None if shape is None else replace(shape, adapters=trained_adapters(entry.adapters))


def cards_of(board: Board) -> dict[str, SamplerCard]:
    """The cards of the board's samplers by name, as far as they can be read here."""
    suite, entry = _suite(board), _model(board)
    if suite is None:
        return {}
    return {card.name: card for card in _cards(suite, entry.family if entry else None)}


def _cards(suite: Suite, family: str | None) -> Iterator[SamplerCard]:
    for sampler in suite.samplers:
        try:
            if isinstance(sampler, str):
                yield load_card(sampler)
            elif isinstance(sampler, LoraSampler):
                yield lora_card(sampler.lora, sampler.scale, sampler.like)
            else:
                yield from _trained(suite, sampler, family)
        except GlanceBenchError:  # a card, a recipe or a LoRA file that is not on this machine
            continue


def _trained(suite: Suite, sampler: TrainedSampler, family: str | None) -> Iterator[SamplerCard]:
    """A card for each seed, named as a plan names it."""
    for entry in suite.train:
        if entry.name != sampler.adapters:
            continue
        recipes = PUBLISHED if entry.recipe is None else entry.recipe
        recipe = recipes if isinstance(recipes, str) else recipes.get(family or "")
        if recipe is None:
            continue
        phases = changed(load_recipe(recipe), entry.changes).phase_names
        for seed in entry.seeds:
            folder = entry.labels(seed)[-1]
            name = sampler.label + folder.removeprefix(sampler.adapters)
            yield trained_card(sampler.like, name, folder, phases)


def _suite(board: Board) -> Suite | None:
    try:
        return Suite.model_validate(board.source.evidence.suite)
    except ValidationError:  # of another version: its samplers are then known by their records alone
        return None


def _model(board: Board) -> ModelEntry | None:
    name, suite = str(board.results["model"]), _suite(board)
    for model in suite.models if suite else []:
        if isinstance(model, LocalModel) and model.name == name:
            adapters = None if model.adapters is None else Path(model.adapters)
            return ModelEntry(name, model.family, Path(model.path), adapters)
    return MODELS.get(name) if name in MODELS else None


def _compiled(card: SamplerCard | None, shape: Geometry | None) -> Rows | None:
    if card is None or shape is None:
        return None
    try:
        trajectory: Trajectory = card.compile(shape)
    except GlanceBenchError:  # a card that was edited since, and no longer fits
        return None
    return [
        {
            **row,
            "adapter": row["adapter"] is not None,
            "phase": step.phase,
            "expert": step.phase if row["adapter"] else BASE,
        }
        for step, row in zip(trajectory.steps, trajectory.to_rows(), strict=True)
    ]


def _plain(rows: Rows) -> Rows:
    """What the digest of a trajectory is made of."""
    return [{key: row[key] for key in row if key not in ("phase", "expert")} for row in rows]


def _recorded(board: Board, row: Mapping[str, Any]) -> Rows | None:
    """The steps in the sampler's first unit; None where there is no run, or its images were made elsewhere."""
    if board.source.run is None or not row["units"]:
        return None
    made = read_unit(board.source.run.folder / row["units"][0]).get("sampler_made_of")
    if not made:
        return None
    return [
        {**step, "phase": "all", "expert": "adapter" if step["adapter"] else BASE}
        for step in made["trajectory"]
    ]


def _why(made: Mapping[str, Any] | None) -> str:
    if made is None:
        return "its images were made elsewhere"
    return "only a digest of its steps was kept, and no card on this machine gives steps with that digest"
