"""LongText-Bench: 160 English and 160 Chinese prompts with the text to be rendered, X-Omni-Team/X-Omni (Apache-2.0)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from glance_bench.prompts import Prompt, PromptSet
from glance_bench.prompts.official import read_official
from glance_bench.prompts.order import as_set, spread
from glance_bench.prompts.reading import objects_of, prompt_text, refuse, unique
from glance_bench.prompts.sources import SOURCES

__all__ = ["as_published", "load", "load_zh"]

_KEYS = ("category", "length", "prompt", "text", "text_length", "prompt_id")


def load(limit: int | None = None) -> PromptSet:
    """LongText-Bench, English (160): eight kinds of picture with short and long text.

    id: the official prompt_id, four digits (ids run 0..199 with gaps). wanted_text: the official list.
    meta: length ("short" or "long"), text_length, language. Spread over category and length.
    """
    return _load("longtext", limit)


def load_zh(limit: int | None = None) -> PromptSet:
    """LongText-Bench, Chinese (160): as the English set."""
    return _load("longtext-zh", limit)


def _load(name: str, limit: int | None) -> PromptSet:
    (source,) = SOURCES[name]
    prompts = read_official(name, source, lambda path: parse(path, "zh" if name == "longtext-zh" else "en"))
    return as_set(name, spread(prompts, lambda one: f"{one.category} {one.meta['length']}"), limit)


def parse(path: Path, language: str) -> list[Prompt]:
    prompts = []
    seen: dict[str, int] = {}
    for line, entry in objects_of(path, _KEYS):
        number, texts = entry["prompt_id"], entry["text"]
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            refuse(path, line, f"prompt_id is {number!r}; expected a whole number")
        if not isinstance(texts, list) or not all(isinstance(text, str) and text.strip() for text in texts):
            refuse(path, line, "text must be a list of strings, none of them empty")
        meta = {"length": entry["length"], "text_length": entry["text_length"], "language": language}
        identity = unique(f"{number:04d}", path, line, seen)
        text = prompt_text(entry["prompt"], path, line)
        prompts.append(Prompt(identity, text, str(entry["category"]), tuple(texts), meta))
    return prompts


def as_published(prompts: Iterable[Prompt]) -> dict[str, bytes]:
    """The official file of these prompts, by its name, in the official order."""
    lines, name = [], "text_prompts.jsonl"
    for one in sorted(prompts, key=lambda one: one.id):
        values = (one.category, one.meta["length"], one.text, list(one.wanted_text), one.meta["text_length"])
        row = dict(zip(_KEYS, (*values, int(one.id)), strict=True))
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
        name = "text_prompts_zh.jsonl" if one.meta["language"] == "zh" else name
    return {name: "".join(lines).encode()}
