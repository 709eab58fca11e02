"""The failures of one board as a JSON document: its sentences, and the causes of what fails most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from ..comparison.document import finite
from ..report.text import visible
from .causes import Causes
from .drops import OVERALL, Column, drops, worst
from .grid import Grid
from .summary import sentences

if TYPE_CHECKING:
    import pandas as pd


class Asked(Protocol):
    """A prompt, as far as causes need it."""

    @property
    def id(self) -> str: ...

    @property
    def wanted_text(self) -> tuple[str, ...]: ...


__all__ = ["SCHEMA", "causes_of", "document"]

SCHEMA = "glance-bench/failures/1"
MOST = 50  # images of each sampler and column whose causes are told


def document(
    grid: Grid,
    columns: Sequence[Column],
    *,
    records: pd.DataFrame | None = None,
    prompts: Sequence[Asked] = (),
    most: int = MOST,
) -> dict[str, Any]:
    """The document of a board (see the package's docstring), control characters in its texts spelt out. Deterministic.

    ``columns`` are those of results.json, ``records`` and ``prompts`` as for ``causes_of``. Causes are given for the
    ``most`` images of each sampler that lose most in each column.
    """
    dropped = drops(grid, columns)
    explained = causes_of(grid, columns, dropped, records, prompts)
    chosen = {
        (s, r)
        for drop in dropped.values()
        for sampler in range(len(grid.samplers))
        for s, r in _worst_of(drop, sampler, most, dropped[OVERALL])
    }
    told = ((f"{s}/{r}", explained.of(s, r)) for s, r in sorted(chosen))
    found, tests = sentences(grid, columns)
    made: dict[str, Any] = finite(
        {
            "schema": SCHEMA,
            "reference": grid.samplers[grid.reference],
            "columns": list(dropped),
            "tests": tests,
            "sentences": [asdict(sentence) for sentence in found],
            "causes": {key: said for key, said in told if said},
        }
    )
    shown: dict[str, Any] = _shown(made)
    return shown


def _shown(value: Any) -> Any:
    """The same with every text as a reader sees it, names of samplers too."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {key: _shown(one) for key, one in value.items()}
    return [_shown(one) for one in value] if isinstance(value, list) else value


def causes_of(
    grid: Grid,
    columns: Sequence[Column],
    dropped: Mapping[str, Any],
    records: pd.DataFrame | None,
    prompts: Sequence[Asked],
) -> Causes:
    """The causes of a board's images. ``records`` are ``results.scored_records``, of this board or of the whole run;
    None where there are none. ``prompts`` are those of its set.
    """
    if records is not None and len(grid.samples):
        first = grid.samples.iloc[0]
        own = (records["model"] == first["model"]) & (records["prompt_set"] == first["prompt_set"])
        records = records[own]
    wanted = {prompt.id: " ".join(prompt.wanted_text) for prompt in prompts if prompt.wanted_text}
    return Causes(grid, columns, dropped, records, wanted)


def _worst_of(drop: Any, sampler: int, most: int, ties: Any) -> list[tuple[int, int]]:
    own = slice(sampler, sampler + 1)
    return [(sampler, r) for _, r in worst(drop[own], most, ties=ties[own])]
