"""What is known of the adapters that a board's samplers play: the records of their training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from glance_bench.errors import GlanceBenchError
from glance_bench.report.model import Board
from glance_bench.report.steps import cards_of, geometry_of
from glance_bench.samplers.cards import SamplerCard
from glance_bench.training.record import adapter_file, is_whole, read_record

__all__ = ["Adapter", "adapters_of"]

KEYS = ("losses", "recipe", "samples", "sources", "seconds", "trainable_parameters", "peak_memory_bytes")


@dataclass(frozen=True)
class Adapter:
    """An adapter by the name that cards use, ``folder/phase``, and the samplers of the board that play it.

    ``trained``: the run's suite trained it. ``record`` is what training wrote, {} where that is not known here;
    ``doubt`` says why, or why the record may be of another adapter.
    """

    name: str
    samplers: tuple[str, ...]
    trained: bool
    record: Mapping[str, Any]
    doubt: str = ""

    @property
    def folder(self) -> str:
        return self.name.partition("/")[0]


def adapters_of(board: Board) -> list[Adapter]:
    """In the order of the samplers. A LoRA file that is named by its path has a name and no record."""
    cards, files = cards_of(board), _files(board)
    players: dict[str, list[str]] = {}
    for name in board.samplers:
        for expert in cards[name].experts if name in cards else ():
            if expert.adapter or expert.lora:
                players.setdefault(expert.adapter or Path(str(expert.lora)).name, []).append(name)
    other = _others(board, cards, files)
    return [_adapter(name, tuple(dict.fromkeys(own)), files, other) for name, own in players.items()]


def _files(board: Board) -> dict[str, tuple[Path, bool]]:
    """The adapter files that cards can name on this machine, and whether the run trained them."""
    shape = geometry_of(board)
    found = {name: (file, False) for name, file in shape.adapters.items()} if shape else {}
    for entry in board.source.run.manifest.get("adapters", []) if board.source.run else ():
        if entry["model"] == board.results["model"]:
            folder = Path(entry["record"]).parent
            for phase in read_record(folder)["experts"]:
                found[f"{entry['adapters']}/{phase}"] = (adapter_file(folder, phase), True)
    return found


def _others(
    board: Board, cards: Mapping[str, SamplerCard], files: Mapping[str, tuple[Path, bool]]
) -> set[str]:
    """The samplers whose card, with the adapters that lie on this machine, is not the one that made the images."""
    shape = geometry_of(board)
    if shape is None:
        return set(cards)
    shape = replace(shape, adapters={name: file for name, (file, _) in files.items()})
    other = set()
    for row in board.results["samplers"]:
        card, made = cards.get(row["sampler"]), row.get("made_of")
        try:
            if card is not None and (made is None or card.digest(shape) != made["card"]):
                other.add(row["sampler"])
        except GlanceBenchError:  # an adapter that is not here
            other.add(row["sampler"])
    return other


def _adapter(
    name: str, samplers: tuple[str, ...], files: Mapping[str, tuple[Path, bool]], other: set[str]
) -> Adapter:
    _, _, phase = name.partition("/")
    if not phase:
        return Adapter(name, samplers, False, {}, "a LoRA file: how it was trained is not known")
    if name not in files:
        return Adapter(name, samplers, False, {}, "neither the adapter nor its record is on this machine")
    file, trained = files[name]
    document = read_record(file.parent)
    record = document["experts"].get(phase, {})
    if not set(KEYS) <= set(record):
        return Adapter(name, samplers, trained, {}, "its training left no record on this machine")
    doubt = ""
    if set(samplers) <= other or not is_whole(document, file.parent, phase):
        doubt = "the adapter on this machine is not the one that made these images; this is the record of the one here"
    return Adapter(name, samplers, trained, record, doubt)
