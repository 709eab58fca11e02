"""Write a run's images in the layout that an official scorer reads. The scorer itself is run elsewhere.

::

    <out>/images/...                     what the scorer is pointed at; nothing else lies in it
    <out>/glance_bench_export.json       which image of which run each file holds, and what to run next

PNG layouts get the run's own files (hard links where the file system allows it, else copies), never re-encoded.
The folder appears under its name when it is whole: a killed export leaves nothing there, and the next one
clears what it left beside it.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from glance_bench.errors import GlanceBenchError, UsageError
from glance_bench.exchange import pictures
from glance_bench.exchange.board import Board, images_of, pick, prompts_of
from glance_bench.exchange.commands import Shape, command_lines, next_steps
from glance_bench.exchange.folders import files_below
from glance_bench.exchange.layouts import Layout, folder_label, is_chinese, lay_out
from glance_bench.sealed import (
    Damaged,
    clear_leftovers,
    digest_of,
    json_bytes,
    put_folder,
    sha256_bytes,
    slug,
    write_atomic,
)
from glance_bench.terminal import printable

if TYPE_CHECKING:
    from glance_bench.store import Run

__all__ = ["MANIFEST", "Exported", "export", "read_export"]

SCHEMA = "glance-bench/export/1"
MANIFEST = "glance_bench_export.json"
KEPT = (
    "exports"  # folder of the run that keeps a copy of each manifest, for scores that come back without one
)
STORED = {
    "png": "the run's PNG files, byte for byte",
    "png-grid": "2x2 grids by rows (top left, top right, bottom left, bottom right), PNG",
    "webp-grid": "2x2 grids by rows, or single images where a prompt has one; lossless WebP",
    "jpeg": "JPEG at Pillow's defaults, quality 75 and 4:2:0, as Image.save writes a .jpg",
}


@dataclass(frozen=True)
class Exported:
    """An export that lies whole in ``folder``. ``document`` is what its manifest holds."""

    folder: Path
    document: dict[str, Any]

    def lines(self) -> list[str]:
        """What a reader should know, a line each: counts, deviations, and how the scorer is called."""
        counts, steps = self.document["counts"], self.document["next"]
        said = [
            f"{self.folder}: {counts['images']} images of {counts['prompts']} prompts in {counts['files']} files"
        ]
        if counts["black"] or counts["non_finite"]:
            broken = f"{counts['black']} black and {counts['non_finite']} non-finite"
            said.append(f"{broken} images are among them, as they are")
        said += self.document["deviations"]
        said.append(f"next, in a checkout of {steps['repository']}:")
        said += [f"  {line}" for line in command_lines(steps, self.folder)]
        results = " ".join(steps["results"])
        said += [
            f"note: {steps['note']}",
            f"then: glance-bench import-scores RUN {results} --format {self.document['format']}",
        ]
        return list(map(printable, said))


def export(
    run: Run,
    format: str,
    out: Path | None = None,
    *,
    model: str | None = None,
    sampler: str | None = None,
    prompt_set: str | None = None,
    force: bool = False,
) -> Exported:
    """Write the images of one sampler on one prompt set to ``out``, which an earlier export may hold.

    Without ``out`` it goes beside the run, to ``<run>-<format>-<sampler>``.

    Model, sampler and set may be left out where the run has one, the set also where one set alone fits the
    format. ``force`` sets aside whatever else lies at ``out``, as ``<out>.replaced-N``; nothing that this
    package did not write is ever deleted.

    Raises UsageError for a request that cannot be met (see ``layouts.lay_out``), for an ``out`` that holds
    other files, and Damaged for an image of the run that is not the one recorded.
    """
    chosen = _chosen(run, format, model, sampler, prompt_set)
    board = images_of(run, *chosen)
    label = folder_label(board.sampler)
    layout = lay_out(format, board.prompts, board.count, label)
    _check_shapes(board, layout)
    out = Path(os.path.abspath(_beside(run, format, label) if out is None else out))
    here, there = run.folder.resolve(), out.resolve()
    if there.is_relative_to(here) or here.is_relative_to(there):
        raise UsageError(f"{out} lies inside the run or around it; name a folder of its own")
    _check_place(out, force)
    room = out.parent / f".tmp-{os.getpid()}-{slug(out.name)}"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(out)
        document = _write(run, board, layout, room)
        _put_in_place(room, out, force)
    except OSError as error:
        raise GlanceBenchError(f"cannot write the export {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(room, ignore_errors=True)  # only there when something was raised
    with suppress(OSError):  # a run folder that cannot be written can still be exported
        kept = slug(f"{format}-{board.model}-{board.sampler}-{board.prompt_set}")
        write_atomic(run.folder / KEPT / f"{kept}.json", json_bytes(document))
    return Exported(out, document)


def _beside(run: Run, format: str, label: str) -> Path:
    there = run.folder.resolve()
    return there.with_name(f"{there.name}-{format}-{label}")


def read_export(path: Path) -> dict[str, Any]:
    """The manifest of an export, from its folder or the file itself.

    Raises GlanceBenchError when it is none, or was altered.
    """
    file = path / MANIFEST if path.is_dir() else path
    try:
        document = dict(json.loads(file.read_bytes()))
    except OSError as error:
        raise GlanceBenchError(
            f"{path} is not an export: cannot read {file.name} ({error.strerror})"
        ) from error
    except (ValueError, TypeError) as error:
        raise GlanceBenchError(f"{file} is not the manifest of an export ({error})") from error
    digest = document.pop("digest", None)
    if document.get("schema") != SCHEMA or digest != digest_of(document):
        raise GlanceBenchError(f"{file} is not the manifest of an export, or was altered")
    return {**document, "digest": digest}


def _chosen(
    run: Run, format: str, model: str | None, sampler: str | None, prompt_set: str | None
) -> tuple[str, str, str]:
    units = run.units()
    model = pick("model", model, (unit.model for unit in units))
    sampler = pick("sampler", sampler, (unit.sampler for unit in units if unit.model == model))
    sets = [unit.prompt_set for unit in units if (unit.model, unit.sampler) == (model, sampler)]
    names = list(dict.fromkeys(sets))
    if prompt_set is None and len(names) > 1:
        names = [name for name in names if _fits(run, format, name)] or names
    return model, sampler, pick("prompt set", prompt_set, names)


def _fits(run: Run, format: str, prompt_set: str) -> bool:
    try:
        lay_out(format, list(prompts_of(run, prompt_set).values()), 4, "x")
    except UsageError:
        return False
    return True


def _check_shapes(board: Board, layout: Layout) -> None:
    """Raises UsageError where a grid would be cut wrongly: images of two sizes, or DPG's that are not square."""
    if not layout.stored.endswith("-grid"):
        return
    sizes = board.records.drop_duplicates(["width", "height"])
    if len(sizes) > 1:
        raise UsageError(
            f"export {layout.format}: a grid needs images of one size, {sizes['image'].iloc[0]} and "
            f"{sizes['image'].iloc[1]} differ"
        )
    width, height = (int(sizes[side].iloc[0]) for side in ("width", "height"))
    if layout.format == "dpg" and width != height:
        raise UsageError(
            f"export dpg: its scorer crops squares of one RESOLUTION, these are {width}x{height}"
        )


