"""DSG-1k: 1060 prompts from ten sources with 8182 dependent yes/no questions, j-min/DSG (Apache-2.0)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from glance_bench.prompts import Prompt, PromptSet
from glance_bench.prompts.official import read_official
from glance_bench.prompts.order import as_set, spread
from glance_bench.prompts.questions import item_rows, questions_of, questions_table
from glance_bench.prompts.reading import prompt_text
from glance_bench.prompts.sources import SOURCES

__all__ = ["as_published", "load"]


def load(limit: int | None = None) -> PromptSet:
    """DSG-1k (1060): prompts of ten sources, each with a graph of yes/no questions.

    id: the item id. meta: index (official position), source, questions (``prompts.questions``). Spread over the
    sources. One prompt (tifa160_134) lacks its first question in the published table, on which others depend.
    """
    (source,) = SOURCES["dsg"]
    prompts = read_official("dsg", source, parse)
    return as_set("dsg", spread(prompts, lambda one: str(one.meta["source"])), limit)


def parse(path: Path) -> list[Prompt]:
    prompts = []
    for index, (identity, rows) in enumerate(item_rows(path).items()):
        line, row = rows[0]
        source = identity.rpartition("_")[0]
        meta = {"index": index, "source": source, "questions": questions_of(path, rows)}
        prompts.append(Prompt(identity, prompt_text(row["text"], path, line), "", meta=meta))
    return prompts


def as_published(prompts: Iterable[Prompt]) -> dict[str, bytes]:
    """The official table of these prompts by its name, in the official order."""
    ordered = sorted(prompts, key=lambda one: int(one.meta["index"]))
    return {"dsg-1k-anns.csv": questions_table((one.id, one.text, one.meta["questions"]) for one in ordered)}
