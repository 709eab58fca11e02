"""HPSv2's benchmark prompts: four styles of 800, four JSON lists of the hub data set that the hpsv2 package reads."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from glance_bench.prompts import Prompt, PromptSet
from glance_bench.prompts.official import read_official
from glance_bench.prompts.order import as_set, spread
from glance_bench.prompts.reading import array_of, prompt_text, refuse
from glance_bench.prompts.sources import SOURCES

__all__ = ["STYLES", "as_published", "load"]

STYLES = ("anime", "concept-art", "paintings", "photo")


def load(limit: int | None = None) -> PromptSet:
    """HPSv2 (3200): 800 prompts each of anime, concept art, paintings and photo.

    id: ``<style>/<official index, five digits>``, which is the image's name in the official layout.
    category: the style. The first 4 N prompts are the first N of every style.
    """
    prompts = [
        prompt
        for style, source in zip(STYLES, SOURCES["hpsv2"], strict=True)
        for prompt in read_official("hpsv2", source, partial(parse, style=style))
    ]
    return as_set("hpsv2", spread(prompts), limit)


def parse(path: Path, style: str) -> list[Prompt]:
    # A JSON array has no lines of its own: the position in it is named instead.
    prompts = []
    for index, item in enumerate(array_of(path)):
        if not isinstance(item, str) or not item.strip():
            refuse(path, 1, f"item {index} of the array is no prompt: {str(item)[:40]!r}")
        prompts.append(Prompt(f"{style}/{index:05d}", prompt_text(item, path, 1), style))
    return prompts


def as_published(prompts: Iterable[Prompt]) -> dict[str, bytes]:
    """The four official files by name, each in the official order."""
    lists: dict[str, list[str]] = {f"{style}.json": [] for style in STYLES}
    for one in sorted(prompts, key=lambda one: one.id):
        lists[f"{one.category}.json"].append(one.text)
    return {name: json.dumps(texts, ensure_ascii=False).encode() for name, texts in lists.items()}
