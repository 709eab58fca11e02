"""The two sides of a comparison: a sampler on a board of a run, twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import GlanceBenchError, UsageError, near_misses

if TYPE_CHECKING:
    import pandas as pd

    from ..evidence import Evidence

__all__ = ["Side", "sides_of", "two_runs", "two_samplers", "unshared"]

KEYS = ["prompt_id", "index"]


@dataclass(frozen=True)
class Side:
    """One sampler on one board (a model on a prompt set) of one run.

    ``board`` and ``row`` are its entries in results.json.
    """

    evidence: Evidence
    board: Mapping[str, Any]
    row: Mapping[str, Any]

    @property
    def model(self) -> str:
        return str(self.board["model"])

    @property
    def prompt_set(self) -> str:
        return str(self.board["prompt_set"])

    @property
    def sampler(self) -> str:
        return str(self.row["sampler"])

    @property
    def cells(self) -> Mapping[str, Mapping[str, Any]]:
        cells: Mapping[str, Mapping[str, Any]] = self.row["cells"]
        return cells

    @property
    def columns(self) -> dict[str, Mapping[str, Any]]:
        """The columns of the run's results by name."""
        return {str(column["name"]): column for column in self.evidence.results["columns"]}

    @property
    def made_of(self) -> Mapping[str, Any] | None:
        """What the images were made of; None for images made elsewhere."""
        made: Mapping[str, Any] | None = self.row.get("made_of")
        return made

    @cached_property
    def images(self) -> pd.DataFrame:
        """The side's rows of the evidence's samples, one an image.

        Raises GlanceBenchError when an image is recorded twice, or when fewer images have rows than results.json
        counts.
        """
        frame = self.evidence.samples
        chosen = (
            (frame["model"] == self.model)
            & (frame["prompt_set"] == self.prompt_set)
            & (frame["sampler"] == self.sampler)
        )
        own = frame[chosen]
        twice = int(own.duplicated(KEYS).sum())
        if twice:
            raise GlanceBenchError(
                f"{self.evidence.path}: duplicated records: {twice} images of {self.sampler!r} "
                f"on {self.prompt_set!r} are there twice"
            )
        if len(own) != self.row["images"]:
            raise GlanceBenchError(
                f"{self.evidence.path}: {self.row['images']} images of {self.sampler!r} on "
                f"{self.prompt_set!r} are counted in results.json and {len(own)} have samples"
            )
        return own


def sides_of(evidence: Evidence) -> Iterator[Side]:
    """Every sampler on every board of a run, in the order of its results."""
    for board in evidence.results["boards"]:
        for row in board["samplers"]:
            yield Side(evidence, board, row)


def two_samplers(evidence: Evidence, first: str, second: str) -> list[tuple[Side, Side]]:
    """The two samplers on every board of the run that has both.

    Raises UsageError for a name that the run has not, and for twice the same.
    """
    sides = list(sides_of(evidence))
    for name in (first, second):
        _known(name, sides, str(evidence.path))
    if first == second:
        raise UsageError(f"{first!r} is compared with itself: name two samplers")
    pairs = [
        (a, b)
        for a in sides
        for b in sides
        if a.board is b.board and (a.sampler, b.sampler) == (first, second)
    ]
    if not pairs:
        raise GlanceBenchError(f"{evidence.path}: no board has both {first!r} and {second!r}")
    return pairs


def two_runs(first: Evidence, second: Evidence, sampler: str | None = None) -> list[tuple[Side, Side]]:
    """Every sampler that two runs share, or only ``sampler``, on every board that they share.

    Raises GlanceBenchError when they share none, UsageError when ``sampler`` is not in both.
    """
    theirs = {(side.model, side.prompt_set, side.sampler): side for side in sides_of(second)}
    ours = list(sides_of(first))
    if sampler is not None:
        _known(sampler, ours, str(first.path))
        _known(sampler, list(theirs.values()), str(second.path))
    pairs = [
        (side, theirs[key])
        for side in ours
        if (key := (side.model, side.prompt_set, side.sampler)) in theirs and sampler in (None, side.sampler)
    ]
    if not pairs:
        raise GlanceBenchError(
            f"nothing in common: {first.path} has {_boards(first)}, {second.path} has {_boards(second)}"
        )
    return pairs


def unshared(first: Evidence, second: Evidence) -> list[str]:
    """A sentence for each sampler on a board that only one of two runs has."""
    ours, theirs = ({(s.sampler, s.model, s.prompt_set) for s in sides_of(run)} for run in (first, second))
    return [
        f"{sampler} ({model} on {prompt_set}) is only in {name}"
        for name, keys in (("A", ours - theirs), ("B", theirs - ours))
        for sampler, model, prompt_set in sorted(keys)
    ]


def _known(name: str, sides: list[Side], where: str) -> None:
    names = {side.sampler for side in sides}
    if name not in names:
        raise UsageError(f"{where} has no sampler {name!r}; {near_misses(name, names)}")


def _boards(evidence: Evidence) -> str:
    return ", ".join(
        f"{board['model']} on {board['prompt_set']} ({', '.join(row['sampler'] for row in board['samplers'])})"
        for board in evidence.results["boards"]
    )
