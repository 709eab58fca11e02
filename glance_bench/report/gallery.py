"""The images of a run with their per-image scores, as the data that the page's script draws the gallery from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from glance_bench.report.text import visible
from glance_bench.results import scored_records

if TYPE_CHECKING:
    from glance_bench.store import Run

__all__ = ["gallery"]

NOTES = {"_read": "reads", "_missing": "missing"}  # how notes are introduced, by how their names end


def gallery(run: Run, results: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """A JSON document; images are named by path relative to ``out`` and stay where they are.

    ::

        columns  [{name, title, decimals, better}]         per-image numbers
        notes    [{name, label}]                           per-image strings
        exact    the place of ocr_exact in columns, or null
        prompts  {set: [{id, text, category, wanted}]}     text with control characters spelt out
        boards   [{model, set, reference, samplers, rows: [[prompt number, index, seed,
                  [per sampler: null or [file, [value or null per column], [note or "" per note], state]]]]}]

    ``state`` is "", "black" or "non-finite". Rows follow the order of the prompts; samplers that of the
    board.
    """
    records = scored_records(run)
    columns = [c for c in results["columns"] if c["kind"] in ("sample", "pair") and c["name"] in records]
    known = {c["name"] for c in columns} | set(run.records().columns)
    notes = [name for name in records.columns if name not in known]
    names = [column["name"] for column in columns]
    prompts: dict[str, list[dict[str, Any]]] = {}
    boards = []
    for board in results["boards"]:
        name = board["prompt_set"]
        part = records[(records["model"] == board["model"]) & (records["prompt_set"] == name)]
        listed = run.prompts(name)
        place = {prompt.id: i for i, prompt in enumerate(listed)}
        prompts[visible(name)] = [
            {
                "id": visible(prompt.id),
                "text": visible(prompt.text),
                "category": visible(prompt.category),
                "wanted": [visible(line) for line in prompt.wanted_text],
            }
            for prompt in listed
        ]
        samplers = [row["sampler"] for row in board["samplers"]]
        rows: dict[tuple[int, int], list[Any]] = {}
        folder = quote(Path(os.path.relpath(run.folder, out)).as_posix())
        for record in part.to_dict("records"):
            key = (place[record["prompt_id"]], int(record["index"]))
            row = rows.setdefault(key, [*key, str(record["seed"]), [None] * len(samplers)])
            row[3][samplers.index(record["sampler"])] = [
                f"{folder}/{quote(record['image'])}",
                [_number(record[c["name"]], c["decimals"]) for c in columns],
                [visible(record[note]) if isinstance(record[note], str) else "" for note in notes],
                "non-finite" if not record["finite"] else "black" if record["black"] else "",
            ]
        boards.append(
            {
                "model": visible(board["model"]),
                "set": visible(name),
                "reference": samplers.index(board["reference"]),
                "samplers": [visible(sampler) for sampler in samplers],
                "rows": [rows[key] for key in sorted(rows)],
            }
        )
    described = ("name", "title", "decimals", "better", "headline")
    return {
        "columns": [{key: column[key] for key in described} for column in columns],
        "notes": [{"name": note, "label": _label(note)} for note in notes],
        "exact": names.index("ocr_exact") if "ocr_exact" in names else None,
        "prompts": prompts,
        "boards": boards,
    }


def _label(note: str) -> str:
    name = note.partition("[")[0]
    return next((label for end, label in NOTES.items() if name.endswith(end)), note)


def _number(value: Any, decimals: int) -> float | None:
    """A value rounded as far as a reader sees, with two digits to spare for sorting; None for no value."""
    return None if value is None or value != value else round(float(value), decimals + 2)
