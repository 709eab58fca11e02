"""The worst images of a finished run, board by board: as a JSON document and as plain lines.

The document (schema ``glance-bench/worst/1``)::

    schema, run, top, metric, sampler, category     the last two null where all were asked for
    boards  [{model, prompt_set, testbed, reference, columns, tests, sentences, images: [{
                sampler, prompt, index, category, text, seed, drop, value, reference_value,
                causes: [sentence], texts: [{by, wanted, read, diff: [[op, text]]}], image, reference_image}]}]

``value`` and ``reference_value`` are null for the overall drop, paths where there is no file. ``sentences`` and
``tests`` are those of ``glance-bench/failures/1``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
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
    from ..report.model import Board, Report

__all__ = ["SCHEMA", "lines", "listing"]

SCHEMA = "glance-bench/worst/1"
TEXT_SHOWN = 160  # characters of a prompt's text in a line


def listing(
    report: Report,
    *,
    sampler: str | None = None,
    metric: str = OVERALL,
    category: str | None = None,
    top: int = 10,
) -> dict[str, Any]:
    """The ``top`` images of every board that lose most, of all samplers or one, in all categories or one.

    ``metric`` is a column, a metric (its first column) or "overall". Boards that lack the sampler, the column or the
    category are left out. Raises UsageError for names that no board has.
    """
    ranking = [_Ranking(board) for board in report.boards]
    asked = {"sampler": sampler, "metric": metric, "category": category}
    for option, name in asked.items():
        known = {one for board in ranking for one in board.known[option]}
        if name is not None and name not in known:
            raise UsageError(_unknown(option, name, known, report))
    fitting = [
        board
        for board in ranking
        if all(name is None or name in board.known[option] for option, name in asked.items())
    ]
    if not fitting:
        named = ", ".join(repr(name) for name in asked.values() if name is not None)
        raise UsageError(f"no board has all of {named}")
    made: dict[str, Any] = finite(
        {
            "schema": SCHEMA,
            "run": report.title,
            **asked,
            "top": top,
            "boards": [board.document(sampler, metric, category, top) for board in fitting],
        }
    )
    return made


def _unknown(option: str, name: str, known: set[str], report: Report) -> str:
    if option == "sampler" and name in {board.reference for board in report.boards}:
        return f"--sampler: {name!r} is what the others are compared with"
    columns = [column for board in report.boards for column in board.columns]
    if option == "metric" and any(name in (column["name"], column["metric"]) for column in columns):
        valid = ", ".join(sorted(known))
        return f"--metric: {name!r} has no value of an image and of its reference to rank by; valid: {valid}"
    what = "metric or column" if option == "metric" else option
    return f"--{option}: {report.title} has no {what} {name!r}; {near_misses(name, known)}"


class _Ranking:
    """One board and what its images lose. ``known`` are the names that each option may have."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._grid = Grid.of(board.samples, board.results, board.rows)
        self._drops = drops(self._grid, board.columns)
        self._category = np.array(self._grid.facets()["category"].fillna("").astype(str))[
            self._grid.prompt_of
        ]
        self._metrics = {
            column["metric"]: column["name"]
            for column in reversed(board.columns)
            if column["name"] in self._drops
        } | {name: name for name in self._drops}
        self.known = {
            "sampler": set(self._grid.samplers) - {board.reference},
            "metric": set(self._metrics),
            "category": set(self._category),
        }

    def document(self, sampler: str | None, metric: str, category: str | None, top: int) -> dict[str, Any]:
        """The board's entry of the document."""
        board, grid, by = self._board, self._grid, self._metrics[metric]
        among = np.ones(grid.shape, dtype=bool)
        if sampler is not None:
            among &= (np.array(grid.samplers) == sampler)[:, None]
        if category is not None:
            among &= self._category == category
        told, tests = sentences(grid, board.columns, sampler)
        chosen = worst(self._drops[by], top, ties=self._drops[OVERALL], among=among)
        return {
            **{key: board.results[key] for key in ("model", "prompt_set", "testbed", "reference")},
            "columns": list(self._drops),
            "ranked_by": by,
            "tests": tests,
            "sentences": [asdict(one) for one in told],
            "images": self._images(chosen, by),
        }

    def _images(self, chosen: list[tuple[int, int]], by: str) -> list[dict[str, Any]]:
        board, grid = self._board, self._grid
        causes = causes_of(grid, board.columns, self._drops, board.records, board.prompts)
        prompts = {prompt.id: prompt for prompt in board.prompts}
        values = np.full(grid.shape, np.nan) if by == OVERALL else grid.values(by)
        samples, files = grid.samples, self._files()
        made = []
        for s, r in chosen:
            name, index = grid.rows[r]
            texts = [
                {
                    "by": note,
                    "wanted": wanted,
                    "read": read,
                    "diff": [list(piece) for piece in diff(wanted, read)],
                }
                for note, wanted, read in causes.texts(s, r)
            ]
            made.append(
                {
                    "sampler": grid.samplers[s],
                    **{"prompt": name, "index": index, "seed": int(samples["seed"].iloc[grid.places[s, r]])},
                    **{"category": prompts[name].category, "text": prompts[name].text},
                    "drop": float(self._drops[by][s, r]),
                    "value": float(values[s, r]),
                    "reference_value": float(values[grid.reference, r]),
                    **{"causes": causes.of(s, r), "texts": texts},
                    **{"image": files(s, r), "reference_image": files(grid.reference, r)},
                }
            )
        return made

    def _files(self) -> Callable[[int, int], str | None]:
        """A function that says where the image of S at R lies, in the run or unpacked from a bundle."""
        records, folder = self._board.records, self._board.source.folder
        places = None if records is None else self._grid.positions(records)

        def file(s: int, r: int) -> str | None:
            if records is None or places is None or places[s, r] < 0:
                return None
            path = folder / str(records["image"].iloc[places[s, r]])
            return str(path) if path.is_file() else None

        return file


