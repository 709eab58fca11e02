"""Small copies of images, so that a gallery of large ones opens at once and a report can travel without its run.

Images up to SIDE pixels are copied without loss; larger ones are reduced to SIDE and compressed, about 5 KB each.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from glance_bench.exchange.folders import is_inside

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from glance_bench.report.model import Board

__all__ = ["SIDE", "Kept", "choose_rows", "data_uri", "thumbnails"]

SIDE = 192
SAMPLED = 500  # prompts of a board in the stratified sample
BATCH = 64
WORST = 100  # rows of each sampler among its failures
Kept = Literal["failures", "sample", "all"]


def choose_rows(board: Board, kept: Kept) -> npt.NDArray[np.int64]:
    """The rows whose images are kept, the most wanted first: failures by rank, then a sample of every category."""
    import numpy as np

    if kept == "all":
        return np.arange(len(board.rows))
    chosen: dict[int, None] = {}
    if kept == "failures":
        drop = np.where(np.isnan(board.overall), -np.inf, board.overall)
        ranks = np.argsort(-drop, axis=1, kind="stable")[:, :WORST]
        for place in range(ranks.shape[1]):
            for sampler, row in enumerate(ranks[:, place]):
                if drop[sampler, row] > 0:
                    chosen[int(row)] = None
    chosen |= dict.fromkeys(_stratified(board))
    return np.fromiter(chosen, dtype=np.int64, count=len(chosen))


def _stratified(board: Board) -> Iterator[int]:
    """SAMPLED rows, of every category in proportion, evenly spaced over its prompts."""
    category = {prompt.id: prompt.category for prompt in board.prompts}
    strata: dict[str, list[int]] = {}
    for row, (prompt, _) in enumerate(board.rows):
        strata.setdefault(category[prompt], []).append(row)
    share = min(1.0, SAMPLED / max(1, len(board.rows)))
    for rows in strata.values():
        count = max(1, round(share * len(rows)))
        yield from (rows[i * len(rows) // count] for i in range(count))


def thumbnails(paths: Sequence[Path], folder: Path) -> Iterator[bytes | str]:
    """The WebP bytes of each image in turn, or a sentence that says why there are none.

    What does not lie in ``folder`` is not shown: the record of a run, or a link in it, may be anybody's.

    They are made as they are asked for, BATCH at a time: whoever has enough can stop.
    """
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), BATCH):
            yield from pool.map(_thumbnail, paths[start : start + BATCH], repeat(folder))


def data_uri(image: bytes) -> str:
    """A thumbnail as an address that holds it."""
    return "data:image/webp;base64," + base64.b64encode(image).decode()


def _thumbnail(path: Path, folder: Path) -> bytes | str:
    from PIL import Image, UnidentifiedImageError

    if not is_inside(path, folder):
        return "lies outside the run's folder"
    try:
        with Image.open(path) as image:
            small = max(image.size) <= SIDE
            picture = image.convert("RGB")
    except FileNotFoundError:
        return "is not there"
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        return f"cannot be read ({error})"
    if not small:
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", lossless=small, quality=75 if small else 65, method=4)
    return buffer.getvalue()
