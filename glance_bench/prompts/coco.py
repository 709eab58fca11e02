"""Captions of COCO 2014 (CC BY 4.0), in the lists that papers use. Lists of different sizes are different tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from glance_bench.errors import UsageError
from glance_bench.prompts import Prompt, PromptSet
from glance_bench.prompts.listed import SUFFIXES
from glance_bench.prompts.listed import parse as parse_list
from glance_bench.prompts.official import read_official
from glance_bench.prompts.order import as_set
from glance_bench.prompts.reading import json_of, lines_of, prompt_text, refuse, rows_of, unique
from glance_bench.prompts.sources import SOURCES
from glance_bench.prompts.tables import table_bytes

__all__ = ["load_10k", "load_30k", "load_5k", "load_val2014", "plain_as_published", "table_as_published"]

_COLUMNS = ("id", "image_id", "caption", "height", "width", "file_name", "coco_url")


def load_10k(limit: int | None = None) -> PromptSet:
    """COCO-10k (10,000): pi-Flow's list of captions, a hub data set, in its order."""
    (source,) = SOURCES["coco-10k"]
    return as_set("coco-10k", read_official("coco-10k", source, parse_10k), limit)


def load_5k(limit: int | None = None) -> PromptSet:
    """COCO-5k (5000): MLPerf's captions of COCO-2014 validation images, one each. id: the caption's COCO id."""
    (source,) = SOURCES["coco-5k"]
    return as_set("coco-5k", read_official("coco-5k", source, parse_5k), limit)


def load_30k(limit: int | None = None) -> PromptSet:
    """COCO-30k (30,000): the list that SiD and DMD2 use; it names no images. id: the line's index, five digits."""
    (source,) = SOURCES["coco-30k"]
    return as_set("coco-30k", read_official("coco-30k", source, parse_30k), limit)


def load_val2014(limit: int | None = None) -> PromptSet:
    """Every caption of COCO-2014 validation (202,654), from COCO's own annotations in a local folder.

    id: the caption's COCO id. meta: image_id, file_name. In the order of the file, about five captions an image.
    """
    (source,) = SOURCES["coco-val2014"]
    return as_set("coco-val2014", read_official("coco-val2014", source, parse_val2014), limit)


def parse_10k(folder: Path) -> list[Prompt]:
    """The one list in a copy of the hub data set; several Parquet files are parts of it."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    if len(files) != 1 and {file.suffix for file in files} != {".parquet"}:
        names = ", ".join(file.name for file in files) or "none"
        raise UsageError(f"{folder}: expected one list of prompts ({', '.join(SUFFIXES)}), found {names}")
    parts = [one for file in files for one in parse_list(file)]
    return [Prompt(f"{index:05d}", one.text, "", meta=one.meta) for index, one in enumerate(parts)]


def parse_5k(path: Path) -> list[Prompt]:
    prompts = []
    seen: dict[str, int] = {}
    for line, row in rows_of(path, _COLUMNS, "\t"):
        identity = unique(row.pop("id"), path, line, seen)
        prompts.append(Prompt(identity, prompt_text(row.pop("caption"), path, line), "", meta=row))
    return prompts


def parse_30k(path: Path) -> list[Prompt]:
    lines = enumerate(lines_of(path))
    return [Prompt(f"{index:05d}", prompt_text(text, path, line), "") for index, (line, text) in lines]


def parse_val2014(path: Path) -> list[Prompt]:
    # JSON on one line: what is wrong is named by the annotation's place in the list.
    tree = json_of(path)
    if not isinstance(tree, dict) or not all(
        isinstance(tree.get(key), list) for key in ("images", "annotations")
    ):
        refuse(path, 1, "is no COCO annotation file; expected lists 'images' and 'annotations'")
    names = {image["id"]: image["file_name"] for image in tree["images"] if {"id", "file_name"} <= set(image)}
    return [_annotation(path, place, one, names) for place, one in enumerate(tree["annotations"])]


def _annotation(path: Path, place: int, entry: Any, names: dict[int, str]) -> Prompt:
    if not isinstance(entry, dict) or not {"id", "image_id", "caption"} <= set(entry):
        refuse(path, 1, f"annotation {place} has no id, image_id and caption (captions_*.json has them)")
    if entry["image_id"] not in names:
        refuse(path, 1, f"annotation {place} is of image {entry['image_id']}, which is not listed")
    text = entry["caption"]
    if not isinstance(text, str) or not text.strip():
        refuse(path, 1, f"annotation {place} has no caption")
    meta = {"image_id": entry["image_id"], "file_name": names[entry["image_id"]]}
    return Prompt(str(entry["id"]), prompt_text(text, path, 1), "", meta=meta)


def table_as_published(prompts: Iterable[Prompt]) -> dict[str, bytes]:
    """MLPerf's table of these prompts, by its name."""
    rows = ({"id": one.id, "caption": one.text, **one.meta} for one in prompts)
    return {"captions_source.tsv": table_bytes(_COLUMNS, rows, "\t")}


def plain_as_published(prompts: Iterable[Prompt]) -> dict[str, bytes]:
    """The list of SiD and DMD2 of these prompts, by its name: one caption a line."""
    return {"captions.txt": "".join(one.text + "\n" for one in prompts).encode()}
