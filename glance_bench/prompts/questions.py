"""The question table that DPG-Bench and DSG-1k share: yes/no questions on a prompt, and what each depends on.

Nine columns: item_id, text, keywords, proposition_id, dependency, category_broad, category_detailed, tuple,
question_natural_language. The official DPG loader starts at the second row of the table and so loses the first
question of its first prompt (ELLA issue 61); here every row is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from glance_bench.prompts.reading import refuse, rows_of
from glance_bench.prompts.tables import table_bytes

__all__ = ["COLUMNS", "item_rows", "parents_of", "questions_of", "questions_table"]

COLUMNS = (
    "item_id",
    "text",
    "keywords",
    "proposition_id",
    "dependency",
    "category_broad",
    "category_detailed",
    "tuple",
    "question_natural_language",
)
_KEPT = ("keywords", "category_broad", "category_detailed", "tuple")


def item_rows(path: Path) -> dict[str, list[tuple[int, dict[str, str]]]]:
    """The rows of each item with their line numbers; items and rows in the order of the file."""
    items: dict[str, list[tuple[int, dict[str, str]]]] = {}
    for line, row in rows_of(path, COLUMNS):
        items.setdefault(row["item_id"], []).append((line, row))
    return items


def questions_of(path: Path, rows: Iterable[tuple[int, Mapping[str, str]]]) -> list[dict[str, Any]]:
    """One item's questions: id, text, parents (ids; none means it stands alone), category, and the other columns.

    ``category`` is ``tuple`` up to its first bracket ("entity - whole"). ``dependency`` is kept as published where
    it says more than ids ("5, right"): of those the ids count. A parent may be an id the table has no row for.
    """
    questions: list[dict[str, Any]] = []
    lines: dict[int, int] = {}
    for line, row in rows:
        number, text = row["proposition_id"].strip(), row["question_natural_language"]
        if not (number.isascii() and number.isdigit()):
            refuse(path, line, f"proposition_id is {number!r}; expected a whole number")
        if int(number) in lines:
            refuse(path, line, f"{row['item_id']} has question {number} on line {lines[int(number)]} too")
        if not text.strip():
            refuse(path, line, f"question {number} of {row['item_id']} is empty")
        lines[int(number)] = line
        parents = parents_of(row["dependency"])
        question = {"id": int(number), "text": text, "parents": parents}
        question["category"] = row["tuple"].partition("(")[0].strip()
        question |= {name: row[name] for name in _KEPT}
        if row["dependency"] != _dependency(parents):
            question["dependency"] = row["dependency"]
        questions.append(question)
    return questions


def parents_of(dependency: str) -> list[int]:
    """The ids in a comma list; 0 stands for none, and words among them are left out."""
    parts = (part.strip() for part in dependency.split(","))
    return [int(part) for part in parts if part.isascii() and part.isdigit() and int(part)]


def _dependency(parents: Iterable[int]) -> str:
    return ",".join(map(str, parents)) or "0"


def questions_table(items: Iterable[tuple[str, str, Iterable[Mapping[str, Any]]]]) -> bytes:
    """The table of (item id, prompt, questions), as ``questions_of`` gives them."""
    rows = (
        {
            "item_id": identity,
            "text": text,
            "proposition_id": one["id"],
            "dependency": one.get("dependency", _dependency(one["parents"])),
            "question_natural_language": one["text"],
            **{name: one[name] for name in _KEPT},
        }
        for identity, text, questions in items
        for one in questions
    )
    return table_bytes(COLUMNS, rows)
