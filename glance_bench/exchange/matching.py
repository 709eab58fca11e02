"""Which prompt and index each picture of a folder is, by a list beside it or by its name. No image is read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.exchange.folders import files_below, is_inside
from glance_bench.exchange.layouts import SETS, lay_out

if TYPE_CHECKING:
    from glance_bench.prompts import Prompt

__all__ = ["LISTS", "Matched", "match"]

BY_NAME = ("geneval", "oneig", "longtext", "hpsv2", "t2i-compbench")
PLAIN = "<prompt id>_<index>"  # and <prompt id>, which is DPG-Bench's layout too
LISTS = ("images.csv", "images.jsonl")  # what a list may be called to be found by itself
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
Target = tuple[str, int | None]  # index None: the only image of its prompt, or a 2x2 grid of the first four
Key = tuple[str, ...]


@dataclass(frozen=True)
class Matched:
    """Which picture is what.

    ``files`` maps a path below the folder to (prompt id, index); index None leaves it to the size whether the file
    is one image or a 2x2 grid. ``by`` names the list or the layout; ``unmatched`` are the other pictures.
    """

    by: str
    files: dict[str, Target]
    unmatched: tuple[str, ...]


def match(folder: Path, prompts: Sequence[Prompt], count: int, listing: Path | None = None) -> Matched:
    """Match the pictures below ``folder`` with ``prompts`` of ``count`` images each.

    With ``listing``, or a file of LISTS in the folder: a CSV or JSON lines file with ``file``, ``prompt_id`` and
    perhaps ``index``. Otherwise by name: the layout of ``layouts`` or PLAIN that explains most
    files. Raises UsageError for a list that does not fit, for a link that leads out of the folder and where two files
    are one image, and GlanceBenchError for
    a folder that cannot be read or has nothing that matches.
    """
    pictures = _pictures(folder)
    if listing is None:
        listing = next((folder / name for name in LISTS if (folder / name).is_file()), None)
    if listing is not None:
        by, files = listing.name, _listed(folder, listing, prompts, count)
    else:
        if not pictures:
            raise GlanceBenchError(f"{folder} has no pictures ({', '.join(sorted(SUFFIXES))})")
        by, files = _named(pictures, prompts, count)
    if not files:
        raise GlanceBenchError(
            f"none of the {len(pictures)} pictures in {folder} is named after a prompt (the first: {pictures[0]}; a "
            f"prompt: {prompts[0].id!r}): name them <prompt id>_<index>.png, or list them in {LISTS[0]}"
        )
    _refuse_twice(files)
    for name in files:
        if not is_inside(folder / name, folder):
            raise UsageError(
                f"{folder / name} links to a file outside the folder: copy it there (cp -rL does)"
            )
    return Matched(by, files, tuple(name for name in pictures if name not in files))


def _pictures(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise GlanceBenchError(f"{folder} is not a folder")
    return [name for name in files_below(folder) if Path(name).suffix.lower() in SUFFIXES]


def _listed(folder: Path, listing: Path, prompts: Sequence[Prompt], count: int) -> dict[str, Target]:
    try:
        text = listing.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise GlanceBenchError(f"cannot read the list {listing}: {error}") from error
    ids = {prompt.id for prompt in prompts}
    files: dict[str, Target] = {}
    for where, row in _rows(listing, text):
        if not isinstance(row.get("file"), str) or not isinstance(row.get("prompt_id"), str):
            raise UsageError(f"{where}: expected the columns file and prompt_id, and perhaps index")
        name = PurePosixPath(row["file"])
        if name.is_absolute() or ".." in name.parts:
            raise UsageError(f"{where}: {row['file'][:80]!r} lies outside the folder")
        if not (folder / name).is_file():
            raise UsageError(f"{where}: there is no file {row['file'][:80]!r} in {folder}")
        if row["prompt_id"] not in ids:
            raise UsageError(f"{where}: no prompt has the id {row['prompt_id'][:80]!r}")
        index = str(row.get("index", "") if row.get("index") is not None else "")
        if index and not (index.isdecimal() and int(index) < count):
            raise UsageError(f"{where}: expected an index from 0 to {count - 1}, got {index[:20]!r}")
        if str(name) in files:
            raise UsageError(f"{where}: {row['file'][:80]!r} is listed twice")
        files[str(name)] = (row["prompt_id"], int(index) if index else None)
    return files


def _rows(listing: Path, text: str) -> list[tuple[str, Mapping[str, Any]]]:
    if listing.suffix == ".csv":
        reader = csv.DictReader(io.StringIO(text, newline=""))
        try:
            return [(f"{listing} line {reader.line_num}", row) for row in reader]
        except csv.Error as error:
            raise UsageError(f"{listing} line {reader.line_num}: expected CSV ({error})") from None
    rows: list[tuple[str, Mapping[str, Any]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise UsageError(f"{listing} line {number}: expected one JSON object a line")
            rows.append((f"{listing} line {number}", row))
    return rows


def _named(pictures: Sequence[str], prompts: Sequence[Prompt], count: int) -> tuple[str, dict[str, Target]]:
    """The layout that explains most of the names; of equals a benchmark's own, whose first index may be 1."""
    best: tuple[str, dict[str, Target]] = ("", {})
    for layout in (*BY_NAME, PLAIN):
        table = _table(layout, prompts, count)
        endings: dict[Key, list[Key]] = {}
        for key in table:
            for start in range(len(key)):
                endings.setdefault(key[start:], []).append(key)
        files = {}
        for name in pictures:
            found = _find(_key(layout, name), table, endings)
            if found is not None:
                files[name] = found
        if len(files) > len(best[1]):
            best = (layout, files)
    return best


