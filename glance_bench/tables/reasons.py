"""Why a cell of a table is empty, and what would fill it. No torch.

One of REASONS is shown, the first that holds; ``Reason.why`` says all that holds, with the commands that help.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from glance_bench.errors import GlanceBenchError, MissingData, UsageError
from glance_bench.metrics.choose import TEACHER, available
from glance_bench.profiles import find_gpus
from glance_bench.registry import MODELS, ModelEntry

from .published import Column, PaperTables, Row, Table

__all__ = ["REASONS", "Machine", "Reason"]

REASONS = {
    "no card": "glance-bench has no sampler card for this row",
    "no metric": "glance-bench has no metric that gives this number",
    "not comparable": "a given run has this cell, but made in another way",
    "no weights": "the weights of the model or of the metric are not on this machine",
    "no reference images": "the images that the metric compares with are not on this machine",
    "no GPU": "this machine has no GPU that the model could run on",
    "not run": "nothing is missing, but no given run has it",
}
OFFICIAL = ("[official]", "[official-zh]")  # scores that are read back, and need no weights here


@dataclass(frozen=True)
class Reason:
    """One of REASONS, and everything that stands in the way, a clause each."""

    name: str
    why: tuple[str, ...]


class Machine:
    """What this machine lacks; every question is asked of it once."""

    def __init__(self) -> None:
        self._weights, self._metric = cache(_weights), cache(_metric)
        self._images, self._gpu = cache(_reference_images), cache(_gpu)

    def reason(self, paper: PaperTables, table: Table, row: Row, column: Column) -> Reason:
        """Why nothing is measured for a row and a column, as far as the file and this machine can say."""
        if row.card is None and not (row.sampler and table.ablation):
            return _no_card(row)
        parts = [paper.columns[name] for name in column.mean_of] or [column]
        if not all(part.metrics for part in parts):
            return Reason(
                "no metric", (f"no metric gives {column.benchmark} {column.title} as it is printed",)
            )
        needs = [lack for part in parts for lack in self._metric(tuple(part.metrics))]
        for part in parts:
            if part.reference is not None:
                needs += self._images(part.metrics[0], part.reference)
        run = f"glance-bench run {column.suite}" if column.suite else "a run of its prompts and metrics"
        if all(name.endswith(OFFICIAL) for part in parts for name in part.metrics):
            run += ", then export and import-scores"
        return self._first(paper, row, needs, run)

    def untimed(self, paper: PaperTables, row: Row, column: Column) -> Reason:
        """Why no latency is measured for a row. ``column`` is one of its table, whose suite would time it."""
        if row.card is None:
            return _no_card(row)
        return self._first(paper, row, [], f"glance-bench run {column.suite}, which times its samplers")

    def _first(self, paper: PaperTables, row: Row, needs: Sequence[Reason], run: str) -> Reason:
        found = [*self._weights(paper.families[row.family].model), *needs, *self._gpu()]
        if not found:
            return Reason("not run", (run,))
        return Reason(found[0].name, tuple(dict.fromkeys(why for lack in found for why in lack.why)))


def _no_card(row: Row) -> Reason:
    told = f"no sampler card corresponds to {row.label}"
    if row.sampler:
        told += f"; images of it fill the row by glance-bench import-images --as {row.sampler}"
    return Reason("no card", (told,))


def _weights(model: str) -> tuple[Reason, ...]:
    if model not in MODELS:
        return (Reason("no weights", (f"there is no model called {model!r}",)),)
    entry: ModelEntry = MODELS.get(model)
    try:
        entry.path.stat()
    except (MissingData, OSError) as missing:
        return (Reason("no weights", (f"the model {missing}",)),)
    return ()


def _metric(names: Sequence[str]) -> tuple[Reason, ...]:
    """What the first of the metrics waits for; () where one can be measured here, or only be read back."""
    lacking: list[Reason] = []
    for name in names:
        if name.endswith(OFFICIAL):
            continue
        try:
            _, waiting = available([name], TEACHER)
        except UsageError as error:
            return (Reason("no metric", (str(error),)),)
        if not waiting:
            return ()
        lacking.append(Reason("no weights", (f"{name} {waiting[name]}",)))
    return tuple(lacking[:1])


def _reference_images(metric: str, reference: str) -> tuple[Reason, ...]:
    """Whether they are what is missing can only be seen where the metric's own weights are here."""
    if _metric((metric,)):
        return ()
    _, waiting = available([metric], reference)
    return (Reason("no reference images", (f"{metric} {waiting[metric]}",)),) if waiting else ()


def _gpu() -> tuple[Reason, ...]:
    try:
        gpus = find_gpus()
    except GlanceBenchError as error:  # one that is there and does not work
        return (Reason("no GPU", (str(error),)),)
    return () if gpus else (Reason("no GPU", ("this machine has no GPU",)),)
