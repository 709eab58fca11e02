"""Diversity: how far apart the images of one prompt are that differ in their noise alone.

The mean over all pairs of a prompt's images of 1 - cosine of their embeddings, as OneIG-Bench's diversity is the mean
pairwise distance over the images of a prompt (there in DreamSim). Needs ``images_per_prompt`` of two or more.
"""

from __future__ import annotations

from typing import Literal

from glance_bench.metrics.base import Column, Features, Images
from glance_bench.metrics.openclip import ImageEncoder, testbed_clip_model, unit_length

__all__ = ["Diversity", "dreamsim_diversity", "testbed_diversity"]


class Diversity:
    """``diversity[<model>]``, a mean cosine distance in [0, 2]."""

    kind: Literal["prompt"] = "prompt"

    def __init__(self, model: ImageEncoder) -> None:
        self._model = model
        self.name = f"diversity[{model.name}]"
        what = f"mean cosine distance between images of a prompt, in {model.name}"
        self.columns = (Column(self.name, "Diversity", "higher", what),)

    @property
    def extractor(self) -> str:
        return self._model.image_recipe

    @property
    def recipe(self) -> str:
        return f"{self.name}: {self.extractor}; mean of 1 - cosine over all pairs of a prompt's images"

    def features(self, images: Images) -> Features:
        """See ``PromptMetric.features``."""
        return self._model.encode_images(images)

    def compare(self, own: Features, reference: Features | None) -> float:
        """See ``PromptMetric.compare``."""
        count = len(own)
        if count < 2:
            return float("nan")
        total = unit_length(own).sum(
            axis=0, dtype=float
        )  # |sum|^2 holds each pair twice, and each image once
        return float(1 - (total @ total - count) / (count * (count - 1)))


def testbed_diversity() -> Diversity:
    """``diversity[testbed-clip]``. Raises GlanceBenchError when the packaged weights are missing."""
    return Diversity(testbed_clip_model())


def dreamsim_diversity() -> Diversity:
    """``diversity[dreamsim]``. Raises MissingData without DreamSim's weights."""
    from glance_bench.metrics.dreamsim import published_dreamsim

    return Diversity(published_dreamsim())
