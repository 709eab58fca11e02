"""What a finished run holds for one sampler in one column, ready to be put beside something else.

A sampler that was trained with several seeds stands in a run once a seed, as ``name.s0``, ``name.s1``; here it is one
row, the mean over its seeds. numpy and pandas only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from glance_bench import stats
from glance_bench.stats.ratios import Ratio, jackknife_ratio, ratio_of_means

if TYPE_CHECKING:
    import pandas as pd

    from glance_bench.evidence import Evidence

__all__ = ["Images", "Score", "boards", "column_of", "mean_score", "members", "retention", "score"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Images:
    """Images that a score was measured on: one sampler's on one board of a run, and the column of their scores."""

    run: str
    model: str
    prompt_set: str
    sampler: str
    column: str


@dataclass(frozen=True)
class Score:
    """One measured number with its 95 % interval (None where there is none), images, prompts and seeds behind it.

    ``failed`` is how many of the sampler's images are black or not finite: they are scored like any other. ``corpus``
    is true of a distance between sets of images. Either ``by_prompt`` (float64 by prompt id: the score is their mean)
    or ``jackknife`` (the score without groups of prompts) is there to pair it with another score.
    ``images`` is what it was measured on: an entry a seed, and of a mean over columns one for each part.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    prompts: int
    run: str
    metric: str
    seeds: int = 1
    failed: int = 0
    corpus: bool = False
    note: str = ""
    by_prompt: pd.Series | None = None
    jackknife: stats.Jackknife | None = None
    images: tuple[Images, ...] = ()

    def times(self, scale: float) -> Score:
        """The same in another unit."""
        if scale == 1:
            return self
        ends = [None if end is None else end * scale for end in (self.low, self.high)]
        return replace(
            self,
            value=self.value * scale,
            low=ends[0],
            high=ends[1],
            by_prompt=None if self.by_prompt is None else self.by_prompt * scale,
            jackknife=None if self.jackknife is None else self.jackknife.times(scale),
        )


def boards(evidence: Evidence, *, testbed: bool) -> list[Mapping[str, Any]]:
    """The boards of the testbed's models, or those of all others."""
    return [board for board in evidence.results["boards"] if bool(board["testbed"]) is testbed]


def column_of(evidence: Evidence, name: str) -> Mapping[str, Any] | None:
    """What results.json says about a column."""
    return next((column for column in evidence.results["columns"] if column["name"] == name), None)


def members(evidence: Evidence, board: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The board's row of this name, or its rows of one trained sampler, a row a seed."""
    exact = [row for row in board["samplers"] if row["sampler"] == name]
    trained = {s.get("name") for s in evidence.suite.get("samplers", []) if isinstance(s, Mapping)}
    if exact or name not in trained:
        return exact
    seed = re.compile(re.escape(name) + r"\.s\d+")
    return [row for row in board["samplers"] if seed.fullmatch(row["sampler"])]


def score(
    evidence: Evidence, board: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], column: str
) -> Score | None:
    """The score of a sampler (its row, or its rows by seed) in a column; None where one of them has no value.

    One row has the interval of results.json. Several have one over seeds and prompts, see ``stats.crossed_interval``;
    where there are replicates instead, the jackknife's half width and the seeds' are added in squares.
    """
    cells = [row["cells"][column] for row in rows if row["cells"].get(column, {}).get("value") is not None]
    if not cells or len(cells) < len(rows):
        return None
    value, low, high = float(np.mean([cell["value"] for cell in cells])), cells[0]["low"], cells[0]["high"]
    by_prompt, jackknife = _by_prompt(evidence, board, rows, column), None
    if by_prompt is None:
        jackknife = _mean_of([stats.Jackknife.of_cell(cell) for cell in cells])
    if len(cells) > 1:
        low, high = _over_seeds(value, [cell["value"] for cell in cells], by_prompt, jackknife)
    return Score(
        value,
        low,
        high,
        n=sum(cell["n"] for cell in cells),
        prompts=min(cell["prompts"] for cell in cells),
        run=evidence.name,
        metric=column,
        seeds=len(cells),
        failed=sum(map(_failed, rows)),
        corpus=(column_of(evidence, column) or {}).get("kind") == "corpus",
        note=cells[0].get("note", ""),
        by_prompt=None if by_prompt is None else by_prompt.mean(axis=1),
        jackknife=jackknife,
        images=tuple(
            Images(evidence.name, board["model"], board["prompt_set"], row["sampler"], column) for row in rows
        ),
    )


