"""DSG, the Davidsonian scene graph benchmark (j-min/DSG): DPG-Bench's questions and rule on 1,060 prompts.

The answer rule, the cascade in the order of the csv and the categories are those of ``dpg``; the score is the mean
over questions, images and prompts in 0..1. The published csv has questions that depend on themselves, which changes
nothing under that rule and is noted, and one prompt whose parents are not there, which counts as not covered.
"""

from __future__ import annotations

from glance_bench.judges.make import judge as make_judge
from glance_bench.metrics.dpg import Dpg

__all__ = ["Dsg", "dsg"]

VERSION = 1


class Dsg(Dpg):
    """``dsg[<judge>]`` in 0..1, its coverage, and ``dsg_<category>[<judge>]``."""

    benchmark = "dsg"
    title = "DSG"
    scale = 1.0
    protocol = (
        f"yes in any case; graph rule with cascade; mean over questions, images, prompts; categories before the "
        f"rule, pooled over all images; version {VERSION}"
    )


def dsg(judge: str) -> Dsg:
    """``dsg[<judge>]``. Raises as ``dpg``."""
    return Dsg(make_judge(judge))