def _table(layout: str, prompts: Sequence[Prompt], count: int) -> dict[Key, Target]:
    """Every name of a layout without its suffix, as parts of a path; empty where the prompts are not its own."""
    if layout == PLAIN:
        single: dict[Key, Target] = {_key(layout, f"{p.id}.png"): (p.id, None) for p in prompts}
        counted: dict[Key, Target] = {
            _key(layout, f"{p.id}_{k}.png"): (p.id, k) for p in prompts for k in range(count)
        }
        twofold = single.keys() & counted.keys()  # prompts "a" and "a_1": a_1.png could be an image of either
        return {key: target for key, target in {**single, **counted}.items() if key not in twofold}
    try:
        places = lay_out(layout, prompts, 4 if layout == "oneig" else count, "-").places
    except UsageError:
        return {}
    whole = layout in ("oneig", "hpsv2")
    return {
        _key(layout, place.file): (place.cells[0][0], None if whole else place.cells[0][1])
        for place in places
    }


def _key(layout: str, name: str) -> Key:
    path = PurePosixPath(name)
    parts = (*path.parts[:-1], path.stem)
    if layout == "geneval":
        return (*parts[:-1], str(int(parts[-1])) if parts[-1].isdecimal() else parts[-1])
    if layout == "oneig" and len(parts) > 2 and parts[-3] in SETS:  # the folder between is the model's name
        return (*parts[:-2], parts[-1])
    return parts


def _find(key: Key, table: Mapping[Key, Target], endings: Mapping[Key, list[Key]]) -> Target | None:
    """By the end of a longer path, or by a shorter path that is the end of one name only."""
    for start in range(len(key)):
        if key[start:] in table:
            return table[key[start:]]
    longer = endings.get(key, [])
    return table[longer[0]] if len(longer) == 1 else None


def _refuse_twice(files: Mapping[str, Target]) -> None:
    seen: dict[Target, str] = {}
    for name, (prompt_id, index) in files.items():
        first = seen.setdefault((prompt_id, index or 0), name)
        if first != name:
            raise UsageError(f"{first} and {name} are both image {index or 0} of prompt {prompt_id!r}")
