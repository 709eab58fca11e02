"""CLIP score: how well an image fits its prompt, as the raw cosine of two embeddings.

No factor (torchmetrics multiplies by 100, the CLIPScore paper by 2.5) and no clipping at zero. A prompt longer than the
text encoder's context is either cut by the tokenizer, as in every published CLIP score, or, in the variant
``clip_windowed``, read in overlapping windows (``OpenClip.encode_windows``). Either way such rows carry a flag and the
table counts them.

``clip[vit-l-14-336-quickgelu/openai]`` is the CLIP similarity of pi-Flow (Lakonik/piFlow,
lakonlab/evaluation/metrics.py, class CLIPSimilarity), but in float32 where it runs in float16.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from glance_bench.metrics.base import Column, Images, Row
from glance_bench.metrics.openclip import (
    OpenClip,
    PublishedClip,
    openai_weights,
    testbed_clip_model,
    unit_length,
)
from glance_bench.metrics.pixels import CENTRE_CROP

if TYPE_CHECKING:
    from glance_bench.prompts import Prompt

__all__ = ["ClipScore", "testbed_clip", "vit_l_14_336", "vit_l_14_336_windowed"]


class ClipScore:
    """``clip[<model>]``, a cosine in [-1, 1], and ``clip_truncated[<model>]``, 1 where the prompt was cut.

    ``label`` and ``title`` are for other scores that are the cosine of a CLIP model. With ``windowed`` the columns are
    ``clip_windowed[<model>]`` and ``clip_long[<model>]``, 1 where the prompt took more than one window.
    """

    kind: Literal["sample"] = "sample"
    notes: tuple[str, ...] = ()

    def __init__(
        self, model: OpenClip, *, label: str = "clip", title: str = "CLIP", windowed: bool = False
    ) -> None:
        self._model = model
        self._windowed = windowed
        self._texts: dict[str, tuple[npt.NDArray[np.float32], bool]] = {}
        what = f"cosine of image and prompt in {model.name}"
        if windowed:
            self.name, self._flag = f"{label}_windowed[{model.name}]", f"{label}_long[{model.name}]"
            flag = Column(self._flag, f"{title} long", "lower", "share of prompts read in windows", flag=True)
            what += ", long prompts in windows"
        else:
            self.name, self._flag = f"{label}[{model.name}]", f"{label}_truncated[{model.name}]"
            cut = "share of prompts cut at CLIP's context"
            flag = Column(self._flag, f"{title} cut", "lower", cut, flag=True)
        self.columns = (Column(self.name, title, "higher", what), flag)

    @property
    def recipe(self) -> str:
        text = "windows of half overlap, mean of unit embeddings" if self._windowed else "whole prompt"
        return f"{self.name}: {self._model.recipe}, {text}, raw cosine, float32"

    def score(self, images: Images, prompts: Sequence[Prompt]) -> list[Row]:
        """See ``SampleMetric.score``; every prompt is scored."""
        if len(images) != len(prompts):
            raise ValueError(f"{len(images)} images for {len(prompts)} prompts")
        self._encode([prompt.text for prompt in prompts])
        rows: list[Row] = []
        for features, prompt in zip(unit_length(self._model.encode_images(images)), prompts, strict=True):
            text, flagged = self._texts[prompt.text]
            rows.append({self.name: float(features @ text), self._flag: float(flagged)})
        return rows

    def _encode(self, texts: Sequence[str]) -> None:
        """Texts are encoded once a process: every sampler is scored on the same prompts."""
        new = [text for text in dict.fromkeys(texts) if text not in self._texts]
        if new:
            encode = self._model.encode_windows if self._windowed else self._model.encode_texts
            features, flagged = encode(new)
            self._texts.update(
                zip(new, zip(unit_length(features), flagged.tolist(), strict=True), strict=True)
            )


def testbed_clip() -> ClipScore:
    """``clip[testbed-clip]``. Raises GlanceBenchError when the packaged weights are missing."""
    return ClipScore(testbed_clip_model())


def vit_l_14_336() -> ClipScore:
    """``clip[vit-l-14-336-quickgelu/openai]``. Raises MissingData without the weights."""
    return ClipScore(_openai())


def vit_l_14_336_windowed() -> ClipScore:
    """``clip_windowed[vit-l-14-336-quickgelu/openai]``. Raises MissingData without the weights."""
    return ClipScore(_openai(), windowed=True)


def _openai() -> PublishedClip:
    return PublishedClip(
        "vit-l-14-336-quickgelu/openai", "ViT-L-14-336-quickgelu", openai_weights(), CENTRE_CROP
    )
