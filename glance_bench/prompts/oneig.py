"""OneIG-Bench: 1120 English and 1320 Chinese prompts in six sets (CC BY-NC 4.0), OneIG-Bench/OneIG-Benchmark.

Questions, texts and answers are separate official files without a stated licence. They are read when they are
here; without them the text to be rendered is rebuilt from the prompts, whose quotation marks give the same words
for 193 of the 200 English text prompts (106, 120 and 195-199 quote nothing).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from glance_bench.errors import UsageError, near_misses
from glance_bench.prompts import Prompt, PromptSet
from glance_bench.prompts.files import locate
from glance_bench.prompts.official import read_official
from glance_bench.prompts.order import as_set, spread
from glance_bench.prompts.reading import json_of, prompt_text, refuse, rows_of, strings_in, unique
from glance_bench.prompts.sources import SOURCES, Source
from glance_bench.prompts.tables import table_bytes

__all__ = ["SETS", "as_published", "load", "load_zh", "quoted"]

SETS = {  # official category -> folder of its images
    "Anime_Stylization": "anime",
    "Portrait": "human",
    "General_Object": "object",
    "Text_Rendering": "text",
    "Knowledge_Reasoning": "reasoning",
    "Multilingualism": "multilingualism",
}
_COLUMNS = {
    "oneig": ("category", "id", "prompt_en", "type", "prompt_length", "class"),
    "oneig-zh": ("category", "id", "prompt_cn", "class"),
}


def load(limit: int | None = None) -> PromptSet:
    """OneIG-Bench, English (1120): anime, human, object, text and reasoning.

    id: ``<set>/<official three-digit id>``. category: the set. wanted_text: of the text set, the official
    content, else what the prompt has between double quotation marks. meta: oneig_id, set, type, prompt_length,
    class; questions (id, text, parents, category "") and answer when the official files are here. Spread over
    the sets.
    """
    return _load("oneig", limit)


def load_zh(limit: int | None = None) -> PromptSet:
    """OneIG-Bench, Chinese (1320): as the English one, and multilingualism; type and prompt_length are empty."""
    return _load("oneig-zh", limit)


def _load(name: str, limit: int | None) -> PromptSet:
    table, *others = SOURCES[name]
    prompts = read_official(name, table, lambda path: parse(path, name))
    return as_set(name, spread(_completed(prompts, others)), limit)


def parse(path: Path, name: str) -> list[Prompt]:
    columns = _COLUMNS[name]
    prompts = []
    seen: dict[str, int] = {}
    for line, row in rows_of(path, columns):
        if row["category"] not in SETS:
            refuse(path, line, f"unknown category {row['category']!r}; {near_misses(row['category'], SETS)}")
        place, number = SETS[row["category"]], row["id"]
        if not re.fullmatch(r"[0-9]{3}", number):
            refuse(path, line, f"id is {number!r}; expected three digits")
        meta = {"oneig_id": number, "set": place}
        meta |= {key: row.get(key, "") for key in ("type", "prompt_length", "class")}
        text = prompt_text(row[columns[2]], path, line)
        wanted = quoted(text) if place == "text" else ()
        prompts.append(Prompt(unique(f"{place}/{number}", path, line, seen), text, place, wanted, meta))
    return prompts


def quoted(text: str) -> tuple[str, ...]:
    """What stands between double quotation marks, straight ("...") or curved, in order."""
    spans = re.findall(r'"([^"]+)"|“([^”]+)”', text)
    return tuple(straight or curved for straight, curved in spans)


def _completed(prompts: Iterable[Prompt], sources: Sequence[Source]) -> list[Prompt]:
    """The prompts with what the official side files add, those that are here."""
    found = {one.id: one for one in prompts}
    for source in sources:
        path = locate(source)
        if path is None:
            continue
        for identity, change in _additions(path):
            if identity not in found:
                raise UsageError(f"{path}: is about {identity!r}, which is no prompt of OneIG-Bench")
            one = found[identity]
            wanted = change.pop("wanted_text", one.wanted_text)
            found[identity] = replace(one, wanted_text=wanted, meta={**one.meta, **change})
    return list(found.values())


def _additions(path: Path) -> Iterable[tuple[str, dict[str, Any]]]:
    """Prompt id and what a side file says on it."""
    if path.suffix == ".csv":
        for line, row in rows_of(path, ("id", "text_content")):
            yield f"text/{row['id']}", {"wanted_text": strings_in(row["text_content"], path, line)}
        return
    tree = json_of(path)
    if not isinstance(tree, dict):
        refuse(path, 1, "expected one JSON object, keyed by prompt id")
    answers = path.name.startswith("gt_answer")
    place = "reasoning" if answers else path.stem.removesuffix("_zh")
    for number, entry in tree.items():
        yield (
            f"{place}/{number}",
            {"answer": str(entry)} if answers else {"questions": _questions(path, number, entry)},
        )


def _questions(path: Path, number: str, entry: Any) -> list[dict[str, Any]]:
    """``question`` and ``dependency`` are objects, or JSON strings of objects, keyed by question number."""
    try:
        texts, parents = (_numbered(entry[key]) for key in ("question", "dependency"))
        return [
            {"id": one, "text": text, "parents": [int(p) for p in parents[one] if int(p)], "category": ""}
            for one, text in texts.items()
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        refuse(path, 1, f"prompt {number!r} has no usable question and dependency ({error!r})")


def _numbered(value: str | Mapping[str, Any]) -> dict[int, Any]:
    held = json.loads(value) if isinstance(value, str) else value
    return {int(key): item for key, item in held.items()}


def as_published(prompts: Iterable[Prompt], name: str = "oneig") -> dict[str, bytes]:
    """The official table of these prompts by its name, in the official order. ``name``: "oneig" or "oneig-zh"."""
    columns = _COLUMNS[name]
    official = {place: category for category, place in SETS.items()}
    order = list(SETS.values())
    rows = (
        {
            **{key: one.meta[key] for key in columns[3:]},
            "category": official[one.category],
            "id": one.meta["oneig_id"],
            columns[2]: one.text,
        }
        for one in sorted(prompts, key=lambda one: (order.index(one.category), one.id))
    )
    file = "OneIG-Bench.csv" if name == "oneig" else "OneIG-Bench-ZH.csv"
    return {file: table_bytes(columns, rows)}
