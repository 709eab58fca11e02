"""T2I-CompBench: the validation prompts of its eight categories, Karine-Huang/T2I-CompBench (MIT)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from glance_bench.prompts import Prompt, PromptSet
from glance_bench.prompts.official import read_official
from glance_bench.prompts.order import as_set, spread
from glance_bench.prompts.reading import lines_of, prompt_text
from glance_bench.prompts.sources import SOURCES

__all__ = ["CATEGORIES", "as_published", "load"]

CATEGORIES = ("color", "shape", "texture", "spatial", "3d_spatial", "numeracy", "non_spatial", "complex")


def load(limit: int | None = None) -> PromptSet:
    """T2I-CompBench (2400): 300 validation prompts of each of eight categories.

    id: ``<category>/<official index, six digits>``; the index is the question id in the names of images that the
    official scorer reads. The first 8 N prompts are the first N of every category.
    """
    prompts = [
        prompt
        for name, source in zip(CATEGORIES, SOURCES["t2i_compbench"], strict=True)
        for prompt in read_official("t2i_compbench", source, partial(parse, category=name))
    ]
    return as_set("t2i_compbench", spread(prompts), limit)


def parse(path: Path, category: str) -> list[Prompt]:
    lines = enumerate(lines_of(path))
    return [
        Prompt(f"{category}/{index:06d}", prompt_text(text, path, line), category)
        for index, (line, text) in lines
    ]


def as_published(prompts: Iterable[Prompt]) -> dict[str, bytes]:
    """The official files by name, one prompt a line in the official order."""
    files: dict[str, list[str]] = {f"{category}_val.txt": [] for category in CATEGORIES}
    for one in sorted(prompts, key=lambda one: one.id):
        files[f"{one.category}_val.txt"].append(one.text)
    return {name: "\n".join(texts).encode() for name, texts in files.items()}
