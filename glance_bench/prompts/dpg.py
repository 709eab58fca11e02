"""DPG-Bench: 1065 long prompts, one text file each, and their question graph, TencentQQGYLab/ELLA (Apache-2.0)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from glance_bench.errors import UsageError
from glance_bench.prompts import Prompt, PromptSet
from glance_bench.prompts.files import given, locate
from glance_bench.prompts.official import read_official
from glance_bench.prompts.order import as_set, spread
from glance_bench.prompts.questions import item_rows, questions_of
from glance_bench.prompts.reading import objects_of, prompt_text, text_of, unique
from glance_bench.prompts.sources import SOURCES, Source

__all__ = ["LIST", "files_as_published", "list_as_published", "load"]

# The same ids in one file. Twelve prompts are worded otherwise: dashes and quotes in eleven, all of vrd2.
LIST = Source(
    file="dpg_bench/prompts.jsonl",
    repo="Lakonik/LakonLab",
    path="data/dpgbench-prompts/prompts.jsonl",
    commit="84566d5fc477cdeb569d07f6cff155a59be3d705",
    count=1065,
    size=472_265,
    licence="Apache-2.0",
    sha256="b540e6e34e336cc454541ac568db8ddd6a89fab95fe05af4df6afbc0fe39f944",
)


def load(limit: int | None = None) -> PromptSet:
    """DPG-Bench (1065): dense paragraphs, scored by a graph of yes/no questions.

    id: the item id, which is the stem of its image in the official layout. meta: source (the id without its
    number), and questions (``prompts.questions``) when ``dpg_bench.csv`` is here. Spread over the sources. The
    official folder of text files is read when it is here, else LakonLab's ``prompts.jsonl`` from the data folder.
    """
    folder, table = SOURCES["dpg"]
    if locate(folder) is None and given(LIST.file):
        prompts = read_official("dpg", LIST, parse_list)
    else:
        prompts = read_official("dpg", folder, parse_folder)
    questions = locate(table)
    if questions is not None:
        prompts = _with_questions(prompts, questions)
    return as_set("dpg", spread(prompts, lambda one: str(one.meta["source"])), limit)


def parse_folder(folder: Path) -> list[Prompt]:
    """One prompt a text file, in the order of the numbers in their names; a line end at its end is none of it."""
    prompts = []
    for file in folder.glob("*.txt"):
        text = text_of(file).removesuffix("\n").removesuffix("\r")
        prompts.append(_prompt(file.stem, prompt_text(text, file, 1)))
    return sorted(prompts, key=_natural)


def parse_list(path: Path) -> list[Prompt]:
    seen: dict[str, int] = {}
    prompts = [
        _prompt(unique(str(entry["id"]), path, line, seen), prompt_text(entry["prompt"], path, line))
        for line, entry in objects_of(path, ("id", "prompt"))
    ]
    return sorted(prompts, key=_natural)


def _prompt(identity: str, text: str) -> Prompt:
    return Prompt(identity, text, "", meta={"source": re.sub(r"[_-]?\d+$", "", identity)})


def _natural(one: Prompt) -> tuple[str, int, str]:
    number = re.search(r"\d+$", one.id)
    return str(one.meta["source"]), int(number[0]) if number else 0, one.id


def _with_questions(prompts: Iterable[Prompt], path: Path) -> list[Prompt]:
    items = item_rows(path)
    found = []
    for one in prompts:
        if one.id not in items:
            raise UsageError(f"{path}: has no question on {one.id!r}; it is not the table of DPG-Bench")
        found.append(replace(one, meta={**one.meta, "questions": questions_of(path, items[one.id])}))
    return found


def files_as_published(prompts: Iterable[Prompt]) -> dict[str, bytes]:
    """The official text files of these prompts, by their names."""
    return {f"{one.id}.txt": one.text.encode() for one in prompts}


def list_as_published(prompts: Iterable[Prompt]) -> dict[str, bytes]:
    """LakonLab's list of these prompts, by its name."""
    lines = (json.dumps({"id": one.id, "prompt": one.text}, ensure_ascii=False) + "\n" for one in prompts)
    return {"prompts.jsonl": "".join(lines).encode()}
