"""Frechet distance between Gaussians fitted to features: of generated images, and of a fixed reference.

    d^2 = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)

(Dowson and Landau 1982; as FID: Heusel et al. 2017). Moments are float64, covariances divide by N - 1. With any
F for which S2 = F F^T, the last trace is the sum of the roots of the eigenvalues of F^T S1 F, a symmetric matrix;
with fewer samples than dimensions, of the smaller Gram matrix with the same eigenvalues. No matrix square root of
a product is formed, the factor of the reference is made once, and memory does not grow with N.

The distance is biased upwards when N is small, and with N <= D the sample covariance is singular: compare
equal N only.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from glance_bench.metrics.base import Column, Features, Images
from glance_bench.metrics.corpus import OnFeatures, checked
from glance_bench.metrics.moments import Floats, Moments
from glance_bench.metrics.openclip import OpenClip, testbed_clip_model
from glance_bench.metrics.references import Extractor, FeatureFile
from glance_bench.sealed import write_atomic
from glance_bench.testbed.scenes import WORLD_VERSION

__all__ = [
    "Frechet",
    "FrechetDistance",
    "FrechetInfinity",
    "Moments",
    "frechet_distance",
    "testbed_frechet",
]

TITLES = {"fid": "FID", "fid_inf": "FID inf", "pfid": "pFID", "fd": "FD", "fd_inf": "FD inf"}
SIZES = 15
SHUFFLE = 0
ROWS = 1024  # samples made float64 at a time

REFERENCE_SCENES = 2048
REFERENCE_SEED = 20_240_229
REFERENCE_KINDS = 4 * ("object",) + 6 * ("pair",) + 2 * ("count",) + 4 * ("sign",) + ("sign+object", "poster")


def frechet_distance(features: npt.NDArray[np.floating], reference: Moments) -> float:
    """The squared distance d^2 above, for float[N, D] against the reference; >= 0 up to rounding.

    Raises ValueError for fewer than two samples, another D, or features that are not finite.
    """
    data = checked(np.asarray(features), len(reference.mean))
    if len(data) > data.shape[1]:
        own = Moments.streamed(data[start : start + ROWS] for start in range(0, len(data), ROWS))
        mean, trace = own.mean, float(np.trace(own.covariance))
        gram = _between(own.covariance, reference)
    else:
        mean = data.mean(axis=0, dtype=np.float64)
        centred = (data - mean) / np.sqrt(len(data) - 1)
        trace = float(np.sum(centred**2))
        mixed = centred @ reference.factor
        gram = mixed @ mixed.T if len(mixed) < mixed.shape[1] else mixed.T @ mixed
    cross = float(np.sqrt(np.clip(np.linalg.eigvalsh(gram, UPLO="L"), 0, None)).sum())
    apart = float(np.sum((mean - reference.mean) ** 2))
    return apart + trace + float(np.trace(reference.covariance)) - 2 * cross


def _between(covariance: Floats, reference: Moments) -> Floats:
    """F^T S F for the reference's factor F; only the lower triangle need be right."""
    if reference.triangular:
        from scipy.linalg.lapack import dsygst

        gram: Floats = dsygst(covariance, reference.factor, itype=2, lower=1)[0]  # a quarter of the work
        return gram
    return reference.factor.T @ covariance @ reference.factor


class FrechetDistance(OnFeatures):
    """``fid[...]`` on the Inception network, ``fd[...]`` on others: the distance above."""

    floor: ClassVar[float | None] = 0.0

    def __init__(self, extractor: Extractor, formula: str) -> None:
        super().__init__(extractor, formula, TITLES[formula], "Frechet distance to the reference")

    @property
    def method(self) -> str:
        return "float64 moments, N - 1, no term added to the diagonal"

    def reference_from(self, stored: FeatureFile) -> Moments:
        return stored.moments()

    def reference_of(self, features: Features) -> Moments:
        return Moments.of(features)

    def reduce(self, features: Features, reference: Moments) -> float:
        """See ``frechet_distance``."""
        return frechet_distance(features, reference)

    def note(self, n: int, reference: Moments) -> str:
        return _moments_note(n, reference)


