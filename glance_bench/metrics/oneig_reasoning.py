"""OneIG-Bench's reasoning score: does the image show the answer that its prompt only asks for?

The raw cosine of the image and the text of the answer in LLM2CLIP (Huang et al. 2024, arXiv:2411.04997); nothing is
clipped (OneIG-Bench/OneIG-Benchmark, scripts/utils/inference.py, class LLM2CLIP). Only prompts with an answer,
``meta["answer"]``, are scored. The image side runs here, in float32 where the official code runs bfloat16.

The text side does not: it is an 8-billion-parameter language model whose repository brings code of its own, and the
answers never change. Their features are made once with the official code, and converted:
``torch.save({answer: features of get_text_features, float[1, D] or float[D]}, FILE)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from glance_bench.digests import file_digests
from glance_bench.errors import GlanceBenchError, MissingData
from glance_bench.judges.pictures import JPEG_QUALITY
from glance_bench.metrics.base import Column, Images, Row
from glance_bench.metrics.oneig_cells import official_cells
from glance_bench.metrics.openclip import unit_length
from glance_bench.metrics.visiontower import VisionTower
from glance_bench.weights import find_weights

if TYPE_CHECKING:
    from glance_bench.prompts import Prompt

__all__ = ["OneigReasoning"]


class OneigReasoning:
    """``oneig_reasoning``, a cosine in [-1, 1]. A ``SampleMetric``.

    ``answers`` is an npz file with the features of each answer under its text.
    """

    name = "oneig_reasoning"
    kind: Literal["sample"] = "sample"
    notes: tuple[str, ...] = ()
    columns = (Column("oneig_reasoning", "Reasoning", "higher", "cosine of image and answer in LLM2CLIP"),)

    def __init__(self, images: VisionTower, answers: Path) -> None:
        self._images = images
        self._file = answers

    @cached_property
    def recipe(self) -> str:
        digest = file_digests([self._file])[0][:12]
        return f"oneig_reasoning: JPEG {JPEG_QUALITY}; {self._images.recipe}; answers {digest}, raw cosine"

    def score(self, images: Images, prompts: Sequence[Prompt]) -> list[Row]:
        """See ``SampleMetric.score``. Rows without an answer, and of black images, are empty.

        Raises GlanceBenchError for an answer without features.
        """
        if len(images) != len(prompts):
            raise ValueError(f"{len(images)} images for {len(prompts)} prompts")
        rows: list[Row] = [{} for _ in prompts]
        asked = [i for i, prompt in enumerate(prompts) if prompt.meta.get("answer")]
        cells, kept = official_cells(images[asked])
        if not kept:
            return rows
        for embedding, i in zip(self._images.encode_images(cells), (asked[k] for k in kept), strict=True):
            answer = prompts[i].meta["answer"]
            if answer not in self._answers:
                raise GlanceBenchError(
                    f"{self._file} has no features for the answer of prompt {prompts[i].id}"
                )
            rows[i] = {"oneig_reasoning": float(embedding @ self._answers[answer])}
        return rows

    @cached_property
    def _answers(self) -> dict[str, npt.NDArray[np.float32]]:
        """Unit features by text."""
        with np.load(self._file, allow_pickle=False) as stored:
            rows = {text: stored[text].reshape(1, -1).astype(np.float32) for text in stored.files}
        return {text: unit_length(row)[0] for text, row in rows.items()}


def oneig_reasoning() -> OneigReasoning:
    """``oneig_reasoning``. Raises MissingData without the image side or the features of the answers."""
    images = VisionTower("llm2clip-openai-l-14-336", find_weights("llm2clip-openai-l-14-336"))
    answers = "oneig-reasoning-answers"
    try:
        return OneigReasoning(images, find_weights(answers))
    except MissingData:  # there is nothing to fetch
        raise MissingData(
            f"waits for {answers}, made with OneIG's own code: glance-bench convert {answers} FILE"
        ) from None
