"""DPG-Bench: dense prompts, broken into questions that a judge answers with yes or no.

Official code: TencentQQGYLab/ELLA dpg_bench/compute_dpg_bench.py. A question scores only when the answer is yes;
within each image a question becomes no when one it depends on is no, in place, so that this cascades; an image is
the mean over its questions, a prompt the mean over its images, the score the mean over prompts x 100.

What is done otherwise, and named in the recipe:

* the official judge (mPLUG-large, on ModelScope) answers "yes" to the bare question; other models are asked to
  answer yes or no, and "Yes." is a yes;
* the official scores by category use the answers *before* the graph rule (kept here), and those of a prompt's last
  crop alone. Here all images of a prompt are pooled;
* the official loader skips the first data row, which costs the prompt partiprompts97 one question. Here it is asked.
"""

from __future__ import annotations

import math
import re
from functools import partial
from typing import TYPE_CHECKING

from glance_bench.judges.base import Judge
from glance_bench.judges.make import judge as make_judge
from glance_bench.judges.wording import PLAIN
from glance_bench.metrics.base import Column, Total
from glance_bench.metrics.questions import Questioned

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CATEGORIES", "Dpg", "dpg"]

CATEGORIES = ("global", "entity", "attribute", "relation", "other")
VERSION = 1


class Dpg(Questioned):
    """``dpg[<judge>]`` in 0..100, its coverage, and ``dpg_<category>[<judge>]`` over all questions of a category."""

    benchmark = "dpg"
    title = "DPG"
    instruction = PLAIN
    scale = 100.0
    protocol = (
        f"yes in any case; DPG graph rule with cascade; mean over questions, images, prompts, x100; categories "
        f"before the rule, pooled over all images; version {VERSION}"
    )

    def __init__(self, judge: Judge) -> None:
        super().__init__(judge)
        self.totals = tuple(
            Total(
                Column(
                    f"{self.benchmark}_{category}[{judge.name}]",
                    f"{self.title} {category}",
                    "higher",
                    f"yes answers to {category} questions before the graph rule, over all images",
                    decimals=2,
                    headline=False,
                ),
                partial(_pooled, note=self._by_category, category=category, scale=self.scale),
                (0.0, self.scale),
            )
            for category in CATEGORIES
        )


def _pooled(frame: pd.DataFrame, *, note: str, category: str, scale: float) -> float:
    """The share of yes over every answered question of a category, times ``scale``; NaN when there are none."""
    of_category = re.compile(rf"(?:^|, ){re.escape(category)} (\d+)/(\d+)")
    counts = [(int(yes), int(n)) for text in frame[note].dropna() for yes, n in of_category.findall(text)]
    asked = sum(n for _, n in counts)
    return scale * sum(yes for yes, _ in counts) / asked if asked else math.nan


def dpg(judge: str) -> Dpg:
    """``dpg[<judge>]``. Raises UsageError for a judge's name that means nothing, MissingData without its weights."""
    return Dpg(make_judge(judge))
