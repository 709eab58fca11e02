"""What each image loses against the reference's image from the same noise: what failures are ranked by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .grid import Floats, Grid

__all__ = ["OVERALL", "drops", "ranked", "spread_of", "worst"]

OVERALL = "overall"
FAILED = "failed"
OF_AN_IMAGE = ("sample", "pair", "unit")  # kinds of metric; the others judge several images together

Column = Mapping[str, Any]  # an entry of the columns of results.json


def ranked(grid: Grid, columns: Sequence[Column]) -> list[Column]:
    """The columns that images are ranked by, in their order: those with a value of the reference to fall from.

    They are a metric's headline columns. Where a metric's headline is a total over all rows, its first column stands
    for it; and ``failed`` is one where any image is black or non-finite. What is only measured against the reference
    (PSNR, LPIPS) is none: the reference has no such value.
    """
    own = [c for c in columns if c["name"] in grid.samples and c["kind"] in OF_AN_IMAGE]
    chosen: dict[str, Column] = {}
    for metric in dict.fromkeys(column["metric"] for column in own):
        listed = [c for c in own if c["metric"] == metric and not c["flag"]]
        for column in [c for c in listed if c["headline"]] or listed[:1]:
            chosen[column["name"]] = column
    for column in own:
        if column["name"] == FAILED and np.nansum(grid.values(FAILED)) > 0:
            chosen[FAILED] = column
    return [column for column in own if column["name"] in chosen and np.isfinite(_drop(grid, column)).any()]


def drops(grid: Grid, columns: Sequence[Column]) -> dict[str, Floats]:
    """The drop of every image in each of ``ranked(grid, columns)``, and "overall" first: float64[S, R] each.

    A drop is the reference's value minus the image's, or the other way round where less is better, in the column's
    unit: positive is worse. NaN where either has no value, and for the reference itself. The overall drop is
    the largest of drop / standard deviation of that column's drops over the whole board (see ``spread_of``).
    """
    own = {column["name"]: _drop(grid, column) for column in ranked(grid, columns)}
    overall = np.full(grid.shape, np.nan)
    for drop in own.values():
        overall = np.fmax(overall, drop / spread_of(drop))
    return {OVERALL: overall, **own}


def spread_of(drop: Floats) -> float:
    """The standard deviation of the finite drops; 1 where they are all the same, so that dividing leaves them."""
    spread, largest = float(np.nanstd(drop)), float(np.nanmax(np.abs(drop)))
    return spread if spread > 1e-12 * largest else 1.0


def _drop(grid: Grid, column: Column) -> Floats:
    values = grid.values(column["name"])
    sign = 1.0 if column["better"] == "higher" else -1.0
    drop: Floats = sign * (values[grid.reference] - values)
    drop[grid.reference] = np.nan
    return drop


def worst(
    drop: Floats, count: int, *, ties: Floats | None = None, among: npt.NDArray[np.bool_] | None = None
) -> list[tuple[int, int]]:
    """The (S, R) of up to ``count`` images with the largest ``drop`` above zero.

    Equal ones are in the order of ``ties`` (float64[S, R], the overall drop), then row by row. ``among`` (bool[S, R] or
    what broadcasts to it) leaves out the others.
    """
    kept = drop > 0 if among is None else (drop > 0) & among
    rows, samplers = np.nonzero(kept.T)
    second = np.zeros(len(rows)) if ties is None else np.nan_to_num(ties[samplers, rows])
    order = np.lexsort((-second, -drop[samplers, rows]))[:count]
    return [(int(samplers[i]), int(rows[i])) for i in order]
