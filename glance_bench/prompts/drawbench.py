"""DrawBench: 200 prompts in eleven categories. There is no official file (a published sheet) and no official scorer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from glance_bench.prompts import Prompt, PromptSet
from glance_bench.prompts.official import read_official
from glance_bench.prompts.order import as_set, spread
from glance_bench.prompts.reading import prompt_text, rows_of
from glance_bench.prompts.sources import SOURCES
from glance_bench.prompts.tables import table_bytes

__all__ = ["as_published", "load"]

_COLUMNS = ("Prompts", "Category")


def load(limit: int | None = None) -> PromptSet:
    """DrawBench (200): colours, counts, positions, rare words, misspellings, text.

    id: the index in the table, three digits. Categories as written there (one ends in a space). Spread over them.
    """
    (source,) = SOURCES["drawbench"]
    return as_set("drawbench", spread(read_official("drawbench", source, parse)), limit)


def parse(path: Path) -> list[Prompt]:
    prompts: list[Prompt] = []
    for line, row in rows_of(path, _COLUMNS):
        text = prompt_text(row["Prompts"], path, line)
        prompts.append(Prompt(f"{len(prompts):03d}", text, row["Category"]))
    return prompts


def as_published(prompts: Iterable[Prompt]) -> dict[str, bytes]:
    """The table by its name, in its own order."""
    ordered = sorted(prompts, key=lambda one: one.id)
    rows = (dict(zip(_COLUMNS, (one.text, one.category), strict=True)) for one in ordered)
    return {"drawbench.csv": table_bytes(_COLUMNS, rows)}
