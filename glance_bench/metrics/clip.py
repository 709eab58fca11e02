"""CLIP score: how well an image fits its prompt, as the raw cosine of two embeddings.

No factor (torchmetrics multiplies by 100, the CLIPScore paper by 2.5) and no clipping at zero. A prompt
longer than the text encoder's context is cut by the tokenizer; such rows carry the flag and the table counts
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from glance_bench.metrics.base import Column, Images, Row
from glance_bench.metrics.openclip import OpenClip, testbed_clip_model, unit_length

if TYPE_CHECKING:
    from glance_bench.prompts import Prompt

__all__ = ["ClipScore", "testbed_clip"]


class ClipScore:
    """``clip[<model>]``, a cosine in [-1, 1], and ``clip_truncated[<model>]``, 1 where the prompt was cut."""

    kind: Literal["sample"] = "sample"
    notes: tuple[str, ...] = ()

    def __init__(self, model: OpenClip) -> None:
        self._model = model
        self._texts: dict[str, tuple[npt.NDArray[np.float32], bool]] = {}
        self.name = f"clip[{model.name}]"
        self._flag = f"clip_truncated[{model.name}]"
        self.columns = (
            Column(self.name, "CLIP", "higher", f"cosine of image and prompt in {model.name}"),
            Column(
                self._flag,
                "CLIP cut",
                "lower",
                "share of prompts cut at CLIP's context",
                flag=True,
            ),
        )

    @property
    def recipe(self) -> str:
        return f"{self.name}: open_clip weights {self._model.digest}, whole prompt, raw cosine, float32"

    def score(self, images: Images, prompts: Sequence[Prompt]) -> list[Row]:
        """See ``SampleMetric.score``; every prompt is scored."""
        if len(images) != len(prompts):
            raise ValueError(f"{len(images)} images for {len(prompts)} prompts")
        self._encode([prompt.text for prompt in prompts])
        rows: list[Row] = []
        for features, prompt in zip(unit_length(self._model.encode_images(images)), prompts, strict=True):
            text, truncated = self._texts[prompt.text]
            rows.append({self.name: float(features @ text), self._flag: float(truncated)})
        return rows

    def _encode(self, texts: Sequence[str]) -> None:
        """Texts are encoded once a process: every sampler is scored on the same prompts."""
        new = [text for text in dict.fromkeys(texts) if text not in self._texts]
        if new:
            features, truncated = self._model.encode_texts(new)
            self._texts.update(
                zip(new, zip(unit_length(features), truncated.tolist(), strict=True), strict=True)
            )


def testbed_clip() -> ClipScore:
    """``clip[testbed-clip]``. Raises GlanceBenchError when the packaged weights are missing."""
    return ClipScore(testbed_clip_model())
