"""How much slower or faster B is: median log ratios of latency over blocks that were measured interleaved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .. import stats
from .sides import Side
from .verdicts import FEWEST, LEVEL

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Latency", "blocks", "latencies"]

BLOCK = ["session", "prompt_id", "repeat"]


@dataclass
class Latency:
    """Seconds for one image of each side (medians), and the ratio B / A with its 95 % interval over ``n`` blocks.

    ``basis`` says what was divided: the seconds of both sides in the same blocks, or their ratios to the reference
    sampler, each in its own run's blocks.
    """

    hardware: str
    batch_size: int
    a: float
    b: float
    ratio: float
    low: float
    high: float
    n: int
    basis: str
    verdict: str = ""


def latencies(a: Side, b: Side) -> tuple[list[Latency], list[str]]:
    """One entry for each hardware and batch size on which both sides were timed, and why others have none."""
    timed = {name: blocks(side) for name, side in (("A", a), ("B", b))}
    if missing := [name for name, measured in timed.items() if not measured]:
        return [], [f"latency: {' and '.join(missing)} {'was' if len(missing) == 1 else 'were'} not timed"]
    shared = [key for key in timed["A"] if key in timed["B"]]
    if not shared:
        places = [sorted({hardware for hardware, _ in measured}) for measured in timed.values()]
        return [], [f"latency: other hardware: {', '.join(places[0])} and {', '.join(places[1])}"]
    found, refused = [], []
    for hardware, batch in shared:
        first, second = timed["A"][hardware, batch], timed["B"][hardware, batch]
        common = first.index.intersection(second.index) if a.evidence is b.evidence else first.index[:0]
        basis = "seconds in the same blocks"
        if len(common):
            ratio = stats.log_ratio(second[common].to_numpy(), first[common].to_numpy(), level=LEVEL)
        else:
            own = _over_reference(b, second, hardware, batch)
            other = _over_reference(a, first, hardware, batch)
            if not (len(own) and len(other)):
                refused.append(
                    f"latency on {hardware}: measured in different sessions, without a common reference sampler"
                )
                continue
            basis = f"ratios to {a.board['reference']} in the blocks of each run"
            ratio = stats.log_ratio_difference(own, other, level=LEVEL)
        medians = float(first.median()), float(second.median())
        found.append(Latency(hardware, batch, *medians, ratio.ratio, ratio.low, ratio.high, ratio.n, basis))
        found[-1].verdict = _verdict(ratio)
    return found, refused


def _verdict(ratio: stats.LogRatio) -> str:
    if ratio.n < FEWEST:
        return "too few"
    if ratio.low <= 1 <= ratio.high:
        return "not told apart"
    return "better" if ratio.ratio < 1 else "worse"


def blocks(side: Side, sampler: str | None = None) -> dict[tuple[str, int], pd.Series]:
    """Total seconds by block, for each (hardware, batch size); only times that are positive numbers."""
    frame = side.evidence.timing
    if not len(frame):
        return {}
    own = frame[
        (frame["model"] == side.model)
        & (frame["sampler"] == (sampler or side.sampler))
        & (frame["component"] == "total")
        & np.isfinite(frame["seconds"])
        & (frame["seconds"] > 0)
    ]
    return {
        (str(hardware), int(batch)): part.drop_duplicates(BLOCK).set_index(BLOCK)["seconds"]
        for (hardware, batch), part in own.groupby(["hardware", "batch_size"], sort=True)
    }


def _over_reference(side: Side, own: pd.Series, hardware: str, batch: int) -> npt.NDArray[np.float64]:
    """log(seconds / seconds of the board's reference) by block; empty where there is no such block."""
    reference = blocks(side, str(side.board["reference"])).get((hardware, batch))
    if reference is None or side.sampler == side.board["reference"]:
        return np.empty(0)
    ratio = (own / reference).dropna()
    logs: npt.NDArray[np.float64] = np.log(ratio.to_numpy(float))
    return logs
