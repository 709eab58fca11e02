"""CMMD: distance of two sets of images as distributions of CLIP embeddings (Jayasumana et al. 2024, arXiv:2401.09603).

    1000 (mean k(x, x') + mean k(y, y') - 2 mean k(x, y)),  k(a, b) = exp(-|a - b|^2 / (2 * 10^2))

over unit embeddings, each image paired with itself too (the V-statistic; biased upwards when N is small). The images,
as in the port sayakpaul/cmmd-pytorch of Google's code: the largest centre square, resized to 336 by PIL's bicubic,
through CLIP ViT-L/14 at 336 px. OpenAI's weights are read from open_clip's safetensors of them: on the hub the
transformers repository that the port names holds a pickle; the network is the same.

Embeddings are near each other, so that every k is near 1: the ones are left out (expm1), which they cancel.
"""

from __future__ import annotations

import copy
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from glance_bench.digests import file_digests
from glance_bench.errors import MissingData, UsageError
from glance_bench.metrics.base import Column, Features, Images
from glance_bench.metrics.openclip import PublishedClip, openai_weights, unit_length
from glance_bench.metrics.pixels import CROP_THEN_PIL
from glance_bench.sealed import digest_of, sha256_bytes, write_atomic

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


class Cmmd:
    """``cmmd[<model>]``, 0 or more. A ``ReferencedMetric``."""

    kind: Literal["corpus"] = "corpus"

    def __init__(self, model: PublishedClip) -> None:
        self._model = model
        self._source: Path | None = None
        self.against_board = False
        self.name = f"cmmd[{model.name}]"
        what = f"maximum mean discrepancy from the reference, in {model.name}, x1000"
        self.columns = (Column(self.name, "CMMD", "lower", what),)

    def against(self, source: Path | None) -> Self:
        """See ``ReferencedMetric.against``."""
        made = copy.copy(self)
        made._source, made.against_board = source, source is None
        made.__dict__.pop("_compared", None)
        return made

    @property
    def extractor(self) -> str:
        return f"{self._model.name}: {self._model.recipe}, unit image embedding, float32"

    @property
    def recipe(self) -> str:
        """Raises UsageError when the source that was named is not there."""
        return (
            f"{self.name}: {self.extractor}; Gaussian sigma 10, V-statistic, x1000; against {self._compared}"
        )

    @cached_property
    def _compared(self) -> str:
        if self._source is not None:
            return f"{self._source.name} {_digest(self._source)}"
        return "the board's reference" if self.against_board else "no reference"

    def features(self, images: Images) -> Features:
        """See ``CorpusMetric.features``; unit length."""
        return unit_length(self._model.encode_images(images))

    def reference(self, cache: Path) -> CmmdReference:
        """Of the source that the suite named: kept in ``cache``, else made. Raises MissingData when it named none."""
        if self._source is None:
            raise MissingData(f"{self.name} waits for a reference: name images or features in the suite")
        place = cache / f"reference-{sha256_bytes(self.recipe.encode())[:12]}.npz"
        if place.is_file():
            with np.load(place, allow_pickle=False) as stored:
                return self.reference_of(stored["features"])
        from glance_bench.metrics.references import reference_features

        made = self.reference_of(reference_features(self._source, self.extractor, self.features))
        buffer = io.BytesIO()
        np.savez(buffer, features=made.features)
        write_atomic(place, buffer.getvalue())
        return made

    def reference_of(self, features: Features) -> CmmdReference:
        """See ``ReferencedMetric.reference_of``; embeddings of any length."""
        return CmmdReference(unit_length(np.asarray(features, dtype=np.float32)))

    def reduce(self, features: npt.NDArray[np.float32], reference: CmmdReference) -> float:
        """See ``cmmd``."""
        return cmmd(features, reference)

    def note(self, n: int, reference: CmmdReference) -> str:
        few = min(n, len(reference.features))
        return f"only {few} images on one side: biased upwards, compare equal N only" if few < FEW else ""


def _digest(source: Path) -> str:
    """12 hex digits over the names and contents of a file, or of all files of a folder."""
    if not source.exists():
        raise UsageError(f"the reference {source} does not exist")
    files = [source] if source.is_file() else sorted(file for file in source.rglob("*") if file.is_file())
    names = [file.relative_to(source).as_posix() for file in files]
    return digest_of(list(zip(names, file_digests(files), strict=True)))[:12]


def vit_l_14_336() -> Cmmd:
    """``cmmd[clip-vit-l-14-336]``. Raises MissingData without the weights."""
    return Cmmd(PublishedClip("clip-vit-l-14-336", "ViT-L-14-336-quickgelu", openai_weights(), CROP_THEN_PIL))
