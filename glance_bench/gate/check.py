"""One question that the gate asks about a sampler, and its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Check", "Kind", "Moved", "Verdict"]

Verdict = Literal["pass", "fail", "inconclusive", "informational"]
Kind = Literal["metric", "set", "failures", "drops", "speed", "latency", "images", "steps"]


@dataclass(frozen=True)
class Moved:
    """A prompt, and its value on both sides."""

    prompt_id: str
    text: str
    baseline: float
    run: float


@dataclass(frozen=True)
class Check:
    """A sampler of a board, on one column or in one respect.

    ``difference`` is run - baseline in the unit of the values, [``low``, ``high``] its interval; for speed and
    latency it is a share: run / baseline - 1. ``margin`` has the same unit. ``p`` is the chance of what was seen if the
    run were worse by just the margin or less, ``adjusted`` the same after Holm over all checks of the gate; ``gain``
    the chance of it if the run were no better, by which ``improved`` is decided, after Holm too.
    ``detectable`` is the smallest loss that so many prompts show with 80 % power, ``needed`` how many would settle
    it: show the loss if it is beyond the margin, else that there is none beyond it. All None where they do not
    apply; ``p`` also where no data could reject, as with the same images: what cannot fail takes no correction.
    """

    model: str
    prompt_set: str  # "" for what does not depend on prompts
    sampler: str
    kind: Kind
    column: str
    title: str
    metric: str = ""
    better: Literal["higher", "lower"] = "higher"
    decimals: int = 3
    verdict: Verdict = "inconclusive"
    baseline: float | None = None
    run: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float | None = None
    margin_text: str = ""
    n: int = 0
    p: float | None = None
    adjusted: float | None = None
    gain: float | None = None
    detectable: float | None = None
    needed: int | None = None
    improved: bool = False
    message: str = ""  # what the numbers do not say: why there is no verdict, what to do
    unconfirmed: str = ""  # what to do before a failure counts; "" when it counts at once
    moved: tuple[Moved, ...] = ()

    @property
    def is_share(self) -> bool:
        """Whether ``difference`` and ``margin`` are shares of the baseline."""
        return self.kind in ("speed", "latency")
