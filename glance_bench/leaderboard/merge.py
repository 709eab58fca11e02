"""The rows of several runs by board; what two runs measured alike is one row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..comparison import Side, sides_of

if TYPE_CHECKING:
    from ..evidence import Evidence

__all__ = ["Board", "Column", "Entry", "boards_of"]

IDENTITY = ["prompt_id", "index", "text_sha256", "seed"]


@dataclass(frozen=True)
class Column:
    """A column of a board. ``key`` is its name, with the recipe's id where the board has two recipes of that name."""

    key: str
    recipe: str
    known: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.known["name"])

    @property
    def title(self) -> str:
        return str(self.known["title"]) + ("" if self.key == self.name else f" [{self.recipe}]")


@dataclass
class Entry:
    """A row: a sampler of a run, or of several runs that agree. ``name`` is unique on its board."""

    sides: list[Side]
    runs: list[str]
    name: str = ""

    def side_with(self, column: Column) -> Side | None:
        """The first side that has the column in its recipe."""
        for side in self.sides:
            cell = side.cells.get(column.name)
            if cell is not None and cell["recipe"] == column.recipe:
                return side
        return None

    def value(self, column: Column) -> float:
        """NaN where there is none."""
        side = self.side_with(column)
        value = None if side is None else side.cells[column.name]["value"]
        return math.nan if value is None else float(value)


@dataclass
class Board:
    """One model on one prompt set, from every run that has it."""

    model: str
    prompt_set: str
    testbed: bool
    entries: list[Entry] = field(default_factory=list)

    def columns(self) -> list[Column]:
        """Every column in every recipe, in the order of the runs."""
        found: dict[tuple[str, str], Mapping[str, Any]] = {}
        for entry in self.entries:
            for side in entry.sides:
                for name, known in side.columns.items():
                    if name in side.cells:
                        found.setdefault((name, side.cells[name]["recipe"]), known)
        recipes: dict[str, int] = {}
        for name, _ in found:
            recipes[name] = recipes.get(name, 0) + 1
        return [
            Column(name if recipes[name] == 1 else f"{name} [{recipe}]", recipe, known)
            for (name, recipe), known in found.items()
        ]


def boards_of(evidences: Sequence[Evidence]) -> list[Board]:
    """The boards of all runs, the testbed's last. Raises GlanceBenchError for damaged samples (see ``Side.images``)."""
    names = _run_names(evidences)
    found: dict[tuple[str, str, bool], Board] = {}
    for evidence, run in zip(evidences, names, strict=True):
        for side in sides_of(evidence):
            key = side.model, side.prompt_set, bool(side.board["testbed"])
            board = found.setdefault(key, Board(*key))
            for entry in board.entries:
                if all(_agree(side, other) for other in entry.sides):
                    entry.sides.append(side)
                    entry.runs.append(run)
                    break
            else:
                board.entries.append(Entry([side], [run]))
    for board in found.values():
        _name(board.entries)
    return sorted(found.values(), key=lambda board: board.testbed)


def _agree(a: Side, b: Side) -> bool:
    """Whether the same sampler, prompts and noise gave the same values: then two runs have one row.

    Columns that only one of them has do not count; a column of another recipe does.
    """
    if a.sampler != b.sampler or a.made_of != b.made_of:
        return False
    shared = [name for name in a.cells if name in b.cells]
    if any(
        (a.cells[n]["recipe"], a.cells[n]["value"]) != (b.cells[n]["recipe"], b.cells[n]["value"])
        for n in shared
    ):
        return False
    ours, theirs = (side.images[IDENTITY].sort_values(IDENTITY).reset_index(drop=True) for side in (a, b))
    return bool(shared) and ours.equals(theirs)


def _name(entries: Sequence[Entry]) -> None:
    for entry in entries:
        sampler = entry.sides[0].sampler
        alone = sum(other.sides[0].sampler == sampler for other in entries) == 1
        entry.name = sampler if alone else f"{sampler} ({' = '.join(entry.runs)})"


def _run_names(evidences: Sequence[Evidence]) -> list[str]:
    """The runs' names, with their folders where two have the same."""
    names = [evidence.name for evidence in evidences]
    return [
        name if names.count(name) == 1 else f"{name} in {Path(evidence.path)}"
        for name, evidence in zip(names, evidences, strict=True)
    ]
