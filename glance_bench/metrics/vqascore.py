"""VQAScore: how likely a model says that the image shows the prompt.

The question is 'Does this figure show "..."? Please answer yes or no.', the answer "Yes"; the score is exp(-mean cross
entropy of the label's tokens). There are two, "Yes" and the end mark, so it is a geometric mean of two probabilities
and not p(Yes). The model is CLIP-FlanT5, with the chat form it was trained with (arXiv 2404.01291, t2v-metrics).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from glance_bench.errors import MissingData
from glance_bench.metrics.base import Column, Images, Row
from glance_bench.metrics.clip_flant5 import IMAGE, ClipFlanT5, Part
from glance_bench.models.placement import refuse_to_read
from glance_bench.profiles import find_gpus
from glance_bench.weights import WEIGHTS, find_weights, needs

if TYPE_CHECKING:
    from glance_bench.prompts import Prompt

__all__ = ["VqaScore", "clip_flant5_xxl", "question"]

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the user's questions."
)
ANSWER = "Yes"
VERSION = 1


def question(text: str) -> str:
    """What the model reads for the prompt ``text``; an image's own mark in a prompt is read as words."""
    asked = f'Does this figure show "{text.replace(IMAGE, "image")}"? Please answer yes or no.'
    return f"{SYSTEM} USER: {IMAGE}\n{asked} ASSISTANT: "


class VqaScore:
    """``vqascore[<model>]``, in 0..1. Every prompt is scored."""

    kind: Literal["sample"] = "sample"
    notes: tuple[str, ...] = ()

    def __init__(self, name: str, model: ClipFlanT5) -> None:
        self._model = model
        self.name = f"vqascore[{name}]"
        self.columns = (
            Column(
                self.name, "VQAScore", "higher", f"likelihood that {name} says the image shows the prompt"
            ),
        )

    @property
    def recipe(self) -> str:
        return f"{self.name}: {self._model.recipe}; VQAScore question, '{ANSWER}' and end mark, version {VERSION}"

    def score(self, images: Images, prompts: Sequence[Prompt]) -> list[Row]:
        """See ``SampleMetric.score``."""
        if len(images) != len(prompts):
            raise ValueError(f"{len(images)} images for {len(prompts)} prompts")
        texts = [question(prompt.text) for prompt in prompts]
        scores = np.exp(self._model.log_likelihood(images, texts, [ANSWER] * len(texts)))
        return [{self.name: float(score)} for score in scores]


def clip_flant5_xxl() -> VqaScore:
    """``vqascore[clip-flant5-xxl]``. Raises MissingData for the first part, or the room, that this machine has not."""
    needs("flan-t5-xxl-tokenizer", "clip-vit-large-patch14-336", "clip-flant5-xxl")
    refuse_to_read("clip-flant5-xxl", WEIGHTS["clip-flant5-xxl"].gigabytes, find_gpus())
    tokenizer = find_weights("flan-t5-xxl-tokenizer")
    tower, model = _part("clip-vit-large-patch14-336"), _part("clip-flant5-xxl")
    return VqaScore("clip-flant5-xxl", ClipFlanT5(model, tower, tokenizer))


def _part(name: str) -> Part:
    """Weights as ``convert`` made them; the config is in the repository they came from."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    weights = find_weights(name).parent
    entry = WEIGHTS[name]
    try:
        config = snapshot_download(
            entry.repo, revision=entry.revision, allow_patterns=["config.json"], local_files_only=True
        )
    except LocalEntryNotFoundError as error:
        raise MissingData(
            f"waits for the config of {name} ({entry.size}): glance-bench prefetch {name}"
        ) from error
    return Part(Path(config), weights)
