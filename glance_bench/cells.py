"""The cells of one board: each metric's value for each sampler, with its interval and its comparisons.

``groups`` are the records of the board's samplers by name, with the columns of sample metrics beside them, and
``reference`` is the sampler that the others are compared with. numpy and pandas only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from glance_bench import stats
from glance_bench.errors import GlanceBenchError
from glance_bench.metrics.base import (
    Column,
    CorpusMetric,
    Features,
    Metric,
    PromptMetric,
    ReferencedMetric,
    TotalledMetric,
)
from glance_bench.sealed import sha256_bytes

if TYPE_CHECKING:
    import pandas as pd

    from glance_bench.store import Run

__all__ = ["add_cells", "columns_of", "prompt_values", "recipe_id", "refuse_unscored"]

Statistic = Callable[[npt.NDArray[np.bool_]], float]  # of the rows that a mask keeps
Groups = Mapping[str, "pd.DataFrame"]
Cells = dict[str, dict[str, Any]]  # by sampler, or by sampler and column


def add_cells(run: Run, metric: Metric, groups: Groups, reference: str, cells: dict[str, Cells]) -> None:
    """Put the metric's cells into ``cells``, which has an entry for each sampler.

    Raises GlanceBenchError when images have no features yet.
    """
    if isinstance(metric, CorpusMetric):
        _corpus_cells(run, metric, groups, reference, cells)
        return
    if isinstance(metric, TotalledMetric):
        _total_cells(metric, groups, reference, cells)
    for column, by_prompt in prompt_values(run, metric, groups, reference):
        _mean_cells(metric, column, by_prompt, groups, reference, cells)


def columns_of(metric: Metric) -> list[Column]:
    """All columns of a metric, what it gives as a whole before what it gives for each image."""
    totals = metric.totals if isinstance(metric, TotalledMetric) else ()
    return [*(total.column for total in totals), *metric.columns]


def recipe_id(metric: Metric) -> str:
    """The name under which ``results.json`` keeps the metric's recipe."""
    return sha256_bytes(metric.recipe.encode())[:12]


def refuse_unscored(metric: str, missing: int) -> None:
    """Raises GlanceBenchError when the metric has no score for ``missing`` > 0 images."""
    if missing:
        raise GlanceBenchError(f"{missing} images have no score by {metric!r} yet: run the suite again")


def prompt_values(
    run: Run, metric: Metric, groups: Groups, reference: str
) -> Iterator[tuple[Column, dict[str, pd.Series]]]:
    """For each column of a metric that is a mean over prompts, float64 values by prompt id for each sampler.

    The images of a prompt are averaged before prompts are resampled.
    """
    if isinstance(metric, PromptMetric):
        (column,) = metric.columns
        yield column, _from_features(run, metric, groups, reference)
        return
    for column in metric.columns:
        yield (
            column,
            {name: own.groupby("prompt_id")[column.name].mean().dropna() for name, own in groups.items()},
        )


def _from_features(run: Run, metric: PromptMetric, groups: Groups, reference: str) -> dict[str, pd.Series]:
    import pandas as pd

    look_up = _features(run, metric.name)
    images = {
        name: {prompt: part.set_index("index")["image_sha256"] for prompt, part in own.groupby("prompt_id")}
        for name, own in groups.items()
    }
    found = {}
    for name, by_prompt in images.items():
        values = {}
        for prompt, shas in by_prompt.items():
            there = images[reference].get(prompt) if name != reference else None
            compared = there is not None and set(shas.index) <= set(there.index)
            theirs = look_up(there[shas.index]) if there is not None and compared else None
            values[str(prompt)] = metric.compare(look_up(shas), theirs)
        found[name] = pd.Series(values, dtype=float).rename_axis("prompt_id").dropna()
    return found


def _features(run: Run, metric: str) -> Callable[[pd.Series], Features]:
    """A function from a column of image hashes to their features, float32[N, D]."""
    shas, features = run.features(metric)
    place = {sha: row for row, sha in enumerate(shas)}

    def look_up(wanted: pd.Series) -> Features:
        refuse_unscored(metric, sum(sha not in place for sha in wanted))
        found: Features = features[[place[sha] for sha in wanted]]
        return found

    return look_up


def _mean_cells(
    metric: Metric,
    column: Column,
    by_prompt: Mapping[str, pd.Series],
    groups: Groups,
    reference: str,
    cells: dict[str, Cells],
) -> None:
    made: Cells = {}
    for name, values in by_prompt.items():
        if not len(values):
            continue
        own = groups[name]
        cell = made[name] = {"value": float(values.mean()), "prompts": len(values)}
        if metric.kind == "unit":
            cell["n"] = int(own[column.name].notna().sum())
            interval, cell["interval"] = stats.wilson(int(own[column.name].sum()), cell["n"]), "wilson"
        else:
            scored = (
                own[column.name].notna()
                if metric.kind in ("sample", "pair")
                else own["prompt_id"].isin(values.index)
            )
            cell["n"] = int(scored.sum())
            interval, cell["interval"] = stats.bootstrap_mean(values.to_numpy()), "bootstrap"
        cell |= {"low": interval.low, "high": interval.high, "recipe": recipe_id(metric)}

    def difference(a: str, b: str) -> stats.PairedDifference | None:
        both = by_prompt[a].index.intersection(by_prompt[b].index)
        if not len(both):
            return None
        return stats.paired_bootstrap(by_prompt[a][both].to_numpy(), by_prompt[b][both].to_numpy())

    if metric.kind != "unit":
        _compare(made, reference, column.better, difference)
    for name, cell in made.items():
        cells[name][column.name] = cell


