"""Everything that is computed once: embeddings and latents of the samples. The encoders are freed afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import UsageError
from ..models.qwen_image import NEGATIVE_PROMPT
from ..registry import FAMILIES, ModelEntry
from .samples import Pair

__all__ = ["Prepared", "prepare"]


@dataclass(frozen=True)
class Prepared:
    """Samples ready to train on, on the CPU.

    latents: packed, float32[N, tokens, channels]. inputs: what the transformer needs of each caption, batch 1.
    empty: the same of the caption that a dropped one becomes. tokens: (rows, columns).
    """

    latents: Tensor
    inputs: tuple[dict[str, Tensor], ...]
    empty: dict[str, Tensor]
    tokens: tuple[int, int]


def prepare(
    entry: ModelEntry,
    pairs: Sequence[Pair],
    guidance: float | None,
    *,
    device: str = "cpu",
    dtype: str = "float32",
) -> Prepared:
    """Encode all pairs (of one size) with the model's own encoders and autoencoder, loaded without its transformer.

    A dropped caption is "" for FLUX and " " for Qwen-Image, whose pipeline takes no empty text.
    Raises UsageError for a caption longer than the text encoder takes, or a size that does not fit the packing.
    """
    family = FAMILIES.get(entry.family).load(Path(entry.path), device=device, dtype=dtype, transformer=False)
    height, width = pairs[0].image.shape[:2]
    family.geometry(height, width)
    entries = family.encode([pair.caption for pair in pairs])
    for pair, made in zip(pairs, entries, strict=True):
        if made["truncated"]:
            limit = family.settings.max_sequence_length
            raise UsageError(
                f"caption of {pair.source}: longer than the {limit} tokens that {entry.name} takes"
            )
    unit = round((height * width / family.geometry(height, width).tokens) ** 0.5)

    def batch(one: Any) -> dict[str, Tensor]:
        return {name: value.cpu() for name, value in family.inputs([one], guidance).items()}

    latents = torch.cat([family.encode_image(pair.image[None]) for pair in pairs])
    blank = family.encode([NEGATIVE_PROMPT if entry.family == "qwen_image" else ""])[0]
    return Prepared(latents, tuple(map(batch, entries)), batch(blank), (height // unit, width // unit))