def lines(document: Mapping[str, Any]) -> Iterator[str]:
    """The document as lines without colour, safe to print."""
    return map(printable, _lines(document))


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    for place, board in enumerate(document["boards"]):
        label = " (TESTBED)" if board["testbed"] else ""
        if place:
            yield ""
        yield f"{board['model']} on {board['prompt_set']}{label}, against {board['reference']}"
        yield from _summary(document, board)
        if document["top"]:
            yield ""
            yield from _worst(document, board)


def _summary(document: Mapping[str, Any], board: Mapping[str, Any]) -> Iterator[str]:
    if not board["tests"]:
        yield "  nothing to compare: no other sampler has values beside the reference's"
    elif not board["sentences"]:
        whose = "" if document["sampler"] is None else f" of {document['sampler']}"
        yield f"  nothing{whose} stands out (Holm, 5 %, over {board['tests']:,} contrasts of this board)"
    for sentence in board["sentences"]:
        yield f"  - {sentence['text']}"


def _worst(document: Mapping[str, Any], board: Mapping[str, Any]) -> Iterator[str]:
    by = board["ranked_by"]
    unit = "in standard deviations of the column that fell most" if by == OVERALL else f"in {by}"
    among = "" if document["category"] is None else f" of category {document['category']!r}"
    if not board["images"]:
        yield f"No image{among} is worse than the reference's{'' if by == OVERALL else f' in {by}'}"
        return
    several = f"{len(board['images'])} images" if len(board["images"]) > 1 else "image"
    verb = "lose" if len(board["images"]) > 1 else "loses"
    yield f"The {several}{among} that {verb} most against {board['reference']}, {unit}:"
    for rank, image in enumerate(board["images"], start=1):
        text = image["text"] if len(image["text"]) <= TEXT_SHOWN else image["text"][:TEXT_SHOWN] + "..."
        named = f"{image['prompt']} #{image['index']}"
        category = f" ({image['category']})" if image["category"] else ""
        yield f"{rank:3}. {image['sampler']}, {named}{category}, {_drop(image)}: {text}"
        for cause in image["causes"]:
            yield f"     {cause}"
        for read in {one["read"]: one for one in image["texts"]}.values():
            if any(op != "=" for op, _ in read["diff"]):
                yield f"     text: {marked(read['diff'])}"
        yield f"     image: {image['image'] or 'not kept'}"
        yield f"     {board['reference']}: {image['reference_image'] or 'not kept'}"


def _drop(image: Mapping[str, Any]) -> str:
    if image["value"] is None:
        return f"drop {number(image['drop'], 2)}"
    return f"drop {number(image['drop'])} ({number(image['reference_value'])} to {number(image['value'])})"
