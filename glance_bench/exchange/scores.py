"""Read what official scorers said of exported images back into the run, as scores like any other metric's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glance_bench.errors import GlanceBenchError, UsageError, near_misses
from glance_bench.exchange.board import prompts_of
from glance_bench.exchange.export import KEPT, MANIFEST, read_export
from glance_bench.exchange.layouts import FORMATS
from glance_bench.exchange.official import official_metric
from glance_bench.exchange.parse import Finder, Found, parse
from glance_bench.exchange.record import add_metric
from glance_bench.metrics.text_match import storable
from glance_bench.sealed import find_sealed, parquet_bytes, seal, sha256_file
from glance_bench.terminal import printable
from glance_bench.units import content_key, read_unit

if TYPE_CHECKING:
    from glance_bench.metrics.base import Row
    from glance_bench.store import Run

__all__ = ["Coverage", "import_scores"]

LISTED = 20  # names of missing and extra entries that are kept and shown


@dataclass(frozen=True)
class Coverage:
    """How many of the exported images one metric has scores for. ``missing`` names the first images without."""

    metric: str
    model: str
    sampler: str
    prompt_set: str
    scored: int
    images: int
    missing: tuple[str, ...]

    def line(self) -> str:
        """One line for a reader."""
        short = "" if self.scored == self.images else f"; without a score: {', '.join(self.missing)}"
        more = self.images - self.scored - len(self.missing)
        rest = f" and {more} more" if more > 0 else ""
        return printable(
            f"{self.metric} for {self.sampler}: {self.scored} of {self.images} images{short}{rest}"
        )


def import_scores(
    run: Run,
    format: str,
    files: Sequence[Path],
    *,
    export: Path | None = None,
    model: str | None = None,
    sampler: str | None = None,
) -> tuple[list[Coverage], list[str]]:
    """Store the scores in ``files``, written by the scorer of ``format``, under names ending in ``[official]``.

    Which image a line means is told by the manifest of the export that was scored: the folder ``export``, else the
    one that the files lie in, else the one copy that the run kept for this format (``model`` and ``sampler``
    choose among several). Returns the coverage of each metric, and the lines that mean no exported image. The
    scores of one sampler replace what an earlier import stored for the same images.

    Raises UsageError for a file that does not fit its format (naming line and expectation), for files of two
    exports and where no export can be told; GlanceBenchError when images were made again since the export.
    """
    if format not in FORMATS:
        raise UsageError(f"unknown format {format!r}; {near_misses(format, FORMATS)}")
    if not files:
        raise UsageError("no file to read: name what the scorer wrote")
    document = _manifest(run, format, files, export, model, sampler)
    chosen = (document["model"], document["sampler"], document["prompt_set"])
    shas = _current(run, document)
    wanted = {prompt.id: prompt.wanted_text for prompt in prompts_of(run, chosen[2]).values()}
    found = parse(format, list(files), Finder(document, wanted))
    _leave_out_black(run, format, chosen, found)
    if not any(found.rows.values()):
        raise UsageError(
            f"none of the {len(found.extra)} lines is of the export (the first: {found.extra[0]})"
        )
    read = [{"file": file.name, "sha256": sha256_file(file)} for file in files]
    covered = []
    with run.lock():
        for name, rows in found.rows.items():
            _store(run, name, chosen, rows)
            missing = [
                f"{prompt_id} [{index}]" for prompt_id, index in shas if (prompt_id, index) not in rows
            ]
            coverage = Coverage(name, *chosen, len(rows), len(shas), tuple(missing[:LISTED]))
            covered.append(coverage)
            metric = official_metric(name)
            entry = {"name": name, "recipe": metric.recipe, "kind": metric.kind, "folder": metric.folder}
            source = dict(zip(("model", "sampler", "prompt_set"), chosen, strict=True))
            counts = {"scored": coverage.scored, "images": coverage.images, "extra": len(found.extra)}
            add_metric(run, entry, {**source, **counts, "files": read, "export": document["digest"]})
    return covered, list(map(printable, found.extra))


def _manifest(
    run: Run, format: str, files: Sequence[Path], export: Path | None, model: str | None, sampler: str | None
) -> dict[str, Any]:
    if export is not None:
        found = [read_export(export)]
    else:
        above = [_above(file) for file in files]
        beside = {str(path) for path in above if path is not None}
        if len(beside) > 1:
            raise UsageError(
                f"the files lie in several exports ({', '.join(sorted(beside))}): read one at a time"
            )
        paths = [Path(path) for path in beside] or sorted((run.folder / KEPT).glob("*.json"))
        found = [read_export(path) for path in paths]
    fits = [document for document in found if document["format"] == format]
    if model is not None:
        fits = [document for document in fits if document["model"] == model]
    if sampler is not None:
        fits = [document for document in fits if document["sampler"] == sampler]
    if len(fits) == 1:
        return fits[0]
    if not fits:
        asked = " of " + " ".join(name for name in (model, sampler) if name) if model or sampler else ""
        raise UsageError(
            f"no {format} export{asked} is known: name its folder with --export, or export first"
        )
    names = ", ".join(f"{document['model']} {document['sampler']}" for document in fits)
    raise UsageError(
        f"{len(fits)} {format} exports are known ({names}): name one with --sampler, or --export"
    )


def _above(file: Path) -> Path | None:
    """The nearest folder above ``file`` that is an export."""
    return next((p for p in Path(os.path.abspath(file)).parents if (p / MANIFEST).is_file()), None)


def _current(run: Run, document: dict[str, Any]) -> dict[tuple[str, int], str]:
    """The exported images' sha256 by (prompt id, index). Raises GlanceBenchError when the run has others now."""
    exported = {(cell[0], cell[1]): cell[2] for entry in document["files"] for cell in entry["cells"]}
    records = run.records()
    own = records[
        (records["model"] == document["model"])
        & (records["sampler"] == document["sampler"])
        & (records["prompt_set"] == document["prompt_set"])
    ]
    here = dict(zip(zip(own["prompt_id"], own["index"], strict=True), own["image_sha256"], strict=True))
    stale = [cell for cell, sha in exported.items() if here.get(cell) != sha]
    if stale:
        raise GlanceBenchError(
            f"{len(stale)} images of {document['sampler']!r} are not those that were exported (the first: prompt "
            f"{stale[0][0]!r}, index {stale[0][1]}): export again and score again"
        )
    return exported


