"""Which attributes of a testbed scene hold in its image, by the testbed's checker. No neural network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from glance_bench.metrics.base import Column, Images, Row

if TYPE_CHECKING:
    from glance_bench.prompts import Prompt

__all__ = ["Truth"]

VERSION = 2  # raise it when testbed.truth can judge the same image differently


class Truth:
    """``truth`` is the share of a scene's attributes that hold, ``truth_all`` is 1 when every one does.

    Applies to prompts whose ``meta["scene"]`` holds a testbed scene. The note ``truth_missing`` lists what
    failed.
    """

    name = "truth"
    kind: Literal["sample"] = "sample"
    notes = ("truth_missing",)
    recipe = f"truth: testbed checker {VERSION}; share of attributes; text not judged"
    columns = (
        Column("truth", "Truth", "higher", "share of the scene's attributes that hold in the image"),
        Column("truth_all", "All true", "higher", "share of images in which every attribute holds"),
    )

    def score(self, images: Images, prompts: Sequence[Prompt]) -> list[Row]:
        """See ``SampleMetric.score``; values lie in [0, 1]. Images must have the testbed's size."""
        from glance_bench.testbed.scenes import Scene
        from glance_bench.testbed.truth import check

        rows: list[Row] = []
        for image, prompt in zip(images, prompts, strict=True):
            if "scene" not in prompt.meta:
                rows.append({})
                continue
            verdict = check(Scene.from_json(prompt.meta["scene"]), image)
            missing = [name for name, holds in verdict.items() if not holds]
            rows.append(
                {
                    "truth": 1 - len(missing) / len(verdict),
                    "truth_all": float(not missing),
                    "truth_missing": ", ".join(missing),
                }
            )
        return rows
