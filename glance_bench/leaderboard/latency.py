"""Measured latency and speed-up of a board's rows, for each hardware and batch size by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .. import stats
from ..comparison.latency import blocks
from ..comparison.verdicts import FEWEST, LEVEL
from .merge import Board, Entry

__all__ = ["Measured", "latencies_of"]

RESAMPLES = 4000
Place = tuple[str, int]  # hardware and batch size


@dataclass(frozen=True)
class Measured:
    """Median seconds for one image over ``n`` measurements, and the speed-up against the board's reference.

    Intervals are percentile bootstraps at 95 %, NaN for fewer than FEWEST measurements; ``speedup`` is None where the
    reference was not timed in the same blocks. Only rows of one session were timed in turn.
    """

    value: float
    low: float
    high: float
    n: int
    speedup: stats.LogRatio | None
    sessions: frozenset[str]


def latencies_of(board: Board) -> dict[Place, dict[int, Measured]]:
    """By hardware and batch size, the rows (by place) that were timed on it; the place with most rows first."""
    found: dict[Place, dict[int, Measured]] = {}
    for place, entry in enumerate(board.entries):
        for hardware, measured in _measured(entry).items():
            found.setdefault(hardware, {})[place] = measured
    return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))


def _measured(entry: Entry) -> dict[Place, Measured]:
    seconds: dict[Place, list[pd.Series]] = {}
    ratios: dict[Place, stats.LogRatio] = {}
    for side in entry.sides:
        reference = blocks(side, str(side.board["reference"]))
        for hardware, own in blocks(side).items():
            seconds.setdefault(hardware, []).append(own)
            theirs = reference.get(hardware, own[:0])
            common = own.index.intersection(theirs.index)
            if len(common) and hardware not in ratios:
                ratios[hardware] = stats.log_ratio(
                    theirs[common].to_numpy(), own[common].to_numpy(), level=LEVEL
                )
    made = {}
    for hardware, parts in seconds.items():
        together = pd.concat(parts)
        # Two runs of one folder's timing hold the same blocks; blocks of different sessions never share a key.
        values = together[~together.index.duplicated()].to_numpy(float)
        low, high = _ends(values)
        sessions = frozenset(map(str, together.index.get_level_values("session")))
        made[hardware] = Measured(
            float(np.median(values)), low, high, len(values), ratios.get(hardware), sessions
        )
    return made


def _ends(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, float]:
    """Percentile bootstrap interval of a median. Of five values or fewer it would be too narrow."""
    if len(values) < FEWEST:
        return float("nan"), float("nan")
    draws = np.random.default_rng(0).integers(0, len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(np.median(values[draws], axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
