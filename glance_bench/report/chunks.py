"""The data of a report, in pieces that a page loads when it needs them.

A piece is a JSON value with a key such as ``b0/values/3``: b and a number for its board, then what it is. In a folder
it is a file ``data/b0/values/3.js`` that hands it to the page's script, since a page opened from a disk can load
scripts and nothing else.

::

    b0/prompts        {prompts: [[id, text, category, [wanted line]]],
                       rows: [[number of the prompt, index, seed, words, wanted words, objects or null]]}
    b0/values/3       base64 of little-endian float32[samplers, rows]: column 3 of the board; NaN for no value
    b0/values/overall the same, of the largest standardized drop against the reference (see ``failures``)
    b0/images/0       rows 0 to CHUNK - 1: [per sampler: null or [file, state, [note]]]; state is "", "black" or
                      "non-finite", the file lies below the board's folder of originals
    b0/failures       the document of ``failures``
    b0/strips/12      of row 12: [per sampler: [{sigma, step, adapter, file}]]; the file is a data URI
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from markupsafe import Markup

from glance_bench.report.text import visible
from glance_bench.report.thumbs import data_uri, thumbnails

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from glance_bench.report.model import Board

__all__ = ["CHUNK", "bits", "board_chunks", "floats", "noted", "script_json"]

CHUNK = 250  # rows in a piece of images
LABELS = {"_read": "reads", "_missing": "missing"}  # how notes are introduced, by how their names end


def script_json(value: Any) -> str:
    """JSON that can stand in a script, and cannot end the element it stands in."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def floats(values: npt.NDArray[np.float64]) -> str:
    """base64 of the values as little-endian float32, in C order."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def bits(flags: npt.NDArray[np.bool_]) -> str:
    """base64 of the flags in C order, eight to a byte, the first in the lowest bit."""
    import numpy as np

    return base64.b64encode(np.packbits(flags.ravel(), bitorder="little").tobytes()).decode()


def noted(board: Board) -> list[dict[str, str]]:
    """The notes that images of a board carry, and the word that introduces each."""
    return [
        {"name": name, "label": next((word for end, word in LABELS.items() if stem.endswith(end)), stem)}
        for name in _notes(board)
        for stem in [name.partition("[")[0]]
    ]


def board_chunks(board: Board) -> Iterator[tuple[str, Any]]:
    """Keys and values of a board's prompts, values and images."""
    key = f"b{board.number}"
    yield f"{key}/prompts", _prompts(board)
    for place, column in enumerate(board.columns):
        if column["name"] in board.samples:
            yield f"{key}/values/{place}", floats(board.values(column["name"]))
    if board.records is not None:
        images = _images(board, board.records)
        for start in range(0, len(images), CHUNK):
            yield f"{key}/images/{start // CHUNK}", images[start : start + CHUNK]
    for row, strips in board.strips.items():
        yield f"{key}/strips/{row}", _inside(board.source.folder, strips)


def _inside(folder: Path, strips: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    """The same with the pictures themselves for their files; estimates that cannot be read are left out."""
    paths = [folder / estimate["file"] for own in strips for estimate in own]
    small = dict(zip(paths, thumbnails(paths, folder), strict=True))
    return [
        [{**e, "adapter": visible(e["adapter"]), "file": data_uri(found)} for e in own
         if isinstance(found := small[folder / e["file"]], bytes)]
        for own in strips
    ]  # fmt: skip


def _prompts(board: Board) -> dict[str, Any]:
    place = {prompt.id: i for i, prompt in enumerate(board.prompts)}
    first = board.samples.drop_duplicates(["prompt_id", "index"]).set_index(["prompt_id", "index"])
    asked = first.loc[board.rows, ["seed", "prompt_words", "wanted_words", "objects"]]
    return {
        "prompts": [
            [visible(p.id), visible(p.text), visible(p.category), [visible(line) for line in p.wanted_text]]
            for p in board.prompts
        ],
        "rows": [
            [
                place[name],
                index,
                str(seed),
                int(words),
                int(wanted),
                None if objects != objects else int(objects),
            ]
            for (name, index), (seed, words, wanted, objects) in zip(
                board.rows, asked.itertuples(index=False, name=None), strict=True
            )
        ],
    }


def _images(board: Board, records: pd.DataFrame) -> list[list[Any]]:
    notes = _notes(board)
    images: list[list[Any]] = [[None] * len(board.samplers) for _ in board.rows]
    wanted = ["image", "finite", "black", *notes]
    samplers, rows = board.places_of(records)
    for sampler, row, (image, finite, black, *said) in zip(
        samplers, rows, records[wanted].itertuples(index=False, name=None), strict=True
    ):
        state = "non-finite" if not finite else "black" if black else ""
        words = [visible(note) if isinstance(note, str) else "" for note in said]
        images[row][sampler] = [quote(image), state, words]
    return images


def _notes(board: Board) -> list[str]:
    """Columns of the records that hold neither numbers of a metric nor facts of an image."""
    if board.records is None:
        return []
    from glance_bench.units import RECORD_COLUMNS

    known = {column["name"] for column in board.columns} | set(RECORD_COLUMNS)
    known |= {column["name"] for column in board.source.evidence.results["columns"]}
    return [
        name
        for name in board.records.columns
        if name not in known and board.records[name].dtype.kind not in "biuf"
    ]
