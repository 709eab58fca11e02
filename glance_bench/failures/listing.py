"""The worst images of a finished run, board by board: as a JSON document and as plain lines.

The document (schema ``glance-bench/worst/1``)::

    schema, run, ranked_by, sampler, category      the last two null where all were asked for
    boards  [{model, prompt_set, testbed, reference, columns, tests, sentences, images: [{
                sampler, prompt, index, category, text, seed, drop, value, reference_value,
                causes: [sentence], texts: [{by, wanted, read, diff: [[op, text]]}], image, reference_image}]}]

``value`` and ``reference_value`` are null for the overall drop, paths where there is no file. ``sentences`` and
``tests`` are those of ``glance-bench/failures/1``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..comparison.document import finite
from ..errors import UsageError, near_misses
from ..report.text import number
from ..terminal import printable
from .document import causes_of
from .drops import OVERALL, drops, worst
from .grid import Grid
from .summary import sentences
from .words import diff, marked

if TYPE_CHECKING:
    import pandas as pd

    from ..evidence import Evidence
    from ..prompts import Prompt
    from ..store import Run
    from .causes import Causes
    from .drops import Column
    from .grid import Floats

__all__ = ["SCHEMA", "lines", "listing"]

SCHEMA = "glance-bench/worst/1"
TEXT_SHOWN = 160  # characters of a prompt's text in a line


def listing(
    evidence: Evidence,
    *,
    sampler: str | None = None,
    metric: str = OVERALL,
    category: str | None = None,
    top: int = 10,
) -> dict[str, Any]:
    """The ``top`` images of every board that lose most, of all samplers or one, in all categories or one.

    ``metric`` is a column, a metric (its first column) or "overall". Boards that lack the sampler or the column are
    left out. Raises UsageError for names that no board has.
    """
    boards = []
    run = _run_of(evidence)
    records = None if run is None else _records(run)
    columns = {str(column["name"]): column for column in evidence.results["columns"]}
    known: dict[str, set[str]] = {"metric": {OVERALL}, "sampler": set(), "category": set()}
    for board in evidence.results["boards"]:
        grid = Grid.of(evidence.samples, board, _rows(evidence, board))
        dropped = drops(grid, list(columns.values()))
        names = {metric: metric for metric in dropped}
        for name in dropped:
            if name != OVERALL:
                names.setdefault(columns[name]["metric"], name)
        categories = grid.facets()["category"].fillna("").astype(str)
        others = [name for name in grid.samplers if name != board["reference"]]
        known["metric"] |= set(names)
        known["sampler"] |= set(others)
        known["category"] |= set(categories)
        asked = (metric in names, sampler in (None, *others), category in (None, *categories))
        if not all(asked):
            continue
        among = np.ones(grid.shape, dtype=bool)
        if sampler is not None:
            among &= (np.array(grid.samplers) == sampler)[:, None]
        if category is not None:
            among &= (categories == category).to_numpy()[grid.prompt_of]
        by = names[metric]
        chosen = worst(dropped[by], top, ties=dropped[OVERALL], among=among)
        prompts = [] if run is None else run.prompts(str(board["prompt_set"]))
        explained = causes_of(grid, list(columns.values()), dropped, records, prompts)
        shown = _Images(evidence, grid, explained, dropped, columns.get(by), by, records)
        told, tests = sentences(grid, list(columns.values()))
        boards.append(
            {
                **{key: board[key] for key in ("model", "prompt_set", "testbed", "reference")},
                "columns": list(dropped),
                "ranked_by": by,
                "tests": tests,
                "sentences": [asdict(one) for one in told if sampler in (None, one.sampler)],
                "images": [shown.entry(s, r) for s, r in chosen],
            }
        )
    for option, name in (("sampler", sampler), ("metric", metric), ("category", category)):
        if name is not None and name not in known[option]:
            raise UsageError(_unknown(option, name, known[option], evidence, columns))
    if not boards:
        raise UsageError(f"{evidence.path}: no board has all of these: {sampler or ''} {metric} {category or ''}")
    asked_for = {"sampler": sampler, "category": category, "metric": metric}
    made: dict[str, Any] = finite({"schema": SCHEMA, "run": evidence.name, **asked_for, "boards": boards})
    return made


def _unknown(
    option: str, name: str, known: set[str], evidence: Evidence, columns: Mapping[str, Column]
) -> str:
    references = {str(board["reference"]) for board in evidence.results["boards"]}
    if option == "sampler" and name in references:
        return f"--sampler: {name!r} is what the others are compared with"
    if option == "metric" and any(name in (c["name"], c["metric"]) for c in columns.values()):
        return f"--metric: {name!r} has no value of an image and its reference to rank by; {near_misses('', known)}"
    what = "metric or column" if option == "metric" else option
    return f"--{option}: {evidence.path} has no {what} {name!r}; {near_misses(name, known)}"


class _Images:
    """What is told of the images of one board."""

    def __init__(
        self,
        evidence: Evidence,
        grid: Grid,
        explained: Causes,
        dropped: Mapping[str, Floats],
        column: Column | None,
        by: str,
        records: pd.DataFrame | None,
    ) -> None:
        self._evidence, self._grid, self._explained = evidence, grid, explained
        self._drop, self._reference = dropped[by], grid.reference
        self._values = None if column is None else grid.values(by)
        self._places = grid.positions(grid.samples)
        self._files = {} if records is None else dict(zip(records["image_sha256"], records["image"], strict=True))
        self._texts = evidence.prompts.get(str(grid.samples["prompt_set"].iloc[0]), {})

    def entry(self, s: int, r: int) -> dict[str, Any]:
        """One image of the document."""
        own, theirs = self._sample(s, r), self._sample(self._reference, r)
        prompt = self._grid.rows[r][0]
        texts = [
            {"by": by, "wanted": wanted, "read": read, "diff": [list(piece) for piece in diff(wanted, read)]}
            for by, wanted, read in self._explained.texts(s, r)
        ]
        return {
            "sampler": self._grid.samplers[s],
            "prompt": prompt,
            "index": self._grid.rows[r][1],
            "category": "" if own["category"] is None else str(own["category"]),
            "text": self._texts.get(prompt, ""),
            "seed": int(own["seed"]),
            "drop": float(self._drop[s, r]),
            "value": None if self._values is None else float(self._values[s, r]),
            "reference_value": None if self._values is None else float(self._values[self._reference, r]),
            "causes": self._explained.of(s, r),
            "texts": texts,
            "image": self._file(own),
            "reference_image": self._file(theirs),
        }

    def _sample(self, s: int, r: int) -> Any:
        return self._grid.samples.iloc[int(self._places[s, r])]

    def _file(self, sample: Any) -> str | None:
        """Where an image lies: in a run, or unpacked from a bundle."""
        sha, folder = str(sample["image_sha256"]), self._evidence.path
        named = self._files.get(sha) or (f"images/{sha}.png" if sha.isalnum() else "")
        return str(folder / named) if named and (folder / named).is_file() else None


def _run_of(evidence: Evidence) -> Run | None:
    """The run whose evidence it is; None for what was kept of one."""
    from ..store import Run

    return Run(evidence.path) if (evidence.path / "manifest.json").is_file() else None


def _records(run: Run) -> pd.DataFrame:
    from ..results import scored_records

    return scored_records(run)


def _rows(evidence: Evidence, board: Mapping[str, Any]) -> list[tuple[str, int]]:
    """The board's images in the order of its prompts."""
    own = evidence.samples
    own = own[(own["model"] == board["model"]) & (own["prompt_set"] == board["prompt_set"])]
    place = {prompt: i for i, prompt in enumerate(evidence.prompts.get(str(board["prompt_set"]), {}))}
    keys = dict.fromkeys(zip(own["prompt_id"].map(str), own["index"].map(int), strict=True))
    return sorted(keys, key=lambda key: (place.get(key[0], len(place)), key[1]))