def _corpus_cells(
    run: Run, metric: CorpusMetric, groups: Groups, reference: str, cells: dict[str, Cells]
) -> None:
    """A reduction of all features of a sampler."""
    look_up = _features(run, metric.name)
    if isinstance(metric, ReferencedMetric) and metric.against_board:
        compared = metric.reference_of(look_up(groups[reference]["image_sha256"]))
        groups = {name: own for name, own in groups.items() if name != reference}
    else:
        (folder,) = (entry["folder"] for entry in run.manifest["metrics"] if entry["name"] == metric.name)
        compared = metric.reference(run.folder / folder)

    def reduced(own: pd.DataFrame) -> Statistic:
        rows = look_up(own["image_sha256"])
        return lambda keep: metric.reduce(rows[keep], compared) if keep.sum() > 1 else math.nan

    (column,) = metric.columns
    made = _jackknife_cells(metric, column, {n: own for n, own in groups.items() if len(own) > 1}, reduced)
    for cell in made.values():
        if note := metric.note(cell["n"], compared):
            cell["note"] = note
    _add_jackknifed(made, column, reference, cells)


def _total_cells(metric: TotalledMetric, groups: Groups, reference: str, cells: dict[str, Cells]) -> None:
    """Numbers of all rows of a sampler that are no means over prompts."""
    columns = [column.name for column in metric.columns]
    scored = {name: own[own[columns].notna().any(axis=1)] for name, own in groups.items()}
    scored = {name: own for name, own in scored.items() if len(own)}
    for total in metric.totals:

        def whole(own: pd.DataFrame, of: Callable[[pd.DataFrame], float] = total.of) -> Statistic:
            return lambda keep: float(of(own[keep]))

        made = _jackknife_cells(metric, total.column, scored, whole)
        for cell in made.values():
            cell["low"], cell["high"] = np.clip((cell["low"], cell["high"]), *total.bounds).tolist()
        _add_jackknifed(made, total.column, reference, cells)


def _jackknife_cells(
    metric: Metric, column: Column, groups: Groups, statistic: Callable[[pd.DataFrame], Statistic]
) -> Cells:
    """A cell for each sampler that has a value, with a jackknife that leaves out the same prompts for all."""
    made: Cells = {}
    for name, own in groups.items():
        found = stats.group_jackknife(statistic(own), stats.group_labels(own["prompt_id"].tolist()))
        if math.isnan(found.value):
            continue
        ends = found.interval(floor=column.floor)
        cell = made[name] = {"value": found.value, "low": ends.low, "high": ends.high}
        cell |= {"n": len(own), "prompts": own["prompt_id"].nunique(), "interval": "jackknife"}
        cell |= {"recipe": recipe_id(metric)}
        cell |= {"replicates": found.replicates.tolist(), "pairs": found.pairs.tolist()}
    return made


def _add_jackknifed(made: Cells, column: Column, reference: str, cells: dict[str, Cells]) -> None:
    def difference(a: str, b: str) -> stats.PairedDifference | None:
        first, second = (stats.Jackknife.of_cell(made[name]) for name in (a, b))
        if first is None or second is None or not first.pairs_with(second):
            return None
        apart = first - second
        ends = apart.interval()
        return stats.PairedDifference(apart.value, ends.low, ends.high, min(made[a]["n"], made[b]["n"]))

    _compare(made, reference, column.better, difference)
    for name, cell in made.items():
        cells[name][column.name] = cell


def _compare(
    made: Cells,
    reference: str,
    better: str,
    difference: Callable[[str, str], stats.PairedDifference | None],
) -> None:
    """Add ``against_reference`` and ``rank`` to the cells of one column."""
    others = [name for name in made if name != reference]
    sign = 1 if better == "higher" else -1
    for name in others if reference in made else []:
        if (paired := difference(name, reference)) is not None:
            made[name]["against_reference"] = asdict(paired)
    if len(others) < 2:
        return
    best = max(others, key=lambda name: sign * made[name]["value"])
    if all(made[name]["value"] == made[best]["value"] for name in others):
        return
    for name in others:
        paired = None if name == best else difference(name, best)
        if name == best:
            made[name]["rank"] = "best"
        elif paired is not None and paired.low <= 0 <= paired.high:
            made[name]["rank"] = "tied"