def mean_score(parts: Sequence[Score], name: str) -> Score:
    """The mean of several scores of one sampler, as benchmarks print an overall one.

    Its interval is a jackknife that leaves out a group of prompts of every part at once; the parts are taken to be
    scored on prompts of their own. None where a part has too few prompts for as many groups as the others.
    """
    value = float(np.mean([part.value for part in parts]))
    jackknife = _mean_of([_jackknife(part) for part in parts])
    low, high = (None, None) if jackknife is None else _ends(jackknife.interval())
    runs = ", ".join(dict.fromkeys(part.run for part in parts))
    n, prompts = min(part.n for part in parts), min(part.prompts for part in parts)
    failed = max(part.failed for part in parts)
    images = tuple(one for part in parts for one in part.images)
    seeds = parts[0].seeds
    return Score(value, low, high, n, prompts, runs, name, seeds, failed, jackknife=jackknife, images=images)


def retention(student: Score, teacher: Score) -> Ratio | None:
    """student / teacher, paired by prompt, with its 95 % interval: a ratio of means, or of two statistics.

    None where the two have nothing to be paired by. Where there are seeds it is the mean over them whose prompts are
    resampled: the interval is of these adapters, not of others.
    """
    if student.by_prompt is not None and teacher.by_prompt is not None:
        both = student.by_prompt.index.intersection(teacher.by_prompt.index)
        if not len(both):
            return None
        return ratio_of_means(student.by_prompt[both].to_numpy(), teacher.by_prompt[both].to_numpy())
    above, below = _jackknife(student), _jackknife(teacher)
    if above is None or below is None or not above.pairs_with(below):
        return None
    return jackknife_ratio(above, below)


def _failed(row: Mapping[str, Any]) -> int:
    cell = row["cells"].get("failed")
    return 0 if cell is None or cell.get("value") is None else round(cell["value"] * cell["n"])


def _by_prompt(
    evidence: Evidence, board: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], column: str
) -> pd.DataFrame | None:
    """float64[prompts, seeds] of the prompts that every row has; None for a column without a value an image."""
    import pandas as pd

    samples = evidence.samples
    if column not in samples.columns:
        return None
    here = samples[(samples["model"] == board["model"]) & (samples["prompt_set"] == board["prompt_set"])]
    found = {
        row["sampler"]: here[here["sampler"] == row["sampler"]].groupby("prompt_id")[column].mean().dropna()
        for row in rows
    }
    frame = pd.DataFrame(found).dropna()
    return frame if len(frame) else None


def _over_seeds(
    value: float,
    values: Sequence[float],
    by_prompt: pd.DataFrame | None,
    jackknife: stats.Jackknife | None,
) -> tuple[float | None, float | None]:
    if by_prompt is not None:
        return _ends(stats.crossed_interval(by_prompt.to_numpy(np.float64).T))
    if jackknife is None:
        return None, None
    prompts = jackknife.interval()
    seeds = stats.crossed_interval([list(values)])  # of one row: its t interval
    half = float(np.hypot((prompts.high - prompts.low) / 2, (seeds.high - seeds.low) / 2))
    return _ends(stats.Interval(value - half, value + half))


def _mean_of(parts: Sequence[stats.Jackknife | None]) -> stats.Jackknife | None:
    known = [part for part in parts if part is not None]
    return stats.Jackknife.mean_of(known) if len(known) == len(parts) else None


def _jackknife(part: Score) -> stats.Jackknife | None:
    """The score without groups of prompts."""
    if part.by_prompt is None:
        return part.jackknife
    values = part.by_prompt.to_numpy(np.float64)
    labels = stats.group_labels([str(prompt) for prompt in part.by_prompt.index])
    return stats.group_jackknife(lambda keep: float(values[keep].mean()), labels)


def _ends(interval: stats.Interval) -> tuple[float | None, float | None]:
    if not (np.isfinite(interval.low) and np.isfinite(interval.high)):
        return None, None
    return interval.low, interval.high
