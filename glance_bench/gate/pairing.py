"""The images of one sampler on both sides, put beside each other.

With paired noise two images belong together when they were made from the same prompt with the same index; with fresh
noise only prompts do, and each side's images of a prompt are averaged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import GlanceBenchError

if TYPE_CHECKING:
    import pandas as pd

    from ..evidence import Evidence

__all__ = ["ByPrompt", "Pair", "boards", "columns_of", "pairs"]

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
Board = tuple[str, str]  # model, prompt set
KEYS = ["model", "sampler", "prompt_set", "prompt_id", "index"]


@dataclass(frozen=True)
class ByPrompt:
    """One column of a pair: prompt ids and float64[N] of each side; and what only one side has a value for."""

    ids: list[str]
    baseline: Floats
    run: Floats
    one_sided: list[str]


@dataclass(frozen=True)
class Pair:
    """One sampler of one board on both sides.

    ``baseline`` and ``run`` are the rows that both have, indexed by (prompt_id, index) in the same order with paired
    noise, by prompt_id with fresh noise. ``gone`` and ``new`` name what only the baseline and only the run has.
    """

    model: str
    prompt_set: str
    sampler: str
    paired: bool
    baseline: pd.DataFrame
    run: pd.DataFrame
    gone: list[str]
    new: list[str]
    texts: Mapping[str, str]
    baseline_row: Mapping[str, Any]  # of results["boards"][]["samplers"]
    run_row: Mapping[str, Any]
    is_reference: bool

    @property
    def same_images(self) -> bool:
        """Whether both sides have the very same image files, so that no score can have changed."""
        return (
            self.paired
            and len(self.run) > 1
            and not (self.gone or self.new)
            and bool((self.baseline["image_sha256"].to_numpy() == self.run["image_sha256"].to_numpy()).all())
        )

    def by_prompt(self, column: str) -> ByPrompt:
        """One column as a mean for each prompt; an image without a finite value on both sides does not enter."""
        theirs, mine = _finite(self.baseline[column]), _finite(self.run[column])
        one_sided: list[str] = []
        if self.paired:
            odd = np.isnan(theirs) != np.isnan(mine)
            one_sided = _named(self.run.index[odd])
            theirs[odd] = mine[odd] = np.nan
        ids, before, after = self._prompts
        theirs, mine = _means(theirs, before, len(ids)), _means(mine, after, len(ids))
        if not self.paired:
            one_sided = [ids[i] for i in np.flatnonzero(np.isnan(theirs) != np.isnan(mine))]
        both = np.flatnonzero(~np.isnan(theirs) & ~np.isnan(mine))
        return ByPrompt([ids[i] for i in both], theirs[both], mine[both], one_sided)

    @cached_property
    def _prompts(self) -> tuple[list[str], Places, Places]:
        """The prompt ids, and for each row of both sides which of them it belongs to."""
        names, after = np.unique(self.run.index.get_level_values(0).to_numpy(str), return_inverse=True)
        before = np.searchsorted(names, self.baseline.index.get_level_values(0).to_numpy(str))
        return names.tolist(), before, after


def _finite(values: pd.Series) -> Floats:
    """A copy in float64, NaN for what is not finite."""
    found = values.to_numpy(np.float64, copy=True)
    found[~np.isfinite(found)] = np.nan
    return found


def _means(values: Floats, places: Places, count: int) -> Floats:
    """float64[count]: the mean of what is there at each place, NaN where nothing is."""
    there = ~np.isnan(values)
    sums = np.bincount(places[there], weights=values[there], minlength=count)
    counts = np.bincount(places[there], minlength=count)
    return np.divide(sums, counts, out=np.full(count, np.nan), where=counts > 0)


def boards(evidence: Evidence) -> dict[Board, Mapping[str, Any]]:
    """The boards of a run by (model, prompt set)."""
    return {(board["model"], board["prompt_set"]): board for board in evidence.results["boards"]}


def columns_of(evidence: Evidence) -> dict[str, Mapping[str, Any]]:
    """The columns of a run by name."""
    return {column["name"]: column for column in evidence.results["columns"]}


def pairs(baseline: Evidence, run: Evidence, *, paired: bool) -> Iterator[Pair]:
    """The samplers that both sides have, board by board in the baseline's order.

    Raises GlanceBenchError when a table lists an image twice.
    """
    mine, theirs = _grouped(run), _grouped(baseline)
    rows = {
        (*place, row["sampler"]): row for place, board in boards(run).items() for row in board["samplers"]
    }
    for (model, prompt_set), board in boards(baseline).items():
        for row in board["samplers"]:
            key = (model, prompt_set, row["sampler"])
            if key not in rows:
                continue
            first = _indexed(theirs.get(key, baseline.samples.iloc[:0]), paired)
            second = _indexed(mine.get(key, run.samples.iloc[:0]), paired)
            shared = first.index.intersection(second.index, sort=False).unique()
            yield Pair(
                model=model,
                prompt_set=prompt_set,
                sampler=row["sampler"],
                paired=paired,
                baseline=first[first.index.isin(shared)].sort_index(),
                run=second[second.index.isin(shared)].sort_index(),
                gone=_named(first.index.difference(second.index).unique()),
                new=_named(second.index.difference(first.index).unique()),
                texts=baseline.prompts.get(prompt_set, {}),
                baseline_row=row,
                run_row=rows[key],
                is_reference=row["sampler"] == board["reference"],
            )


def _grouped(evidence: Evidence) -> dict[tuple[str, str, str], pd.DataFrame]:
    """The samples by model, prompt set and sampler."""
    samples = evidence.samples
    twice = int(samples.duplicated(KEYS).sum())
    if twice:
        first = samples[samples.duplicated(KEYS)].iloc[0]
        raise GlanceBenchError(
            f"{evidence.path}: samples.parquet lists {twice} images twice, such as {first['sampler']} on "
            f"{first['prompt_id']} #{first['index']}: report the run again, or save the baseline again"
        )
    return {
        (str(model), str(prompt_set), str(sampler)): own
        for (model, prompt_set, sampler), own in samples.groupby(
            ["model", "prompt_set", "sampler"], sort=False
        )
    }


def _indexed(table: pd.DataFrame, paired: bool) -> pd.DataFrame:
    return table.set_index(["prompt_id", "index"] if paired else "prompt_id")


def _named(index: Sequence[Any]) -> list[str]:
    return [f"{one[0]} #{one[1]}" if isinstance(one, tuple) else str(one) for one in index]