def _leave_out_black(run: Run, format: str, chosen: tuple[str, str, str], found: Found) -> None:
    """OneIG's scorer drops black cells, so a prompt's value is none of theirs."""
    if format != "oneig":
        return
    records = run.records()
    keys = zip(records["model"], records["sampler"], records["prompt_set"], strict=True)
    own = records[[key == chosen for key in keys]]
    for prompt_id, index in own.loc[own["black"].astype(bool), ["prompt_id", "index"]].itertuples(
        index=False
    ):
        for rows in found.rows.values():
            rows.pop((prompt_id, index), None)


def _store(run: Run, name: str, chosen: tuple[str, str, str], rows: dict[tuple[str, int], Row]) -> None:
    """One score file a unit, a row for each of its images; an image without a score has an empty one."""
    metric = official_metric(name)
    columns = {"image_sha256": "string", "prompt_id": "string"}
    columns |= {column.name: "float64" for column in metric.columns} | dict.fromkeys(metric.notes, "string")
    for unit in run.units():
        if (unit.model, unit.sampler, unit.prompt_set) != chosen:
            continue
        document = read_unit(run.folder / unit.folder)
        indices = _indices(run, unit.folder, document)
        equal: dict[tuple[str, str], list[Row]] = {}  # scores are kept by image and prompt, not by index
        for image, cell in zip(document["images"], indices, strict=True):
            equal.setdefault((image["sha256"], image["prompt_id"]), []).append(rows.get(cell, {}))
        keyed = [
            {"image_sha256": sha, "prompt_id": prompt_id, **_mean(r)} for (sha, prompt_id), r in equal.items()
        ]
        folder, key = run.folder / metric.folder, content_key(document)
        data = parquet_bytes(keyed, columns)
        old = find_sealed(folder, "parquet").get(key)
        if old is not None:
            old.unlink()
        seal(folder, key, "parquet", data)


def _mean(rows: Sequence[Row]) -> Row:
    """One row for images that are equal to the bit: numbers averaged over those scored, the first of each note."""
    values: dict[str, list[float | str]] = {}
    for row in rows:
        for name, value in row.items():
            values.setdefault(name, []).append(value)
    return {
        name: storable(found[0]) if isinstance(found[0], str) else sum(map(float, found)) / len(found)
        for name, found in values.items()
    }


def _indices(run: Run, folder: str, document: dict[str, Any]) -> list[tuple[str, int]]:
    """(prompt id, index) of a unit's images in the order of its record."""
    import pandas as pd

    frame = pd.read_parquet(run.folder / folder / document["records"]["file"])
    return [
        (str(prompt_id), int(index))
        for prompt_id, index in zip(frame["prompt_id"], frame["index"], strict=True)
    ]
