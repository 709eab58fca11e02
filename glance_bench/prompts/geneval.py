"""GenEval: 553 prompts in six tasks, from the metadata of djghosh13/geneval (MIT)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from glance_bench.errors import near_misses
from glance_bench.prompts import Prompt, PromptSet
from glance_bench.prompts.official import read_official
from glance_bench.prompts.order import as_set, spread
from glance_bench.prompts.reading import objects_of, prompt_text, refuse
from glance_bench.prompts.sources import SOURCES

__all__ = ["TASKS", "as_published", "load"]

TASKS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")


def load(limit: int | None = None) -> PromptSet:
    """GenEval (553): objects, counts, colours and positions that a detector can check.

    id: the official index, five digits. category: the task. meta: the official metadata object. Spread over the
    six tasks (``order.spread``). Rewritten "long" prompts are another list: load those as ``file:PATH``.
    """
    (source,) = SOURCES["geneval"]
    return as_set("geneval", spread(read_official("geneval", source, parse)), limit)


def parse(path: Path) -> list[Prompt]:
    prompts: list[Prompt] = []
    for line, entry in objects_of(path, ("tag", "prompt", "include")):
        if entry["tag"] not in TASKS:
            refuse(path, line, f"unknown tag {entry['tag']!r}; {near_misses(str(entry['tag']), TASKS)}")
        text = prompt_text(entry["prompt"], path, line)
        prompts.append(Prompt(f"{len(prompts):05d}", text, entry["tag"], meta=entry))
    return prompts


def as_published(prompts: Iterable[Prompt]) -> dict[str, bytes]:
    """The metadata file of these prompts, by its name, in the official order."""
    lines = (json.dumps(dict(one.meta)) + "\n" for one in sorted(prompts, key=lambda one: one.id))
    return {"evaluation_metadata.jsonl": "".join(lines).encode()}
