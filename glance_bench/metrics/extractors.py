"""Extractors by name, and the corpus metrics on them: one factory a formula, called with what stands in the brackets.

``kid[inception-2015-12-05,clean-fid]`` is ``kid("inception-2015-12-05,clean-fid")``. Factories import no torch and
raise MissingData where weights are absent, UsageError for a name that is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from glance_bench.errors import UsageError, near_misses
from glance_bench.metrics.base import Features
from glance_bench.metrics.dinov2 import WEIGHTS_NAME as DINOV2_WEIGHTS
from glance_bench.metrics.dinov2 import DinoV2
from glance_bench.metrics.frechet import FrechetDistance, FrechetInfinity
from glance_bench.metrics.inception import PREPARATIONS, WEIGHTS_NAME, Inception
from glance_bench.metrics.kid import Kid
from glance_bench.metrics.manifold import Formula, Manifold
from glance_bench.metrics.openclip import OpenClip, testbed_clip_model
from glance_bench.metrics.references import Extractor, Picture
from glance_bench.weights import find_weights

__all__ = [
    "EXTRACTORS",
    "OpenClipFeatures",
    "coverage",
    "density",
    "extractor",
    "fd",
    "fd_inf",
    "fid",
    "fid_inf",
    "kid",
    "kid_full",
    "pfid",
    "precision",
    "recall",
]

INCEPTIONS = {f"{WEIGHTS_NAME},{name}": name for name in PREPARATIONS}
EXTRACTORS = (*INCEPTIONS, "dinov2-vitl14", "testbed-clip")


class OpenClipFeatures:
    """Image embeddings of an open_clip model as an ``Extractor``."""

    def __init__(self, model: OpenClip) -> None:
        self._model = model
        self.name = model.name

    @property
    def recipe(self) -> str:
        return self._model.image_recipe

    def features(self, images: Sequence[Picture]) -> Features:
        """See ``Extractor.features``."""
        if len({image.shape for image in images}) == 1:
            return self._model.encode_images(np.stack(images))
        return np.concatenate([self._model.encode_images(image[None]) for image in images])


def extractor(name: str) -> Extractor:
    """The extractor called ``name``, one of EXTRACTORS. Its weights are looked for each time, but read once."""
    if name in INCEPTIONS:
        return _inception_at(INCEPTIONS[name], find_weights(WEIGHTS_NAME))
    if name == "dinov2-vitl14":
        return _dinov2_at(find_weights(DINOV2_WEIGHTS))
    if name == "testbed-clip":
        return OpenClipFeatures(testbed_clip_model())
    raise UsageError(f"unknown extractor {name!r}; {near_misses(name, EXTRACTORS)}")


@cache
def _inception_at(preparation: str, weights: Path) -> Inception:
    return Inception(preparation, weights)


@cache
def _dinov2_at(folder: Path) -> DinoV2:
    return DinoV2(folder)


def fid(inside: str) -> FrechetDistance:
    """``fid[...]``: on the Inception network, resized."""
    return FrechetDistance(extractor(_inception(inside, "fid")), "fid")


def fid_inf(inside: str) -> FrechetInfinity:
    """``fid_inf[...]``."""
    return FrechetInfinity(extractor(_inception(inside, "fid_inf")), "fid_inf")


def pfid(inside: str) -> FrechetDistance:
    """``pfid[...]``: on the Inception network, cropped."""
    if inside != f"{WEIGHTS_NAME},crop":
        raise UsageError(f"pfid[{inside}]: did you mean 'pfid[{WEIGHTS_NAME},crop]'?")
    return FrechetDistance(extractor(inside), "pfid")


def fd(inside: str) -> FrechetDistance:
    """``fd[...]``: on any other extractor, as ``fd[dinov2-vitl14]``."""
    if inside in INCEPTIONS:
        raise UsageError(f"fd[{inside}]: did you mean 'fid[{inside}]'?")
    return FrechetDistance(extractor(inside), "fd")


def fd_inf(inside: str) -> FrechetInfinity:
    """``fd_inf[...]``."""
    if inside in INCEPTIONS:
        raise UsageError(f"fd_inf[{inside}]: did you mean 'fid_inf[{inside}]'?")
    return FrechetInfinity(extractor(inside), "fd_inf")


def kid(inside: str) -> Kid:
    """``kid[...]``."""
    return Kid(extractor(inside))


def kid_full(inside: str) -> Kid:
    """``kid_full[...]``."""
    return Kid(extractor(inside), full=True)


def precision(inside: str) -> Manifold:
    """``precision[...,k3]`` or ``precision[...,k5]``."""
    return _manifold("precision", inside)


def recall(inside: str) -> Manifold:
    """``recall[...,k3]`` or ``recall[...,k5]``."""
    return _manifold("recall", inside)


def density(inside: str) -> Manifold:
    """``density[...,k5]``."""
    return _manifold("density", inside)


def coverage(inside: str) -> Manifold:
    """``coverage[...,k5]``."""
    return _manifold("coverage", inside)


def _manifold(formula: Formula, inside: str) -> Manifold:
    name, _, convention = inside.rpartition(",")
    return Manifold(extractor(name), formula, convention)


def _inception(inside: str, formula: str) -> str:
    if inside not in INCEPTIONS or inside.endswith(",crop"):
        valid = [name for name in INCEPTIONS if not name.endswith(",crop")]
        raise UsageError(f"unknown metric {formula + '[' + inside + ']'!r}; {near_misses(inside, valid)}")
    return inside
