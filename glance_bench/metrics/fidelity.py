"""Fidelity: how near an image is to the one that the reference made for the same prompt from the same noise.

A faithful accelerator gives the teacher's own image, sooner. The value is the cosine of two image embeddings, the
mean over the images of a prompt; the reference is the board's, teacher-50 where the suite has it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from glance_bench.metrics.base import Column, Features, Images
from glance_bench.metrics.openclip import ImageEncoder, testbed_clip_model, unit_length

__all__ = ["Fidelity", "testbed_fidelity"]


class Fidelity:
    """``fidelity[<model>]``, a cosine in [-1, 1]; the reference itself has none."""

    kind: Literal["prompt"] = "prompt"

    def __init__(self, model: ImageEncoder) -> None:
        self._model = model
        self.name = f"fidelity[{model.name}]"
        what = f"cosine with the reference's image from the same noise, in {model.name}"
        self.columns = (Column(self.name, "Fidelity", "higher", what),)

    @property
    def extractor(self) -> str:
        return self._model.image_recipe

    @property
    def recipe(self) -> str:
        return f"{self.name}: {self.extractor}; cosine of images from the same noise, mean over a prompt"

    def features(self, images: Images) -> Features:
        """See ``PromptMetric.features``."""
        return self._model.encode_images(images)

    def compare(self, own: Features, reference: Features | None) -> float:
        """See ``PromptMetric.compare``."""
        if reference is None:
            return float("nan")
        return float(np.sum(unit_length(own) * unit_length(reference), axis=1).mean())


def testbed_fidelity() -> Fidelity:
    """``fidelity[testbed-clip]``. Raises GlanceBenchError when the packaged weights are missing."""
    return Fidelity(testbed_clip_model())