def _check_place(out: Path, force: bool) -> None:
    """Raises UsageError when something lies at ``out`` that this export may not replace."""
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir() or out.is_symlink():
        raise UsageError(f"{out} is there and is not a folder; name another place")
    there = set(files_below(out))
    try:
        document = read_export(out)
    except GlanceBenchError:
        listed: set[str] = set()
    else:
        listed = {
            MANIFEST,
            *(f"images/{entry['file']}" for entry in [*document["files"], *document["texts"]]),
        }
    foreign = sorted(there - listed)
    if foreign and not force:
        raise UsageError(
            f"{out} holds {len(foreign)} files that are of no export (the first: {foreign[0]}): name another folder, "
            "or use --force, which keeps them under another name"
        )


def _put_in_place(room: Path, out: Path, force: bool) -> None:
    """Rename ``room`` to ``out``. Between the two renames of a replacement nothing lies there."""
    _check_place(out, force)  # once more: writing took a while
    if out.is_dir() and any(out.iterdir()):
        try:
            _check_place(out, force=False)
        except UsageError:
            number = 1
            while (aside := out.with_name(f"{out.name}.replaced-{number}")).exists():
                number += 1
            out.rename(aside)
        else:
            put_folder(room, out)
            return
    room.rename(out)


def _write(run: Run, board: Board, layout: Layout, room: Path) -> dict[str, Any]:
    """Every file of the export into the new folder ``room``, its manifest last. Returns the manifest."""
    rows = {(row["prompt_id"], row["index"]): row for row in board.records.to_dict("records")}
    images = room / "images"
    images.mkdir(parents=True)
    files = []
    for place in layout.places:
        sources = [rows[cell] for cell in place.cells]
        target = images / place.file
        target.parent.mkdir(parents=True, exist_ok=True)
        cells = [[*cell, row["image_sha256"]] for cell, row in zip(place.cells, sources, strict=True)]
        files.append(
            {"file": place.file, "sha256": _store(run, layout.stored, sources, target), "cells": cells}
        )
    texts = []
    for name, text in layout.texts.items():
        (images / name).write_text(text, encoding="utf-8")
        texts.append({"file": name, "sha256": sha256_bytes(text.encode())})
    used = [rows[cell] for place in layout.places for cell in place.cells]
    shape = Shape(
        label=folder_label(board.sampler),
        resolution=int(used[0]["width"]),
        cells=len(layout.places[0].cells),
        chinese=is_chinese(board.prompts),
        parts=tuple(dict.fromkeys(place.file.split("/")[0] for place in layout.places)),
    )
    document = {
        "schema": SCHEMA,
        "format": layout.format,
        "run": run.manifest["name"],
        "model": board.model,
        "sampler": board.sampler,
        "prompt_set": board.prompt_set,
        "label": shape.label,
        "stored": STORED[layout.stored],
        "counts": {
            "prompts": len(board.prompts),
            "images": len(used),
            "files": len(files),
            "black": sum(bool(row["black"]) for row in used),
            "non_finite": sum(not row["finite"] for row in used),
        },
        "deviations": list(layout.deviations),
        "next": next_steps(layout.format, shape),
        "files": files,
        "texts": texts,
    }
    document["digest"] = digest_of(document)
    write_atomic(room / MANIFEST, json_bytes(document))
    return document


