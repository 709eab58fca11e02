"""OneIG-Bench's diversity: the mean DreamSim distance over all pairs of a prompt's images.

As ``diversity[dreamsim]``, but on what OneIG's scorer sees: images that went through JPEG, without the black ones
(OneIG-Bench/OneIG-Benchmark, scripts/diversity/diversity_score.py). A prompt with fewer than two such images has none.
"""

from __future__ import annotations

import numpy as np

from glance_bench.judges.pictures import JPEG_QUALITY
from glance_bench.metrics.base import Column, Features, Images
from glance_bench.metrics.diversity import Diversity
from glance_bench.metrics.dreamsim import DreamSim, published_dreamsim
from glance_bench.metrics.oneig_cells import official_cells

__all__ = ["OneigDiversity", "oneig_diversity"]


class OneigDiversity(Diversity):
    """``oneig_diversity[dreamsim]``, a mean distance in [0, 2]. A ``PromptMetric``; black images have NaN features."""

    def __init__(self, model: DreamSim) -> None:
        super().__init__(model)
        self.name = f"oneig_diversity[{model.name}]"
        what = f"mean distance between images of a prompt, in {model.name}, as OneIG-Bench counts it"
        self.columns = (Column(self.name, "OneIG diversity", "higher", what),)

    @property
    def extractor(self) -> str:
        return f"oneig_cells: JPEG {JPEG_QUALITY}, black images as NaN; {super().extractor}"

    def features(self, images: Images) -> Features:
        """See ``PromptMetric.features``."""
        cells, kept = official_cells(images)
        # a black image costs one embedding, which tells how wide the rows are
        embeddings = super().features(cells if kept else images[:1])
        made = np.full((len(images), embeddings.shape[1]), np.nan, dtype=np.float32)
        if kept:
            made[kept] = embeddings
        return made

    def compare(self, own: Features, reference: Features | None) -> float:
        """See ``PromptMetric.compare``."""
        return super().compare(own[~np.isnan(own).any(axis=1)], None)


def oneig_diversity() -> OneigDiversity:
    """``oneig_diversity[dreamsim]``. Raises MissingData without DreamSim's weights."""
    return OneigDiversity(published_dreamsim())