def lines(document: Mapping[str, Any]) -> Iterator[str]:
    """The document as lines without colour, safe to print."""
    return map(printable, _lines(document))


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    for place, board in enumerate(document["boards"]):
        label = " (TESTBED)" if board["testbed"] else ""
        if place:
            yield ""
        yield f"{board['model']} on {board['prompt_set']}{label}, against {board['reference']}"
        yield from _summary(board)
        yield ""
        yield from _worst(document, board)


def _summary(board: Mapping[str, Any]) -> Iterator[str]:
    if not board["tests"]:
        yield "  nothing to compare: no other sampler has values beside the reference's"
    elif not board["sentences"]:
        yield f"  none of {board['tests']:,} contrasts stands out (Holm, 5 %)"
    for sentence in board["sentences"]:
        yield f"  - {sentence['text']}"


def _worst(document: Mapping[str, Any], board: Mapping[str, Any]) -> Iterator[str]:
    by = board["ranked_by"]
    unit = "in standard deviations of the column that fell most" if by == OVERALL else f"in {by}"
    among = "" if document["category"] is None else f" of category {document['category']!r}"
    if not board["images"]:
        yield f"No image{among} is worse than the reference's{'' if by == OVERALL else f' in {by}'}"
        return
    yield f"The {len(board['images'])} images{among} that lose most against {board['reference']}, {unit}:"
    for rank, image in enumerate(board["images"], start=1):
        text = image["text"] if len(image["text"]) <= TEXT_SHOWN else image["text"][:TEXT_SHOWN] + "..."
        named = f"{image['prompt']} #{image['index']}"
        category = f" ({image['category']})" if image["category"] else ""
        yield f"{rank:3}. {image['sampler']}, {named}{category}, drop {number(image['drop'], 2)}: {text}"
        for cause in image["causes"]:
            yield f"     {cause}"
        for read in {one["read"]: one for one in image["texts"]}.values():
            if any(op != "=" for op, _ in read["diff"]):
                yield f"     text: {marked(read['diff'])}"
        yield f"     image: {image['image'] or 'not kept'}"
        yield f"     {board['reference']}: {image['reference_image'] or 'not kept'}"