class FrechetInfinity(FrechetDistance):
    """``fid_inf[...]``, ``fd_inf[...]``: the distance at an infinite number of images, extrapolated.

    A straight line through the distances of SIZES growing parts of the shuffled images against 1/N, read at 0
    (Chong and Forsyth 2020, arXiv 1911.07023; official code mchong6/FID_IS_infinity, whose smallest part has 5,000
    images). It removes most of the bias in N of the generated side, not that of the reference.
    """

    floor = None

    @property
    def method(self) -> str:
        return (
            f"{super().method}; line through {SIZES} sizes, evenly from min(5000, N/2) to N, over 1/N, read at 0; "
            f"one shuffle, seed {SHUFFLE}"
        )

    def reduce(self, features: Features, reference: Moments) -> float:
        """The extrapolated distance; it may be slightly negative. N >= 4."""
        from glance_bench.stats import infinity

        data = checked(features, len(reference.mean), least=4)
        data = data[np.random.default_rng(SHUFFLE).permutation(len(data))]
        sizes = np.linspace(min(5000, len(data) // 2), len(data), SIZES).astype(int)
        distances = [frechet_distance(data[:size], reference) for size in sizes]
        return infinity(sizes, distances)

    def note(self, n: int, reference: Moments) -> str:
        few = f"extrapolated from {n // 2} to {n} images: informational" if n < 10_000 else ""
        return "; ".join(filter(None, (few, reference.note)))


class Frechet:
    """``fd[<model>]``: distance of generated images to clean renders of the testbed's training scenes."""

    kind: Literal["corpus"] = "corpus"

    def __init__(self, model: OpenClip) -> None:
        self._model = model
        self.name = f"fd[{model.name}]"
        what = f"Frechet distance to clean renders, in {model.name}'s image features"
        self.columns = (Column(self.name, "FD", "lower", what, floor=0.0),)

    @property
    def extractor(self) -> str:
        return self._model.image_recipe

    @property
    def recipe(self) -> str:
        return (
            f"{self.name}: {self.extractor}; reference {REFERENCE_SCENES} clean training scenes, seed "
            f"{REFERENCE_SEED}, world {WORLD_VERSION}; float64 moments, N - 1"
        )

    def features(self, images: Images) -> npt.NDArray[np.float32]:
        """See ``CorpusMetric.features``."""
        return self._model.encode_images(images)

    def reference(self, cache: Path) -> Moments:
        """Moments of the reference: from beside the weights, else from ``cache``, else computed (about 10 s)
        and kept in ``cache``."""
        name = f"reference-{hashlib.sha256(self.recipe.encode()).hexdigest()[:12]}.npz"
        for folder in (self._model.folder, cache):
            if (folder / name).is_file():
                return _read(folder / name)
        moments = Moments.of(self.features(reference_images()))
        buffer = io.BytesIO()
        np.savez(buffer, mean=moments.mean, covariance=moments.covariance, n=np.int64(moments.n))
        write_atomic(cache / name, buffer.getvalue())
        return moments

    def reduce(self, features: npt.NDArray[np.float32], reference: Moments) -> float:
        """See ``frechet_distance``."""
        return frechet_distance(features, reference)

    def note(self, n: int, reference: Moments) -> str:
        return _moments_note(n, reference)


def _moments_note(n: int, reference: Moments) -> str:
    d = len(reference.mean)
    notes = []
    if n <= d:
        notes.append(f"{n} images for {d} dimensions: biased upwards, compare equal N only")
    if 0 < reference.n <= d:
        notes.append(f"the reference has {reference.n} images for {d} dimensions")
    if n <= d and d >= 2048:
        notes.append("informational below 2,048 images")
    return "; ".join(filter(None, (*notes, reference.note)))


def reference_images() -> Images:
    """The clean renders that generated images are compared with: uint8[REFERENCE_SCENES, 64, 64, 3].

    Scenes of the training split, with the kinds in the proportions of the prompt set ``testbed``.
    """
    from glance_bench.testbed.scenes import sample_scene
    from glance_bench.testbed.world import render

    images = []
    for i in range(REFERENCE_SCENES):
        rng = np.random.default_rng([REFERENCE_SEED, i])
        scene = sample_scene(rng, REFERENCE_KINDS[i % len(REFERENCE_KINDS)], "train")
        images.append(render(scene, rng))
    return np.stack(images)


def testbed_frechet() -> Frechet:
    """``fd[testbed-clip]``. Raises GlanceBenchError when the packaged weights are missing."""
    return Frechet(testbed_clip_model())


def _read(path: Path) -> Moments:
    with np.load(path, allow_pickle=False) as stored:
        return Moments(stored["mean"], stored["covariance"], int(stored["n"]))
