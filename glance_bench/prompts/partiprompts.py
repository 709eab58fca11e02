"""PartiPrompts: 1632 prompts in twelve categories, google-research/parti (Apache-2.0). There is no official scorer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from glance_bench.prompts import Prompt, PromptSet
from glance_bench.prompts.official import read_official
from glance_bench.prompts.order import as_set, spread
from glance_bench.prompts.reading import prompt_text, rows_of
from glance_bench.prompts.sources import SOURCES

__all__ = ["as_published", "load"]

_COLUMNS = ("Prompt", "Category", "Challenge", "Note")


def load(limit: int | None = None) -> PromptSet:
    """PartiPrompts (1632): from one word to a paragraph, in twelve categories.

    id: the official index, four digits. meta: challenge, note. Spread over the categories.
    """
    (source,) = SOURCES["partiprompts"]
    return as_set("partiprompts", spread(read_official("partiprompts", source, parse)), limit)


def parse(path: Path) -> list[Prompt]:
    # A plain table: quotation marks in it are part of the prompts, at the very start of one of them too.
    prompts: list[Prompt] = []
    for line, row in rows_of(path, _COLUMNS, "\t", quoted=False):
        text = prompt_text(row["Prompt"], path, line)
        meta = {"challenge": row["Challenge"], "note": row["Note"]}
        prompts.append(Prompt(f"{len(prompts):04d}", text, row["Category"], meta=meta))
    return prompts


def as_published(prompts: Iterable[Prompt]) -> dict[str, bytes]:
    """The official table by its name, in the official order."""
    ordered = sorted(prompts, key=lambda one: one.id)
    rows = ((one.text, one.category, one.meta["challenge"], one.meta["note"]) for one in ordered)
    return {"PartiPrompts.tsv": "".join("\t".join(row) + "\n" for row in (_COLUMNS, *rows)).encode()}
