"""Which of GenEval's ten colours an object has, by CLIP (zero-shot) on its crop.

Official code: djghosh13/geneval evaluation/evaluate_images.py, with OpenAI's CLIP ViT-L/14 in open_clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from glance_bench.metrics.detectors import Found
from glance_bench.metrics.geneval_rules import COLOURS, Colours
from glance_bench.metrics.openclip import OpenClip, unit_length
from glance_bench.weights import find_weights

__all__ = ["ClipColours", "clip_colours"]

TEMPLATES = (
    "a photo of a {colour} {name}",
    "a photo of a {colour}-colored {name}",
    "a photo of a {colour} object",
)
BACKGROUND = 0x99  # grey, outside the object's mask


class ClipColours:
    """Compares an object's crop, painted grey outside its mask, with three sentences a colour.

    A colour's direction is the mean of its sentences' unit embeddings.
    """

    def __init__(self, model: OpenClip) -> None:
        self._model = model
        self._directions: dict[str, npt.NDArray[np.float32]] = {}

    @property
    def recipe(self) -> str:
        return f"colours by {self._model.image_recipe}"

    def of(self, image: npt.NDArray[np.uint8]) -> Colours:
        """The ``geneval_rules.Colours`` of uint8[H, W, 3]."""
        return partial(self._name, image)

    def _name(self, image: npt.NDArray[np.uint8], objects: Sequence[Found], name: str) -> list[str]:
        if not objects:
            return []
        features = np.concatenate([self._model.encode_images(crop(image, one)[None]) for one in objects])
        cosines = unit_length(features) @ self._towards(name).T
        return [COLOURS[best] for best in cosines.argmax(axis=1)]

    def _towards(self, name: str) -> npt.NDArray[np.float32]:
        """float32[10, D], unit length."""
        if name not in self._directions:
            texts = [t.format(colour=colour, name=name) for colour in COLOURS for t in TEMPLATES]
            features, _ = self._model.encode_texts(texts)
            by_colour = unit_length(features).reshape(len(COLOURS), len(TEMPLATES), -1)
            self._directions[name] = unit_length(by_colour.mean(axis=1))
        return self._directions[name]


def crop(image: npt.NDArray[np.uint8], found: Found) -> npt.NDArray[np.uint8]:
    """uint8[h, w, 3]: the object's box, rounded to pixels, grey where its mask is not; at least one pixel."""
    seen = image
    if found.mask is not None:
        seen = np.where(found.mask[..., None], image, np.uint8(BACKGROUND))
    left, top, right, bottom = (round(side) for side in found.box)
    left, top = min(max(left, 0), image.shape[1] - 1), min(max(top, 0), image.shape[0] - 1)
    return seen[top : max(bottom, top + 1), left : max(right, left + 1)]


def clip_colours() -> ClipColours:
    """By OpenAI's ViT-L/14. Raises MissingData when its weights are not on this machine."""
    name = "clip-vit-l-14"
    return ClipColours(OpenClip(name, find_weights(name)))
