"""CMMD: distance of two sets of images as distributions of CLIP embeddings (Jayasumana et al. 2024, arXiv:2401.09603).

    1000 (mean k(x, x') + mean k(y, y') - 2 mean k(x, y)),  k(a, b) = exp(-|a - b|^2 / (2 * 10^2))

over unit embeddings, each image paired with itself too (the V-statistic; biased upwards when N is small). The images,
as in the port sayakpaul/cmmd-pytorch of Google's code: the largest centre square, resized to 336 by PIL's bicubic,
through CLIP ViT-L/14 at 336 px. OpenAI's weights are read from open_clip's safetensors of them: on the hub the
transformers repository that the port names holds a pickle; the network is the same.

Embeddings are near each other, so that every k is near 1: the ones are left out (expm1), which they cancel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from glance_bench.metrics.base import Features
from glance_bench.metrics.corpus import OnFeatures
from glance_bench.metrics.openclip import PublishedClip, openai_weights, unit_length
from glance_bench.metrics.pixels import CROP_THEN_PIL
from glance_bench.metrics.references import FeatureFile, Picture

__all__ = ["Cmmd", "CmmdReference", "cmmd", "mean_kernel", "vit_l_14_336"]

SIGMA = 10.0
SCALE = 1000.0
BLOCK = 1024  # rows of the kernel matrix that are in memory at once
FEW = 1000  # images, below which the bias is worth a note


def mean_kernel(first: Features, second: Features) -> float:
    """The mean of k(a, b) - 1 over all pairs, float32[N, D] and float32[M, D]; O(N M) time, O(M) memory."""
    a, b = (np.ascontiguousarray(rows, dtype=np.float32) for rows in (first, second))
    own, other = (np.square(rows, dtype=np.float64).sum(axis=1).astype(np.float32) for rows in (a, b))
    total = 0.0
    for start in range(0, len(a), BLOCK):
        apart = a[start : start + BLOCK] @ b.T  # every step below is in place: the block is what takes memory
        apart *= -2
        apart += own[start : start + BLOCK, None]
        apart += other
        apart *= np.float32(-1 / (2 * SIGMA**2))
        total += float(np.expm1(apart, out=apart).sum(dtype=np.float64))
    return total / (len(a) * len(b))


@dataclass(frozen=True)
class CmmdReference:
    """Unit embeddings float32[N, D] of the reference, and the mean of their own kernel."""

    features: Features
    note: str = ""

    @cached_property
    def own(self) -> float:
        return mean_kernel(self.features, self.features)


def cmmd(features: Features, reference: CmmdReference) -> float:
    """The distance above, of unit embeddings float32[N >= 1, D]; at least 0 up to rounding (about 1e-6).

    Raises ValueError for no rows, another D, or numbers that are not finite.
    """
    data, other = np.asarray(features), reference.features
    if data.ndim != 2 or not len(data) or not len(other) or data.shape[1] != other.shape[1]:
        raise ValueError(f"expected float[N >= 1, {other.shape[1]}] features, got shape {data.shape}")
    if not np.isfinite(data).all():
        raise ValueError("features must be finite")
    return SCALE * (mean_kernel(data, data) + reference.own - 2 * mean_kernel(data, other))


class UnitEmbeddings:
    """Unit image embeddings float32[N, D] of a CLIP model, as an ``Extractor``."""

    def __init__(self, model: PublishedClip) -> None:
        self._model = model
        self.name = model.name

    @property
    def recipe(self) -> str:
        return f"{self._model.name}: {self._model.recipe}, unit image embedding, float32"

    def features(self, images: Sequence[Picture]) -> Features:
        """See ``Extractor.features``."""
        alike = len({image.shape for image in images}) == 1
        stacks = [np.stack(images)] if alike else [image[None] for image in images]
        return np.concatenate([unit_length(self._model.encode_images(stack)) for stack in stacks])


class Cmmd(OnFeatures):
    """``cmmd[<model>]``, 0 or more."""

    floor = 0.0
    method = "Gaussian sigma 10, V-statistic, x1000"

    def __init__(self, model: PublishedClip) -> None:
        super().__init__(
            UnitEmbeddings(model), "cmmd", "CMMD", "maximum mean discrepancy from the reference, x1000"
        )

    def reference_from(self, stored: FeatureFile) -> CmmdReference:
        return CmmdReference(unit_length(stored.rows()), stored.note)

    def reference_of(self, features: Features) -> CmmdReference:
        """See ``ReferencedMetric.reference_of``; embeddings of any length."""
        return CmmdReference(unit_length(np.asarray(features, dtype=np.float32)))

    def reduce(self, features: Features, reference: CmmdReference) -> float:
        """See ``cmmd``."""
        return cmmd(features, reference)

    def note(self, n: int, reference: CmmdReference) -> str:
        few = min(n, len(reference.features))
        biased = f"only {few} images on one side: biased upwards, compare equal N only" if few < FEW else ""
        return "; ".join(filter(None, (biased, reference.note)))


def vit_l_14_336() -> Cmmd:
    """``cmmd[clip-vit-l-14-336]``. Raises MissingData without the weights."""
    return Cmmd(PublishedClip("clip-vit-l-14-336", "ViT-L-14-336-quickgelu", openai_weights(), CROP_THEN_PIL))