def _store(run: Run, stored: str, sources: list[Mapping[str, Any]], target: Path) -> str:
    """Write one file of the layout and return its sha256. Raises Damaged for an image that was altered."""
    if stored == "png":
        source = run.folder / sources[0]["image"]
        try:
            os.link(source, target)
        except FileNotFoundError as error:
            raise Damaged(source, "is missing") from error
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(source, target)
        if sha256_bytes(target.read_bytes()) != sources[0]["image_sha256"]:
            raise Damaged(source, "was altered: its sha256 is not the recorded one")
        return str(sources[0]["image_sha256"])
    opened = [_pixels(run.folder / row["image"], row["image_sha256"]) for row in sources]
    if stored == "jpeg":
        data = pictures.jpeg(opened[0])
    else:
        made = pictures.grid(opened)
        data = pictures.png(made) if stored == "png-grid" else pictures.webp(made)
    target.write_bytes(data)
    return sha256_bytes(data)


def _pixels(path: Path, sha256: str) -> Image.Image:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Damaged(path, f"cannot be read ({error.strerror})") from error
    if sha256_bytes(data) != sha256:
        raise Damaged(path, "was altered: its sha256 is not the recorded one")
    with Image.open(io.BytesIO(data)) as opened:
        return opened.convert("RGB")
